/* SPDX-License-Identifier: MIT
 *
 * See stats_update.h.
 */
#include "master/stats_update.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/util.h"
#include "master/reload.h"
#include "master/state.h"

enum server_state stats_update_state(const struct master *m)
{
    if (m->plan.stopping)
        return SERVER_STOPPING;
    if (m->stop_at_ms != NO_DEADLINE)
        return SERVER_DRAINING;
    if (!m->has_served)
        return SERVER_STARTING;
    return reload_is_trying(m) || m->rolling ? SERVER_RELOADING : SERVER_SERVING;
}

void stats_update(struct master *m)
{
    struct stats_facts *facts = stats_open(m->stats);

    facts->state = stats_update_state(m);
    facts->generation = m->current->id;
    facts->workers_wanted = m->plan.workers;
    (void)snprintf(facts->build_id, sizeof(facts->build_id), "%s", m->current->image.build_id);
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        const struct worker_proc *w = &m->plan.procs[i];

        const struct stats_proc proc = {.phase = w->phase,
                                        .pid = (int32_t)w->pid,
                                        .number = w->number,
                                        .generation = w->generation,
                                        .is_admin = plan_is_admin(&m->plan, w),
                                        .started_ms = w->started_ms,
                                        .ready_ms = w->ready_ms};

        stats_set_proc(m->stats, i, &proc);
    }
    stats_close(m->stats);
}

void stats_update_listeners(struct master *m)
{
    struct listener_queue queues[STATS_LISTENERS];
    bool is_known[STATS_LISTENERS];
    const struct generation *g = m->current;
    size_t count = g->listener_count < STATS_LISTENERS ? g->listener_count : STATS_LISTENERS;

    if (!g->admin_listener)
        return;
    for (size_t i = 0; i < count; i++)
        is_known[i] = listener_get_queue(g->listeners[i], &queues[i]) == 0;
    struct stats_facts *facts = stats_open(m->stats);
    for (size_t i = 0; i < count; i++) {
        struct stats_listener *l = &facts->listeners[i];

        (void)snprintf(l->name, sizeof(l->name), "%s", g->listeners[i]->name);
        l->is_known = is_known[i];
        l->queued = is_known[i] ? queues[i].length : 0;
        l->limit = is_known[i] ? queues[i].limit : 0;
    }
    facts->listener_count = (uint32_t)count;
    stats_close(m->stats);
}

/* Counts the requests that a worker had when it died. Those that ran are timed from the beginning
 * of their call; the times of the others are not known. */
static void count_unfinished(const struct worker_proc *w, struct slot *s, int status)
{
    uint64_t left = slot_in_flight(&s->counts), now = now_ms();
    bool is_killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    enum slot_ended ended = is_killed ? ENDED_KILLED : ENDED_CRASH; /* as does _exit() */

    for (unsigned i = 0; i < slot_call_count(s) && left > 0; i++) {
        uint64_t since = slot_call_started_ms(&s->calls[i]);

        if (since == 0 || !s->calls[i].answers)
            continue;
        slot_times_add(&s->counts.durations, now > since ? (now - since) * 1000 : 0);
        slot_counts_end(&s->counts, 0, plan_timed_out(w) ? ENDED_TIMEOUT : ended, 1);
        left--;
    }
    slot_counts_end(&s->counts, 0, ended, left);
}

void stats_update_exited(struct master *m, const struct proc *p, int status)
{
    if (plan_is_admin(&m->plan, p->w))
        return;
    struct slot *slot = proc_slot(&m->procs, p);
    struct stats_facts *facts = stats_open(m->stats);
    count_unfinished(p->w, slot, status);
    unsigned lost = stats_add_exited(m->stats, slot);
    facts->ends[plan_end(p->w, status)]++;
    stats_close(m->stats);
    if (lost > 0 && !m->metrics_are_lost) {
        log_warnx("The application has made more than %d counters and histograms: those of workers "
                  "that end are lost",
                  STATS_METRICS);
        m->metrics_are_lost = true;
    }
}

void stats_update_reload(struct master *m, bool ok)
{
    struct stats_facts *facts = stats_open(m->stats);

    if (ok)
        facts->reloads_done++;
    else
        facts->reloads_failed++;
    stats_close(m->stats);
}
