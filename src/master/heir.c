/* SPDX-License-Identifier: MIT
 *
 * See heir.h. What the record says of a worker is believed only if that is a child of this process:
 * a signal must never meet a stranger.
 */
#include "master/heir.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "master/procs.h"
#include "master/reload.h"
#include "master/state.h"
#include "master/upgrade.h"
#include "system/process.h"

/* ---- telling the old master -------------------------------------------------------------- */

static void report(const struct handover *from, enum upgrade_word word, const char *text)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    int len = snprintf(packet, sizeof(packet), "%c%s", word, text);

    if (len >= (int)sizeof(packet))
        len = sizeof(packet) - 1;
    if (from->report_fd >= 0) /* who has ended needs no telling */
        (void)send(from->report_fd, packet, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void heir_report_failure(const struct handover *from, const char *why)
{
    report(from, UPGRADE_FAILS, why);
}

/* ---- beginning --------------------------------------------------------------------------- */

/* How patient the old workers' settings were. */
static void apply_limits(struct config *config, const struct handover_limits *limits)
{
    config->timeout_ms = limits->timeout_ms;
    config->heartbeat_ms = limits->heartbeat_ms;
    config->graceful_timeout_ms = limits->graceful_timeout_ms;
    config->keepalive_drain_ms = limits->keepalive_drain_ms;
    config->boot_timeout_ms = limits->boot_timeout_ms;
}

static int take_control(struct heir *heir, struct error *err)
{
    for (size_t i = 0; i < heir->from.socket_count; i++) {
        struct handover_socket *s = &heir->from.sockets[i];

        if (s->use != HANDOVER_CONTROL)
            continue;
        if (handover_take_socket(s, &heir->control, err) < 0)
            return -1;
        heir->control.lent = !heir->is_promoted;
    }
    return 0;
}

int heir_begin(struct master *m, struct handover *from, struct error *err)
{
    struct heir *heir = &m->heir;
    struct config config;

    heir->from = *from;
    heir->control.fd = -1;
    heir->is_promoted = from->kind == HANDOVER_NONE || from->kind == HANDOVER_IN_PLACE;
    if (from->kind == HANDOVER_NONE)
        return 0;
    if (start_load_config(m->start, &config, err) < 0)
        return -1;
    if (from->is_known && from->kind == HANDOVER_IN_PLACE)
        apply_limits(&config, &from->limits);
    heir->former = generation_inherit(from->generation, &config, &heir->from, err);
    if (!heir->former || take_control(heir, err) < 0)
        return -1;
    m->last_generation = from->generation;
    return 0;
}

struct scoreboard *heir_take_scoreboard(struct master *m)
{
    struct handover *from = &m->heir.from;
    struct error err = {.text = "the program is of another version"};
    struct plan plan = {0};

    if (from->kind != HANDOVER_IN_PLACE)
        return NULL;
    int fd = from->is_known ? handover_claim(from, from->scoreboard_fd) : -1;
    struct scoreboard *sb = fd >= 0 ? scoreboard_attach(fd, &err) : NULL;
    plan.proc_count = sb ? scoreboard_count(sb) : 0;
    if (sb && (plan.proc_count < plan_places(1) ||
               (unsigned)config_of(m)->workers > plan_most_workers(&plan))) {
        (void)error_set(&err, EXIT_FAILED, "there is no room for %d workers in it",
                        config_of(m)->workers);
        scoreboard_free(sb);
        sb = NULL;
    }
    m->heir.takes_workers = sb != NULL;
    if (!sb)
        log_warnx("Upgrade: the old workers cannot be taken over (%s): they finish when new ones "
                  "serve",
                  err.text);
    return sb;
}

/* ---- the old workers --------------------------------------------------------------------- */

static bool is_plausible(const struct plan *plan, const struct handover_proc *p)
{
    return p->place < plan->proc_count && plan->procs[p->place].phase == PROC_EMPTY &&
           p->phase >= PROC_BOOTING && p->phase <= PROC_RETIRING && p->number <= plan->proc_count &&
           p->generation != 0 && p->end < WORKER_ENDS && process_is_child(p->pid);
}

static bool adopt(struct master *m, const struct handover_proc *p)
{
    struct handover *from = &m->heir.from;
    struct worker_proc *w;

    if (!is_plausible(&m->plan, p) || p->generation > from->generation)
        return false;
    struct channel channel = {.up_read = handover_claim(from, p->up_fd),
                              .up_write = -1,
                              .down_master = handover_claim(from, p->down_fd),
                              .down_worker = -1};
    if (channel.up_read < 0 || channel.down_master < 0) {
        channel_close(&channel);
        return false;
    }
    w = &m->plan.procs[p->place];
    *w = (struct worker_proc){.phase = (enum proc_phase)p->phase,
                              .pid = p->pid,
                              .number = p->number,
                              .generation = p->generation,
                              .started_ms = p->started_ms,
                              .ready_ms = p->ready_ms,
                              .deadline_ms = p->deadline_ms,
                              .heard_ms = now_ms(),
                              .recycle = p->recycle != 0,
                              .hurried = p->hurried != 0,
                              .end = (enum worker_end)p->end,
                              .settings = generation_ref(m->heir.former),
                              .channel = channel};
    proc_watch(m, w, handover_claim(from, p->output_fd));
    m->has_served = m->has_served || w->phase == PROC_READY;
    return true;
}

static void take_ledger(struct master *m)
{
    const struct handover *from = &m->heir.from;

    if (from->ledger_len != sizeof(struct ledger_facts))
        return; /* of another build: the counts begin anew, as at a restart */
    struct ledger_facts *facts = ledger_open(m->ledger);
    memcpy(facts, from->ledger, sizeof(*facts));
    if (facts->metric_count > LEDGER_METRICS)
        facts->metric_count = 0;
    if (facts->listener_count > LEDGER_LISTENERS)
        facts->listener_count = 0;
    ledger_close(m->ledger);
}

static void take_clients(struct master *m)
{
    struct handover *from = &m->heir.from;

    for (size_t i = 0; i < from->client_count; i++) {
        int fd = handover_claim(from, from->fds[i]);

        if (fd >= 0)
            control_add_upgrade_client(&m->control, fd);
    }
}

/* The lock on it went with the exec. */
static void remove_former_pidfile(const struct master *m)
{
    const char *path = m->heir.from.pidfile;
    struct pidfile former;
    struct error ignored; /* somebody has it, or something else lies there: it is no longer ours */

    if (path[0] != '\0' && !pidfile_is(&m->pidfile, path) &&
        pidfile_open(&former, path, &ignored) == 0)
        pidfile_close(&former);
}

void heir_adopt(struct master *m)
{
    struct handover *from = &m->heir.from;
    unsigned adopted = 0;

    if (from->kind == HANDOVER_TRIAL) {
        m->plan.workers = 1;
        m->plan.has_admin = false;
    }
    if (from->kind != HANDOVER_IN_PLACE)
        return;
    take_clients(m);
    if (!from->is_known)
        return;
    take_ledger(m);
    remove_former_pidfile(m);
    if (m->heir.takes_workers) {
        for (size_t i = 0; i < from->proc_count; i++)
            adopted += adopt(m, &from->procs[i]);
    }
    log_info("Upgrade: gcorn " GCORN_VERSION " goes on in place, with %u of the old workers",
             adopted);
}

/* ---- becoming the only one --------------------------------------------------------------- */

static void let_go_of_former(struct heir *heir)
{
    generation_unref(heir->former, true);
    heir->former = NULL;
}

static void promote(struct master *m)
{
    struct heir *heir = &m->heir;

    heir->is_promoted = heir->files_are_due = true;
    heir->control.lent = false;
    generation_lend_listeners(m->current, false);
    generation_apply_backlog(m->current); /* until now the old master's counted */
    let_go_of_former(heir);
}

/* What the old master cannot yet have let go of, or a reload has in its hands, is tried again. */
static void take_files(struct master *m)
{
    struct heir *heir = &m->heir;
    struct error err;

    if (!heir->files_are_due || m->candidate || m->plan.stopping)
        return;
    if (reload_open_pidfile(m, config_of(m), &err) < 0 ||
        reload_open_control(m, config_of(m), &err) < 0) {
        if (!heir->files_failed)
            log_warnx("Upgrade: %s", err.text);
        heir->files_failed = true;
        pidfile_close(&m->next_pidfile);
        return;
    }
    reload_apply_files(m);
    listener_close(&heir->control, true); /* if other settings have left it over */
    heir->files_are_due = false;
}

static void on_old_master(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;
    struct handover *from = &m->heir.from;
    char word;
    ssize_t n = recv(from->report_fd, &word, 1, MSG_DONTWAIT);

    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && word != UPGRADE_TAKE_OVER)
        return;
    ev_io_stop(loop, io);
    fd_close(&from->report_fd);
    if (heir_is_trial(&m->heir)) {
        master_stop(m, true, EXIT_STOPPED); /* nobody wants to know any more */
    } else {
        log_info("Upgrade: the old master (pid:%d) %s, this one is the only one", (int)from->pid,
                 n > 0 ? "leaves" : "has ended");
        promote(m);
    }
    master_reconcile(m);
}

