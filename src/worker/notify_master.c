/* SPDX-License-Identifier: MIT
 *
 * See notify_master.h.
 */
#include "worker/notify_master.h"

#include <errno.h>

#include "system/ipc/channel.h"
#include "worker/worker.h"

/* False: it stays due. */
static bool send_up(const struct worker *w, enum up_type type, const char *text)
{
    return channel_send_up(w->args->channel.up_write, type, text) == 0;
}

static bool tell_due(struct worker *w)
{
    struct tell *t = &w->tell;

    if (t->ready_is_due && send_up(w, UP_READY, NULL))
        t->ready_is_due = false;
    if (!t->ready_is_due && t->leave_is_due && send_up(w, UP_RECYCLE, t->leave_is_due))
        t->leave_is_due = NULL;
    return !t->ready_is_due && !t->leave_is_due;
}

void tell_ready(struct worker *w)
{
    w->tell.ready_is_due = true;
    (void)tell_due(w);
}

bool tell_leave(struct worker *w, const char *why)
{
    w->tell.leave_is_due = why;
    return tell_due(w) || errno != EPIPE;
}

void tell_alive(struct worker *w)
{
    if (tell_due(w))
        (void)send_up(w, UP_HEARTBEAT, NULL); /* the next one will do */
}
