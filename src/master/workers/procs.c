/* SPDX-License-Identifier: MIT
 *
 * See procs.h. A worker's pid cannot be reused until it is reaped, so a signal cannot reach another
 * process.
 */
#include "master/workers/procs.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "master/workers/boots.h"
#include "master/workers/crashes.h"
#include "master/workers/liveness.h"
#include "master/postmortem/output.h"
#include "master/postmortem/report.h"
#include "master/postmortem/stack_log.h"
#include "master/workers/preload.h"
#include "master/state.h"
#include "master/stop.h"
#include "system/process/daemon.h"

enum {
    KILL_GRACE_MS = 2000,   /* from SIGABRT to SIGKILL */
    LATE_STACKS_MS = 3000,  /* to take the stacks of a late boot */
    TRACED_MS = 1000,       /* how often the master looks for the debugger again */
    FAILED_EXIT_MS = 10000, /* to exit, after the report of a failed boot */
};

void procs_watch(struct master *m, struct proc *p)
{
    proc_watch(&m->procs, p);
    if (p->output)
        output_watch(p->output, m->loop, p->w->pid);
}

void procs_forget(struct master *m, struct proc *p)
{
    output_end(p->output);
    p->output = NULL;
    proc_clear(&m->procs, p);
}

/* Sends SIGKILL. The caller has logged the reason, if it needs a line. */
static void kill_proc(struct proc *p, enum proc_event event)
{
    assert(p->w->pid > 0);
    (void)plan_advance(p->w, event, NO_DEADLINE);
    assert(p->w->phase == PROC_KILLED);
    (void)kill(p->w->pid, SIGKILL);
}

void procs_abort(struct master *m, struct proc *p, enum proc_event event)
{
    (void)m;
    if (!plan_advance(p->w, event, now_ms() + KILL_GRACE_MS))
        return;
    assert(p->w->phase == PROC_ABORTED && p->w->pid > 0);
    (void)kill(p->w->pid, SIGABRT);
    (void)kill(p->w->pid, SIGCONT); /* so that a stopped worker can still answer its clients */
}

/* ---- what a process has said ------------------------------------------------------------- */

static void run_when_ready(struct master *m)
{
    char workers[64];
    const char *const facts[] = {workers, NULL};

    (void)snprintf(workers, sizeof(workers), "GCORN_HOOK_WORKERS=%u", m->plan.workers);
    hooks_run(&m->hooks, "when_ready", config_of(m)->when_ready, facts);
}

static void first_worker_serves(struct master *m)
{
    m->has_served = true;
    daemon_report(EXIT_STOPPED);
    run_when_ready(m);
}

static void is_forked(struct master *m, struct proc *p, uint64_t now)
{
    uint64_t deadline_ms = p->w->deadline_ms;

    (void)now;
    assert(p->w->pid == 0 && p->template);
    p->w->pid = p->noted.pid;
    p->noted.pid = 0;
    p->template = NULL;
    (void)plan_advance(p->w, PROC_IS_FORKED, deadline_ms);
    procs_watch(m, p);
}

static void is_ready(struct master *m, struct proc *p, uint64_t now)
{
    p->noted.is_ready = false;
    if (!plan_advance(p->w, PROC_IS_READY, NO_DEADLINE))
        return; /* it has been told to finish since */
    p->w->ready_ms = p->w->heard_ms = now;
    if (plan_is_admin(&m->plan, p->w))
        return;
    p->settings->is_proven = true;
    if (!m->has_served)
        first_worker_serves(m);
    if (m->stop_at_ms != NO_DEADLINE)
        (void)proc_order(p, DOWN_CLOSE, 0);
    boots_begin(m);
    if (p->w->generation == m->plan.candidate)
        m->candidate_is_ready = true;
}

static void fails_to_boot(struct master *m, struct proc *p, uint64_t now)
{
    char *why = p->noted.boot_failure;

    p->noted.boot_failure = NULL;
    if (phase_may_retire(p->w->phase))
        boots_failed(m, p, why);
    if (plan_advance(p->w, PROC_FAILS_TO_BOOT,
                     phase_is_retiring(p->w->phase) ? NO_DEADLINE : now + FAILED_EXIT_MS) &&
        p->w->phase == PROC_KILLED)
        (void)kill(p->w->pid, SIGKILL);
    free(why);
}

static enum worker_end why_asked_to_leave(const char *why)
{
    return strcmp(why, "SIGTERM") == 0        ? END_SIGTERM
           : strcmp(why, "max_requests") == 0 ? END_MAX_REQUESTS
                                              : END_CRASH;
}

