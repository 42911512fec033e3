/* SPDX-License-Identifier: MIT
 *
 * See reap.h.
 */
#include "master/workers/reap.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "master/messages.h"
#include "master/workers/boots.h"
#include "master/workers/crashes.h"
#include "master/postmortem/output.h"
#include "master/postmortem/report.h"
#include "master/workers/preload.h"
#include "master/workers/procs.h"
#include "master/state.h"
#include "master/takeover.h"
#include "master/stats_update.h"

enum { REAP_MAX = 64 }; /* children in a pass */

/* Writes the access log lines that it left in its slot, which is reset when it has been counted. */
static void write_last_lines(const struct master *m, const struct proc *p)
{
    struct slot *s = proc_slot(&m->procs, p);
    int fd = p->settings->access_fd;
    char lines[SLOT_LOG_SIZE];
    size_t len = slot_get_log(s, lines, sizeof(lines));

    if (len == 0 || fd < 0)
        return;
    if (log_write(fd, lines, len) < 0)
        s->counts.log_lines_lost += log_count_lines(lines, len);
}

static void run_child_exit(struct master *m, const struct worker_proc *w, int status)
{
    char pid[64], number[64], end[64];
    const char *const facts[] = {pid, number, end, NULL};
    bool killed = WIFSIGNALED(status);

    (void)snprintf(pid, sizeof(pid), "GCORN_HOOK_WORKER_PID=%d", (int)w->pid);
    (void)snprintf(number, sizeof(number), "GCORN_HOOK_WORKER_SLOT=%u", w->number);
    (void)snprintf(end, sizeof(end), "GCORN_HOOK_WORKER_%s=%d", killed ? "SIGNAL" : "STATUS",
                   killed ? WTERMSIG(status) : WEXITSTATUS(status));
    hooks_run(&m->hooks, "child_exit", config_of(m)->child_exit, facts);
}

static void report_end(struct master *m, struct proc *p, int status)
{
    struct slot *s = proc_slot(&m->procs, p);

    if (phase_has_crashed(p->w->phase) && !speech_has_said(&p->speech, UP_CRASHED))
        crash_report(m, p); /* it ended before its message that the clients are answered */
    switch (plan_last_report(p->w)) {
    case REPORT_BOOT: boots_died(m, p, status); break;
    case REPORT_END:
        if (report_death(p, s, status, &m->oom))
            p->w->end = END_OOM;
        break;
    case REPORT_NOTHING: break;
    }
    write_last_lines(m, p);
    report_last_request(p, s);
}

static void worker_has_ended(struct master *m, struct proc *p, int status, uint64_t now)
{
    assert(p->w->pid > 0 && !phase_is_pending(p->w->phase));
    proc_read(&m->procs, p, SPEECH_LAST_MAX); /* its last messages and output */
    p->noted.misdeed = NULL;                  /* it has ended already */
    procs_act_on(m, p, now);
    output_end(p->output);
    p->output = NULL;
    if (plan_last_report(p->w) != REPORT_BOOT) /* its boot may have failed for another reason */
        plan_count_death(&m->plan, p->w, now);
    report_end(m, p, status);
    stats_update_exited(m, p, status);
    if (!plan_is_admin(&m->plan, p->w))
        run_child_exit(m, p->w, status);
    procs_forget(m, p);
    messages_sweep(m);
}

static void child_has_ended(struct master *m, pid_t pid, int status, uint64_t now)
{
    if (preload_reaped(m, pid, status) || helpers_reaped(&m->helpers, pid, status) ||
        hooks_reaped(&m->hooks, pid, status) || prepare_reaped(&m->prepare, pid, status) ||
        takeover_reaped(m, pid, status))
        return;
    struct proc *p = procs_find(&m->procs, pid);
    if (p)
        worker_has_ended(m, p, status, now);
    /* else an orphan: the master is process 1 or the subreaper */
}

/* The pid of a child that has ended but is not reaped yet, so it cannot be reused. 0: no such
 * child. */
static pid_t next_dead(void)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

void reap_children(struct master *m, uint64_t now)
{
    pid_t pid;
    int status;

    if (!m->child_has_ended)
        return;
    m->child_has_ended = false;
    for (int reaped = 0; (pid = next_dead()) > 0; reaped++) {
        if (reaped == REAP_MAX) { /* the next pass goes on */
            m->child_has_ended = m->is_due = true;
            return;
        }
        preload_read(m); /* it may have been forked and have died since */
        if (waitpid(pid, &status, WNOHANG) == pid)
            child_has_ended(m, pid, status, now);
    }
}
