/* SPDX-License-Identifier: MIT
 *
 * See crashes.h. One that crashes while it boots stays PROC_BOOTING: its end is that of its boot.
 */
#include "master/crashes.h"

#include <stdatomic.h>

#include "base/log.h"
#include "base/util.h"
#include "master/postmortem/stack_log.h"
#include "master/postmortem/output.h"
#include "master/procs.h"
#include "master/postmortem/report.h"
#include "master/state.h"
#include "system/process/procfs.h"

enum {
    CRASH_MS = 10000, /* it answers its clients, is explained, and writes what it keeps */
    RETURN_MS = 1000, /* then the signal ends it */
    LOOK_MS = 100,    /* how often a worker past that is looked at */
};

void crash_begun(struct master *m, struct worker_proc *w)
{
    bool is_spared = w->phase == PROC_KILLING && w->spared && !w->aborted;
    bool boots = w->phase == PROC_BOOTING && !w->failed_boot;

    if (w->phase != PROC_READY && w->phase != PROC_RETIRING && !is_spared && !boots)
        return; /* the master has sent the signal */
    w->spared = w->timed_out = false;
    if (!boots) {
        proc_note_death(m, w);
        w->phase = PROC_KILLING;
    }
    w->crashed = true;
    w->crash_by_ms = w->deadline_ms = now_ms() + CRASH_MS;
}

void crash_report(struct master *m, struct worker_proc *w)
{
    if (w->reported)
        return;
    output_take(w->output); /* its last words come first */
    report_crash(w, master_slot(m, w));
    w->reported = true;
}

/* It waits for this, and not for ever. */
static void let_go(struct master *m, struct worker_proc *w)
{
    (void)m;
    (void)proc_order(w, DOWN_GO, 0);
    if (w->crashed)
        w->deadline_ms = now_ms() + RETURN_MS;
}

void crash_answered(struct master *m, struct worker_proc *w)
{
    if (!w->crashed || w->reported) {
        let_go(m, w);
        return;
    }
    crash_report(m, w);
    stack_log_begin(m, w, report_crashed_call(master_slot(m, w)), report_crash_level(w), let_go);
}

bool crash_goes_on(struct master *m, struct worker_proc *w, uint64_t now)
{
    bool has_returned = atomic_load(&master_slot(m, w)->crash.stage) == CRASH_RETURNED;

    if (procfs_dumps_core(w->pid) || (!has_returned && now < w->crash_by_ms)) {
        w->deadline_ms = now + LOOK_MS;
        return true;
    }
    if (has_returned)
        log_errorx("Worker (pid:%d) lives on after its crash: a signal handler of its application "
                   "has taken the signal; killing it",
                   (int)w->pid);
    return false;
}
