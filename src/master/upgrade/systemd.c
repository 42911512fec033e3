/* SPDX-License-Identifier: MIT
 *
 * See systemd.h. Nothing that happens tells the manager anything: after each pass of
 * master_reconcile() what is so is compared with what was told last. Only reloads are counted,
 * since one that fails at once is over before anybody has seen it, and `systemctl reload` waits for
 * both of its messages (Type=notify-reload).
 */
#include "master/upgrade/systemd.h"

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
    SUCCESSOR_WAIT_MS = 5000, /* a manager that reads nothing for so long does not care */
    EXTEND_MS = 15000,        /* by so much, every tick: which may be late on a busy machine */
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
         c++) { /* why may be an application's: one line, no assignment */
        if (iscntrl((unsigned char)*c))
            *c = ' ';
    }
}

/* 0 when it has gone out. */
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

/* Before READY a reload is nobody's business but ours. */
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

/* While two masters serve, the old one speaks; when it has handed over, the new one. */
static bool is_wanted(const struct master *m)
{
    return sd_notify_is_wanted(&m->systemd.notify) && m->successor.is_promoted &&
           m->systemd.successor == 0;
}

/* Its queue may be full. Whatever else is wrong will not be better. */
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
