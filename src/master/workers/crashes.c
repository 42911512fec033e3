/* SPDX-License-Identifier: MIT
 *
 * See crashes.h.
 */
#include "master/workers/crashes.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/util.h"
#include "master/postmortem/output.h"
#include "master/postmortem/report.h"
#include "master/postmortem/stack_log.h"
#include "master/workers/procs.h"
#include "master/state.h"
#include "system/process/procfs.h"

enum {
    CRASH_MS = 10000, /* to answer clients, take stacks, keep the request */
    RETURN_MS = 1000, /* then the signal ends it */
    LOOK_MS = 100,    /* how often a worker after that is checked */
};

void crash_begun(struct master *m, struct proc *p, uint64_t now)
{
    struct worker_proc *w = p->w;

    p->noted.is_dying = false;
    if (phase_after(w->phase, PROC_IS_DYING) == w->phase)
        return;                        /* the master has sent the signal, or it is dying */
    if (!phase_is_booting(w->phase)) { /* else its end is that of its boot */
        plan_count_death(&m->plan, w, now);
        w->end = END_CRASH;
    }
    (void)plan_advance(w, PROC_IS_DYING, now + CRASH_MS);
    w->crash_by_ms = w->deadline_ms;
}

void crash_report(struct master *m, struct proc *p)
{
    output_take(p->output); /* its last output comes first */
    report_crash(p, proc_slot(&m->procs, p));
}

void crash_release(struct proc *p, uint64_t now)
{
    (void)proc_order(p, DOWN_GO, 0);
    if (phase_has_crashed(p->w->phase))
        p->w->deadline_ms = now + RETURN_MS;
}

void crash_answered(struct master *m, struct proc *p, uint64_t now)
{
    const struct slot *slot = proc_slot(&m->procs, p);

    p->noted.is_answered = false;
    if (!phase_has_crashed(p->w->phase)) { /* its UP_DYING may not have fitted in the pipe */
        crash_release(p, now);
        return;
    }
    crash_report(m, p);
    stack_log_await(&m->stack_logs, p, report_crashed_call(slot), report_crash_level(p));
}

bool crash_goes_on(struct master *m, struct proc *p, uint64_t now)
{
    bool has_returned = atomic_load(&proc_slot(&m->procs, p)->crash.stage) == CRASH_RETURNED;

    if (procfs_dumps_core(p->w->pid) || (!has_returned && now < p->w->crash_by_ms)) {
        p->w->deadline_ms = now + LOOK_MS;
        return true;
    }
    if (has_returned)
        log_errorx("Worker (pid:%d) survived its crash: a signal handler of its application "
                   "handled the signal; killing it",
                   (int)p->w->pid);
    return false;
}
