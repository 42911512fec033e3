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
#include "master/telemetry/stats.h"

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

static void describe(const struct systemd_facts *f, char *out, size_t size)
{
    static const char *const doing[SERVER_STATES] = {[SERVER_STARTING] = "Starting: ",
                                                     [SERVER_SERVING] = "",
                                                     [SERVER_RELOADING] = "Reloading: ",
                                                     [SERVER_DRAINING] = "Draining: ",
                                                     [SERVER_STOPPING] = "Stopping: "};
    bool failed = f->state == SERVER_SERVING && f->reload_failure;

    (void)snprintf(out, size, "%s%u of %u workers serve, generation %u%s%s", doing[f->state],
                   f->serving, f->workers, f->generation, failed ? "; reload failed: " : "",
                   failed ? f->reload_failure : "");
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
static int tell_reload(struct systemd *s, const struct systemd_facts *f, const char *status)
{
    char assignments[80];

    if (f->reloads_begun == s->reloads_begun)
        return 0;
    if (f->state == SERVER_SERVING || f->state == SERVER_RELOADING) {
        (void)snprintf(assignments, sizeof(assignments), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                       now_ns() / 1000);
        if (send_state(s, assignments, status) < 0)
            return -1;
        s->state = SERVER_RELOADING;
    }
    s->reloads_begun = f->reloads_begun;
    return 0;
}

/* While two masters serve, the old one sends messages; after the handover the new one does. */
static bool is_wanted(const struct systemd *s, bool is_promoted)
{
    return sd_notify_is_wanted(&s->notify) && is_promoted && s->successor == 0;
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

void systemd_hand_over(struct systemd *s, pid_t successor)
{
    if (!is_wanted(s, true))
        return;
    assert(successor > 0 && s->successor == 0);
    s->successor = successor;
    s->successor_since_ms = now_ms();
    tell_of_successor(s);
}

bool systemd_owes_successor(const struct systemd *s, uint64_t now)
{
    return s->successor != 0 && !s->successor_is_told &&
           now - s->successor_since_ms < SUCCESSOR_WAIT_MS;
}

void systemd_tell(struct systemd *s, const struct systemd_facts *facts)
{
    char status[SYSTEMD_STATUS_MAX];

    assert(facts->state < SERVER_STATES);
    tell_of_successor(s);
    if (!is_wanted(s, facts->is_promoted))
        return;
    describe(facts, status, sizeof(status));
    if (tell_reload(s, facts, status) < 0)
        return;
    if (facts->state != s->state) {
        const char *news = facts->state == SERVER_SERVING    ? "READY=1"
                           : facts->state >= SERVER_DRAINING ? "STOPPING=1"
                                                             : "";
        if (send_state(s, news, status) == 0)
            s->state = facts->state;
    } else if (strcmp(status, s->status) != 0) {
        (void)send_state(s, "", status); /* the next call tries again */
    }
}

void systemd_tick(struct systemd *s, const struct systemd_facts *facts, uint64_t now)
{
    char message[60];

    if (!is_wanted(s, facts->is_promoted))
        return;
    if (s->notify.watchdog_ms > 0 &&
        now - s->alive_at_ms >= s->notify.watchdog_ms / PINGS_PER_WATCHDOG &&
        sd_notify_send(&s->notify, "WATCHDOG=1") == 0)
        s->alive_at_ms = now;
    if (facts->state == SERVER_SERVING)
        return;
    (void)snprintf(message, sizeof(message), "EXTEND_TIMEOUT_USEC=%d", EXTEND_MS * 1000);
    (void)sd_notify_send(&s->notify, message); /* the next tick comes in time */
}
