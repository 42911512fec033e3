/* SPDX-License-Identifier: MIT
 *
 * See boots.h.
 */
#include "master/workers/boots.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "master/workers/preload.h"
#include "master/workers/procs.h"
#include "master/reload.h"
#include "master/postmortem/report.h"
#include "master/workers/spawn.h"
#include "master/messages.h"
#include "master/state.h"

enum { SPAWN_RETRY_MS = 1000 };

void boots_begin(struct master *m)
{
    const struct config *cfg = m->candidate ? &m->candidate->config : config_of(m);

    m->boot_by_ms = now_ms() + cfg->boot_timeout_ms;
}

static bool ends_start(struct master *m, const char *why)
{
    bool is_successors_end = successor_ends_with(&m->successor, why);

    return is_successors_end || !m->has_served;
}

static void end_start(struct master *m, const char *what, const char *why, int status)
{
    log_critical("%s: %s", what, why);
    /* workers that are READY finish their requests */
    master_note_stop(m, m->has_served ? STOP_AT_ONCE : STOP_QUICKLY, status);
}

/* Notes a failure for a later step of the pass. The first reason counts. */
static void note_failure(char **failure, const char *why)
{
    if (!*failure)
        *failure = xstrdup(why);
}

static void log_failure(const struct master *m, const struct proc *p, const char *why)
{
    if (phase_is_pending(p->w->phase)) /* it has no pid yet */
        log_errorx("Worker %u failed to boot: %s", p->w->number, why);
    else
        log_errorx("%s (pid:%d) failed to boot: %s", proc_name(&m->procs, p), (int)p->w->pid, why);
}

void boots_failed(struct master *m, struct proc *p, const char *why)
{
    if (m->plan.stopping || m->stop_wish >= STOP_AT_ONCE)
        return; /* nothing waits for it */
    assert(phase_is_pending(p->w->phase) || p->w->pid > 0);
    if (p->w->generation == m->plan.candidate) {
        note_failure(&m->candidate_failure, why);
    } else if (ends_start(m, why)) {
        end_start(m,
                  plan_is_admin(&m->plan, p->w) ? "Admin process failed to boot"
                                                : "Worker failed to boot",
                  why, EXIT_APP);
    } else {
        log_failure(m, p, why);
        if (m->rolling && p->w->generation == m->plan.generation)
            note_failure(&m->roll_failure, why);
    }
}

bool boots_is_kill(int status)
{
    return WIFSIGNALED(status) && (WTERMSIG(status) == SIGKILL || WTERMSIG(status) == SIGTERM);
}

/* Does the start, or a reload, wait for a worker of this generation? */
static bool is_awaited(const struct master *m, unsigned generation)
{
    return generation == m->plan.candidate ||
           (generation == m->plan.generation && (!m->has_served || m->rolling));
}

void boots_killed(struct master *m, struct proc *p, const char *why)
{
    struct worker_proc *w = p->w;
    uint64_t now = now_ms();

    w->end = END_KILLED;
    if (w->generation == m->plan.candidate)
        plan_note_kill(&m->plan.canary, now);
    else if (w->generation == m->plan.generation)
        plan_note_kill(&m->plan.backoffs[w->number], now);
    if (now >= m->boot_by_ms && is_awaited(m, w->generation))
        boots_failed(m, p, why);
}

void boots_died(struct master *m, struct proc *p, int status)
{
    char step[BOOT_STEP_SIZE], end[WAIT_STATUS_TEXT_SIZE];
    struct error err;

    report_boot_step(proc_slot(&m->procs, p), step);
    (void)error_set(&err, EXIT_APP, "it %s before it was ready%s", wait_status_text(status, end),
                    step);
    if (!boots_is_kill(status) || phase_has_crashed(p->w->phase)) {
        boots_failed(m, p, err.text);
        plan_count_death(&m->plan, p->w, now_ms());
        return;
    }
    bool is_oom = report_death(p, proc_slot(&m->procs, p), status, &m->oom);
    boots_killed(m, p, err.text);
    if (is_oom)
        p->w->end = END_OOM;
}

void boots_not_started(struct master *m, const char *why)
{
    uint64_t now = now_ms(), next = now + SPAWN_RETRY_MS;

    log_errorx("cannot start a worker: %s; next try in %d s", why, SPAWN_RETRY_MS / 1000);
    (void)snprintf(m->spawn_why, sizeof(m->spawn_why), "no process can be started: %s", why);
    m->spawn_not_before_ms = m->boot_by_ms > now && m->boot_by_ms < next ? m->boot_by_ms : next;
}

bool boots_start(struct master *m, unsigned number, unsigned generation)
{
    struct generation *g = generation == m->plan.candidate ? m->candidate : m->current;
    int place = plan_free_place(&m->plan);

    if (place == PLAN_NONE) { /* the next end of a process makes room */
        if (!m->table_full)
            log_warnx("No worker can be started: there are %u processes, most of them leaving",
                      m->plan.proc_count);
        m->table_full = true;
        return false;
    }
    assert(g && g->id == generation && !m->plan.stopping);
    m->table_full = false;
    messages_sweep(m);
    const struct spawner spawner = {
        .plan = &m->plan,
        .procs = &m->procs,
        .scoreboard = m->scoreboard,
        .bus = &m->bus,
        .shared_memory = &m->shared_memory,
        .stats = m->stats,
        .loop = m->loop,
        .activation = &m->start->activation,
        .is_trial = successor_is_tried(&m->successor),
    };
    bool preloads = g->config.preload_app && number != plan_admin_number(&m->plan);
    bool needs_template = preloads && !g->template;
    int result = needs_template ? spawn_template(&spawner, g) : 0;
    if (result == 0 && needs_template)
        preload_watch(m, g);
    if (result < 0 || spawn_worker(&spawner, place, number, g) < 0) {
        boots_not_started(m, strerror(errno));
        return false;
    }
    m->spawn_why[0] = '\0';
    if (m->procs.list[place].w->pid > 0)
        procs_watch(m, &m->procs.list[place]);
    return true;
}

void boots_give_up(struct master *m, uint64_t now)
{
    if (m->spawn_why[0] == '\0' || now < m->boot_by_ms || m->plan.stopping)
        return;
    if (m->candidate) {
        if (!plan_has_canary(&m->plan))
            note_failure(&m->candidate_failure, m->spawn_why);
    } else if (!m->has_served || successor_is_tried(&m->successor)) {
        if (!plan_has_workers(&m->plan) && ends_start(m, m->spawn_why))
            end_start(m, "Start failed", m->spawn_why, EXIT_FAILED);
    } else if (m->rolling) {
        note_failure(&m->roll_failure, m->spawn_why);
    }
}
