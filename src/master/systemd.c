/* SPDX-License-Identifier: MIT
 *
 * See systemd.h. Nothing that happens tells the manager anything: after each pass of
 * master_reconcile() what is so is compared with what was told last. Only reloads are counted,
 * since one that fails at once is over before anybody has seen it, and `systemctl reload` waits for
 * both of its messages (Type=notify-reload).
 */
#include "master/systemd.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/books.h"
#include "master/state.h"

enum {
    EXTEND_MS = 15000,      /* by so much, every tick: which may be late on a busy machine */
    PINGS_PER_WATCHDOG = 4, /* sd_watchdog_enabled(3) recommends two */
};

void systemd_init(struct systemd *s)
{
    struct error err;

    *s = (struct systemd){.state = SERVER_STARTING};
    if (notify_init(&s->notify, &err) < 0)
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
    int result = notify_send(&s->notify, message.data);
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
    return notify_is_wanted(&m->systemd.notify) && m->heir.is_promoted && !m->systemd.is_over;
}

void systemd_hand_over(struct master *m, pid_t heir)
{
    char message[40];

    if (!is_wanted(m))
        return;
    (void)snprintf(message, sizeof(message), "MAINPID=%d", (int)heir);
    if (notify_send(&m->systemd.notify, message) < 0)
        log_warn("NOTIFY_SOCKET: MAINPID could not be told");
    m->systemd.is_over = true;
}

void systemd_tell(struct master *m)
{
    struct systemd *s = &m->systemd;
    enum server_state state = books_state(m);
    char status[SYSTEMD_STATUS_MAX];

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
        notify_send(&s->notify, "WATCHDOG=1") == 0)
        s->alive_at_ms = now;
    if (books_state(m) == SERVER_SERVING)
        return;
    (void)snprintf(message, sizeof(message), "EXTEND_TIMEOUT_USEC=%d", EXTEND_MS * 1000);
    (void)notify_send(&s->notify, message); /* the next tick comes in time */
}