void heir_start(struct master *m)
{
    struct heir *heir = &m->heir;

    if (heir->from.kind == HANDOVER_IN_PLACE) {
        generation_apply_backlog(m->current);
        let_go_of_former(heir);               /* the workers have their own references */
        listener_close(&heir->control, true); /* other settings have left it over */
        if (heir->takes_workers)
            handover_close_rest(&heir->from);
    }
    if (heir->from.report_fd < 0)
        return;
    ev_io_init(&heir->io, on_old_master, heir->from.report_fd, EV_READ);
    heir->io.data = m;
    ev_io_start(m->loop, &heir->io);
}

/* ---- the first workers ------------------------------------------------------------------- */

static void all_serve(struct master *m)
{
    struct heir *heir = &m->heir;

    heir->has_reported = true;
    report(&heir->from, UPGRADE_SERVES, "");
    if (heir->from.kind == HANDOVER_TRIAL)
        master_stop(m, true, EXIT_STOPPED);
    if (heir->from.kind == HANDOVER_IN_PLACE) {
        handover_close_rest(&heir->from); /* at the latest now the old workers finish */
        control_upgrade_done(&m->control, getpid(), m->current->id);
    }
}

bool heir_proceed(struct master *m)
{
    struct heir *heir = &m->heir;
    bool was_stopping = m->plan.stopping;

    if (heir->from.kind == HANDOVER_NONE)
        return false;
    if (!heir->has_reported && !was_stopping && plan_has_rolled(&m->plan))
        all_serve(m);
    take_files(m);
    return m->plan.stopping != was_stopping;
}

bool heir_ends_with(struct master *m, const char *why)
{
    struct heir *heir = &m->heir;
    struct error err;

    if (heir_is_tried(heir)) {
        heir_report_failure(&heir->from, why);
        heir->has_reported = true;
        return !heir->is_promoted;
    }
    if (heir->from.kind == HANDOVER_IN_PLACE && !heir->has_reported) {
        (void)error_set(&err, EXIT_APP, "the new program runs, but not all of its workers boot: %s",
                        why);
        control_upgrade_failed(&m->control, err.text);
    }
    return false;
}

/* ---- the rest ---------------------------------------------------------------------------- */

char *heir_pidfile(const struct heir *heir, const char *path)
{
    if (!path || heir_is_trial(heir))
        return NULL;
    return heir->is_promoted ? xstrdup(path) : xasprintf("%s.2", path);
}

void heir_forget(struct heir *heir)
{
    fd_close(&heir->from.report_fd);
    fd_close(&heir->control.fd);
    handover_close_rest(&heir->from);
}

void heir_close(struct heir *heir)
{
    generation_unref(heir->former, true);
    heir->former = NULL;
    listener_close(&heir->control, true);
    handover_release(&heir->from);
}