void procs_recycle(struct master *m, struct proc *p, enum worker_end end, const char *why)
{
    struct worker_proc *w = p->w;

    if (w->phase != PROC_READY || w->recycle)
        return;
    log_info("%s (pid:%d) is to be replaced: %s", proc_name(&m->procs, p), (int)w->pid, why);
    w->recycle = true;
    w->end = end;
}

/* The application of the replacement may break the same thing at once: as after a crash, the next
 * start is delayed. */
static void asks_to_leave(struct master *m, struct proc *p, uint64_t now)
{
    char *why = p->noted.wish;
    enum worker_end end = why_asked_to_leave(why);

    p->noted.wish = NULL;
    if (end == END_CRASH && p->w->phase == PROC_READY && !p->w->recycle)
        plan_count_death(&m->plan, p->w, now);
    procs_recycle(m, p, end, why);
    free(why);
}

static void has_done_wrong(struct master *m, struct proc *p, uint64_t now)
{
    const char *why = p->noted.misdeed;

    p->noted.misdeed = NULL;
    if (p->w->phase == PROC_KILLED)
        return;
    if (phase_may_retire(p->w->phase) && phase_is_booting(p->w->phase))
        boots_failed(m, p, why);
    else
        log_critical("%s (pid:%d): %s; killing it", proc_name(&m->procs, p), (int)p->w->pid, why);
    plan_count_death(&m->plan, p->w, now);
    p->w->end = END_CRASH;
    kill_proc(p, PROC_IS_KILLED);
}

static void fail_late_boot(struct master *m, struct proc *p, enum proc_event event, uint64_t now)
{
    char step[BOOT_STEP_SIZE], why[BOOT_STEP_SIZE + 64];

    report_boot_step(proc_slot(&m->procs, p), step);
    (void)snprintf(why, sizeof(why), "it was not ready within boot_timeout%s", step);
    boots_failed(m, p, why);
    plan_count_death(&m->plan, p->w, now);
    kill_proc(p, event);
}

/* The awaited stacks are in the log, or could not be taken. */
static void is_explained(struct master *m, struct proc *p, uint64_t now)
{
    if (p->w->phase == PROC_FINISHING && !m->quick && liveness_has_more_to_finish(m, p))
        return; /* until it has not */
    p->noted.has_stacks = false;
    if (p->w->phase == PROC_FINISHING || p->w->phase == PROC_EXPLAINING)
        procs_abort(m, p, PROC_IS_EXPLAINED);
    else if (p->w->phase == PROC_LATE)
        fail_late_boot(m, p, PROC_IS_EXPLAINED, now);
    else if (plan_crashed(p->w))
        crash_release(p, now);
}

void procs_act_on(struct master *m, struct proc *p, uint64_t now)
{
    const struct noted *noted = &p->noted;

    if (noted->pid > 0)
        is_forked(m, p, now);
    if (noted->is_ready)
        is_ready(m, p, now);
    if (noted->boot_failure)
        fails_to_boot(m, p, now);
    if (noted->wish)
        asks_to_leave(m, p, now);
    if (noted->is_dying)
        crash_begun(m, p, now);
    if (noted->is_answered)
        crash_answered(m, p, now);
    if (noted->has_stacks)
        is_explained(m, p, now);
    if (noted->misdeed)
        has_done_wrong(m, p, now);
}

void procs_act(struct master *m, uint64_t now)
{
    struct proc *p;

    for_each_proc (p, &m->procs)
        procs_act_on(m, p, now);
}

void procs_read_all(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs)
        proc_read(&m->procs, p, SPEECH_PASS_MAX);
}

void procs_read_booting(struct master *m)
{
    struct proc *p;
    uint64_t now = now_ms();

    for_each_proc (p, &m->procs) {
        if (!phase_is_booting(p->w->phase))
            continue;
        proc_read(&m->procs, p, SPEECH_PASS_MAX);
        procs_act_on(m, p, now);
    }
}

/* ---- deadlines --------------------------------------------------------------------------- */

/* The template that is to fork it is stuck in its application. */
static void pending_is_late(struct master *m, struct proc *p, uint64_t now)
{
    struct generation *g = p->settings;

    if (preload_log_late(m, g, now))
        return;
    generation_ref(g); /* its pending processes may have the last other references */
    procs_pending_failed(m, p, false, "it was not ready within boot_timeout");
    preload_end(m, g);
    generation_unref(g, true);
}

