/* SPDX-License-Identifier: MIT
 *
 * See notify_master.h.
 */
#include "worker/notify_master.h"

#include <errno.h>

#include "system/ipc/channel.h"
#include "worker/loop/state.h"

/* False: the message stays due. */
static bool send_up(const struct worker *w, enum up_type type, const char *text)
{
    return channel_send_up(w->args->channel.up_write, type, text) == 0;
}

static bool send_due(struct worker *w)
{
    struct notify *t = &w->notify;

    if (t->ready_is_due && send_up(w, UP_READY, w->takes_late_signal ? UP_TAKES_LATE_SIGNAL : NULL))
        t->ready_is_due = false;
    if (!t->ready_is_due && t->leave_is_due && send_up(w, UP_RECYCLE, t->leave_is_due))
        t->leave_is_due = NULL;
    return !t->ready_is_due && !t->leave_is_due;
}

void notify_ready(struct worker *w)
{
    w->notify.ready_is_due = true;
    (void)send_due(w);
}

bool notify_leave(struct worker *w, const char *why)
{
    w->notify.leave_is_due = why;
    return send_due(w) || errno != EPIPE;
}

void notify_alive(struct worker *w)
{
    if (send_due(w))
        (void)send_up(w, UP_HEARTBEAT, NULL); /* the next one will do */
}
