/* SPDX-License-Identifier: MIT
 *
 * See takeover.h.
 */
#include "master/takeover.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "master/generation/listeners.h"
#include "master/reload.h"
#include "master/state.h"
#include "master/workers/procs.h"
#include "master/workers/retire.h"

/* ---- the old master: beginning ----------------------------------------------------------- */

/* In the new process. */
static int run_pre_exec(const void *master, struct error *err)
{
    const struct master *m = master;
    /* never freed: the process ends soon */
    char *program = xasprintf("GCORN_HOOK_PROGRAM=%s", m->start->program);
    const char *const facts[] = {program, NULL};

    return hooks_run_and_wait(&m->hooks, "pre_exec", config_of(m)->pre_exec, facts, err);
}

static int check_allowed(const struct master *m, struct error *err)
{
    if (getpid() == 1)
        return error_set(err, EXIT_FAILED,
                         "this master is process 1 of a container, which would "
                         "end with it: replace the container instead");
    if (master_is_stopping(m))
        return error_set(err, EXIT_FAILED, "the server is stopping");
    if (reload_is_trying(m) || m->rolling)
        return error_set(err, EXIT_FAILED, "a reload is under way");
    if (m->upgrade.phase != UPGRADE_NONE)
        return error_set(err, EXIT_FAILED, "an upgrade is under way already");
    if (!m->successor.is_promoted)
        return error_set(err, EXIT_FAILED, "the old master (pid:%d) has not ended yet",
                         (int)m->successor.from.pid);
    return 0;
}

int takeover_begin(struct master *m, bool hands_over, struct error *err)
{
    const struct upgrade_order order = {
        .start = m->start,
        .current = m->current,
        .control = &m->control.listener,
        .bus = &m->bus,
        .shared_memory = &m->shared_memory,
        .last_generation = m->last_generation,
        .boot_timeout_ms = config_of(m)->boot_timeout_ms,
        .has_watchdog = systemd_watchdog_ms(&m->systemd) > 0,
        .hands_over = hands_over,
        .before = run_pre_exec,
        .arg = m,
    };

    return check_allowed(m, err) < 0 ? -1 : upgrade_start(&m->upgrade, &order, err);
}

/* ---- the old master: what becomes of it -------------------------------------------------- */

static void successor_serves(struct master *m)
{
    const struct upgrade *u = &m->upgrade;

    listeners_lend(m->current, true);
    if (!u->hands_over)
        return;
    if (m->reload_requested) {
        (void)kill(u->pid, SIGHUP); /* not reaped yet, so the pid is still the program's */
        control_reload_failed(&m->control, 0, UINT64_MAX,
                              "passed on to the new master: its log, and gcornctl status, tell "
                              "how it ended");
    }
    master_note_stop(m, STOP_AT_ONCE, EXIT_STOPPED);
}

/* This master serves alone again. */
static void roll_back(struct master *m, pid_t pid)
{
    listeners_lend(m->current, false);
    control_upgrade_failed(&m->control, "the new master ended while this one was stopping");
    if (m->plan.stopping)
        return;
    log_warnx("Upgrade rolled back: the new master (pid:%d) has ended; this one serves alone again",
              (int)pid);
    (void)takeover_resume(m);
}

bool takeover_reaped(struct master *m, pid_t pid, int status)
{
    struct upgrade *u = &m->upgrade;

    if (u->pid == 0 || pid != u->pid)
        return false;
    if (upgrade_reaped(u, status) == UPGRADE_BESIDE) {
        roll_back(m, pid);
    } else if (!master_is_stopping(m)) {
        log_errorx("Upgrade failed: %s. This master goes on unchanged", u->why);
        control_upgrade_failed(&m->control, u->why);
    }
    return true;
}

/* ---- the old master: leaving ------------------------------------------------------------- */

void takeover_tell(struct master *m)
{
    if (m->plan.stopping && upgrade_has_successor(&m->upgrade) &&
        !procs_may_accept(m, m->last_generation + 1))
        control_upgrade_done(&m->control, m->upgrade.pid);
}

/* Both masters' admin processes accept on one socket; this one's would answer that the server
 * stops. */
static void retire_admin(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (plan_is_admin(&m->plan, p->w) && phase_may_retire(p->w->phase))
            proc_retire(m, p);
    }
}

void takeover_cancel(struct master *m)
{
    if (upgrade_has_successor(&m->upgrade))
        return;
    if (m->upgrade.phase == UPGRADE_BOOTING)
        upgrade_give_up(&m->upgrade, "the server is stopping");
    control_upgrade_failed(&m->control, "the server is stopping");
}

void takeover_leave(struct master *m)
{
    takeover_cancel(m);
    if (!upgrade_has_successor(&m->upgrade))
        return;
    log_info("Upgrade: the new master (pid:%d) takes over; this one stops", (int)m->upgrade.pid);
    retire_admin(m);
    control_lend(&m->control);
    pidfile_close(&m->pidfile);
    systemd_hand_over(&m->systemd, m->upgrade.pid);
    upgrade_say_take_over(&m->upgrade);
}

void takeover_retire_workers(struct master *m)
{
    if (!upgrade_has_successor(&m->upgrade) && !config_of(m)->daemon)
        return; /* the size of a terminal has changed */
    log_info("Workers are retiring, the master stays: HUP starts them again, QUIT ends the master");
    m->plan.workers = 0;
    m->plan.has_admin = false;
}

bool takeover_resume(struct master *m)
{
    if (m->plan.workers > 0)
        return false;
    m->plan.workers = (unsigned)config_of(m)->workers;
    m->plan.has_admin = m->current->admin_listener != NULL;
    log_info("Workers are started again: %u, of the same generation %u", m->plan.workers,
             m->current->id);
    return true;
}

/* ---- the new master ---------------------------------------------------------------------- */

/* Takes the pid file and the control socket. When the old master still holds them, or a reload is
 * under way, a later pass tries again. */
static void take_files(struct master *m)
{
    struct successor *successor = &m->successor;
    struct error err;

    if (!successor->files_are_due || reload_is_trying(m) || m->plan.stopping)
        return;
    if (reload_open_pidfile(m, m->current, &err) < 0 ||
        reload_open_control(m, config_of(m), &err) < 0) {
        if (!successor->files_failed)
            log_warnx("Upgrade: %s", err.text);
        successor->files_failed = true;
        pidfile_close(&m->next_pidfile);
        return;
    }
    reload_apply_files(m);
    listener_close(&successor->control, true); /* still open when the settings name another one */
    successor->files_are_due = false;
}

void takeover_proceed(struct master *m)
{
    if (successor_is_tried(&m->successor) && !m->plan.stopping && plan_has_rolled(&m->plan))
        successor_report_serving(&m->successor);
    take_files(m);
}

/* ---- both -------------------------------------------------------------------------------- */

void takeover_act(struct master *m)
{
    if (upgrade_act(&m->upgrade))
        successor_serves(m);
    successor_act(&m->successor, m->current);
}