/* A boot that hangs is logged like a call that hangs, unless a debugger traces the worker. */
static void boot_is_late(struct master *m, struct proc *p, uint64_t now)
{
    char step[BOOT_STEP_SIZE];

    if (liveness_is_traced(m, p)) {
        p->w->deadline_ms = now + TRACED_MS;
        return;
    }
    report_boot_step(proc_slot(&m->procs, p), step);
    log_errorx("%s (pid:%d) is not ready within boot_timeout%s", proc_name(&m->procs, p),
               (int)p->w->pid, step);
    (void)plan_advance(p->w, PROC_DEADLINE_PASSES, now + LATE_STACKS_MS);
    stack_log_await(&m->stack_logs, p, NULL, LOG_LEVEL_ERROR);
}

static void crash_is_late(struct master *m, struct proc *p, uint64_t now)
{
    if (crash_goes_on(m, p, now))
        return;
    if (p->w->phase == PROC_BOOT_CRASHED)
        fail_late_boot(m, p, PROC_DEADLINE_PASSES, now);
    else
        kill_proc(p, PROC_DEADLINE_PASSES);
}

static void retiring_is_late(const struct master *m, struct proc *p)
{
    if (!m->quick)
        log_errorx("%s (pid:%d) did not finish within graceful_timeout: killed",
                   proc_name(&m->procs, p), (int)p->w->pid);
    kill_proc(p, PROC_DEADLINE_PASSES);
}

static void is_late(struct master *m, struct proc *p, uint64_t now)
{
    switch (p->w->phase) {
    case PROC_PENDING:
    case PROC_RECALLED: pending_is_late(m, p, now); break;
    case PROC_BOOTING: boot_is_late(m, p, now); break;
    case PROC_LATE: fail_late_boot(m, p, PROC_DEADLINE_PASSES, now); break;
    case PROC_BOOT_CRASHED:
    case PROC_CRASHED: crash_is_late(m, p, now); break;
    case PROC_RETIRING:
    case PROC_HURRIED: retiring_is_late(m, p); break;
    case PROC_EXPLAINING:
    case PROC_FINISHING: procs_abort(m, p, PROC_DEADLINE_PASSES); break;
    case PROC_BOOT_FAILED: plan_count_death(&m->plan, p->w, now); /* fall through */
    default: kill_proc(p, PROC_DEADLINE_PASSES); break;
    }
}

void procs_end_late(struct master *m, uint64_t now)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (now < p->w->deadline_ms)
            continue;
        proc_read(&m->procs, p, SPEECH_PASS_MAX); /* a READY may be unread */
        procs_act_on(m, p, now);
        if (now >= p->w->deadline_ms)
            is_late(m, p, now);
    }
}

/* ---- boots that are for nothing ---------------------------------------------------------- */

static void kill_booting(struct master *m, struct proc *p, enum worker_end end)
{
    assert(phase_is_booting(p->w->phase));
    if (phase_is_pending(p->w->phase)) { /* it has no pid yet */
        procs_forget(m, p);
        return;
    }
    p->w->end = end;
    kill_proc(p, PROC_IS_KILLED);
}

static bool is_served(const struct master *m)
{
    const struct proc *p;

    if (!stop_has_clients(m))
        return true;
    for_each_proc (p, &m->procs) {
        if (p->w->phase == PROC_READY && !plan_is_admin(&m->plan, p->w))
            return true;
    }
    return false;
}

/* A worker that boots keeps the sockets open but accepts nothing: clients would wait for it and be
 * cut off at its deadline. It is not needed when another worker serves the clients, or none
 * waits. */
void procs_kill_booting(struct master *m)
{
    bool for_nothing = is_served(m);
    struct proc *p;

    for_each_proc (p, &m->procs) {
        bool is_dying = m->quick && phase_is_dying(p->w->phase);

        if (phase_is_booting(p->w->phase) && (for_nothing || is_dying))
            kill_booting(m, p, END_WITH_SERVER);
    }
}

void procs_kill_canary(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (phase_is_booting(p->w->phase) && p->w->generation == m->plan.candidate)
            kill_booting(m, p, END_RELOAD);
    }
}

void procs_pending_failed(struct master *m, struct proc *p, bool was_killed, const char *why)
{
    assert(phase_is_pending(p->w->phase));
    if (was_killed && !m->plan.stopping)
        log_errorx("Worker %u failed to boot: %s", p->w->number, why);
    if (p->w->phase == PROC_PENDING && was_killed)
        boots_killed(m, p, why);
    else if (p->w->phase == PROC_PENDING)
        boots_failed(m, p, why);
    if (!was_killed)
        plan_count_death(&m->plan, p->w, now_ms());
    procs_forget(m, p);
}
