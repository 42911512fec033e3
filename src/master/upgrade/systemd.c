/* SPDX-License-Identifier: MIT
 *
 * See systemd.h. Events send nothing: after each pass of master_reconcile() the state is compared
 * with the state that was sent last. Reloads are counted in addition: one that fails at once begins
 * and ends within a pass, and `systemctl reload` waits for both of its messages
 * (Type=notify-reload).
 */
#include "master/upgrade/systemd.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/stats_update.h"
#include "master/state.h"

enum {
    SUCCESSOR_WAIT_MS = 5000, /* give up when the manager has read nothing for that long */
    EXTEND_MS = 15000,        /* sent each tick: more than a tick, for a busy machine */
    PINGS_PER_WATCHDOG = 4,   /* sd_watchdog_enabled(3) recommends two */
};

void systemd_init(struct systemd *s)
{
    struct error err;

    *s = (struct systemd){.state = SERVER_STARTING};
    if (sd_notify_init(&s->notify, &err) < 0)
        log_warnx("%s", err.text);
}

static unsigned count_serving(const struct master *m)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        const struct worker_proc *w = &m->plan.procs[i];

        count += w->phase == PROC_READY && !plan_is_admin(&m->plan, w);
    }
    return count;
}

static void describe(const struct master *m, enum server_state state, char *out, size_t size)
{
    const struct status_reload *last = &m->last_reload;
    static const char *const doing[SERVER_STATES] = {[SERVER_STARTING] = "Starting: ",
                                                     [SERVER_SERVING] = "",
                                                     [SERVER_RELOADING] = "Reloading: ",
                                                     [SERVER_DRAINING] = "Draining: ",
                                                     [SERVER_STOPPING] = "Stopping: "};
    bool failed = state == SERVER_SERVING && last->at != 0 && !last->ok;

    (void)snprintf(out, size, "%s%u of %u workers serve, generation %u%s%s", doing[state],
                   count_serving(m), m->plan.workers, m->current->id,
                   failed ? "; reload failed: " : "", failed ? last->why : "");
    for (char *c = out; *c != '\0';
         c++) { /* why may be text of the application: keep it one line */
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    }
}

/* Returns 0 when the message was sent. */
static int send_state(struct systemd *s, const char *assignments, const char *status)
{
    struct strbuf message = {0};

    strbuf_addf(&message, "%s%sSTATUS=%s", assignments, assignments[0] != '\0' ? "\n" : "", status);
    int result = sd_notify_send(&s->notify, message.data);
    if (result == 0)
        (void)snprintf(s->status, sizeof(s->status), "%s", status);
    strbuf_release(&message);
    return result;
}

/* Before READY the manager is not told of a reload. */
static int tell_reload(struct systemd *s, const struct master *m, enum server_state state,
                       const char *status)
{
    char assignments[80];

    if (m->reloads_begun == s->reloads_begun)
        return 0;
    if (state == SERVER_SERVING || state == SERVER_RELOADING) {
        (void)snprintf(assignments, sizeof(assignments), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                       now_ns() / 1000);
        if (send_state(s, assignments, status) < 0)
            return -1;
        s->state = SERVER_RELOADING;
    }
    s->reloads_begun = m->reloads_begun;
    return 0;
}

/* While two masters serve, the old one sends messages; after the handover the new one does. */
static bool is_wanted(const struct master *m)
{
    return sd_notify_is_wanted(&m->systemd.notify) && m->successor.is_promoted &&
           m->systemd.successor == 0;
}

/* Tries again when the manager's queue is full; any other error is permanent. */
static void tell_of_successor(struct systemd *s)
{
    char message[40];

    if (s->successor == 0 || s->successor_is_told)
        return;
    (void)snprintf(message, sizeof(message), "MAINPID=%d", (int)s->successor);
    int result = sd_notify_send(&s->notify, message);
    if (result < 0 && errno == EAGAIN)
        return;
    if (result < 0)
        log_warn("NOTIFY_SOCKET: cannot send MAINPID");
    s->successor_is_told = true;
}

void systemd_hand_over(struct master *m, pid_t successor)
{
    struct systemd *s = &m->systemd;

    if (!is_wanted(m))
        return;
    assert(successor > 0 && s->successor == 0);
    s->successor = successor;
    s->successor_since_ms = now_ms();
    tell_of_successor(s);
}

bool systemd_owes_successor(const struct master *m, uint64_t now)
{
    const struct systemd *s = &m->systemd;

    return s->successor != 0 && !s->successor_is_told &&
           now - s->successor_since_ms < SUCCESSOR_WAIT_MS;
}

void systemd_tell(struct master *m)
{
    struct systemd *s = &m->systemd;
    enum server_state state = stats_update_state(m);
    char status[SYSTEMD_STATUS_MAX];

    tell_of_successor(s);
    if (!is_wanted(m))
        return;
    describe(m, state, status, sizeof(status));
    if (tell_reload(s, m, state, status) < 0)
        return;
    if (state != s->state) {
        const char *news = state == SERVER_SERVING    ? "READY=1"
                           : state >= SERVER_DRAINING ? "STOPPING=1"
                                                      : "";
        if (send_state(s, news, status) == 0)
            s->state = state;
    } else if (strcmp(status, s->status) != 0) {
        (void)send_state(s, "", status); /* the next call tries again */
    }
}

void systemd_tick(struct master *m, uint64_t now)
{
    struct systemd *s = &m->systemd;
    char message[60];

    if (!is_wanted(m))
        return;
    if (s->notify.watchdog_ms > 0 &&
        now - s->alive_at_ms >= s->notify.watchdog_ms / PINGS_PER_WATCHDOG &&
        sd_notify_send(&s->notify, "WATCHDOG=1") == 0)
        s->alive_at_ms = now;
    if (stats_update_state(m) == SERVER_SERVING)
        return;
    (void)snprintf(message, sizeof(message), "EXTEND_TIMEOUT_USEC=%d", EXTEND_MS * 1000);
    (void)sd_notify_send(&s->notify, message); /* the next tick comes in time */
}
