/* SPDX-License-Identifier: MIT
 *
 * See snapshot.h. When a worker ends, the master moves its counts from its slot to the stats while
 * the sequence is odd. So a copy that was made between two equal sequences has them exactly once,
 * in the slot or in the stats.
 */
#include "master/telemetry/snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "system/ipc/metric_slots.h"
#include "system/process/process.h"
#include "system/process/procfs.h"

enum { TURNS = 100 };

static void add_worker(struct snapshot *s, const struct stats_proc *proc, const struct slot *slot)
{
    s->workers[s->worker_count++] = (struct snapshot_worker){
        .number = proc->number,
        .pid = proc->pid,
        .phase = (enum proc_phase)proc->phase,
        .ready_ms = proc->ready_ms,
        .calls_running = slot_running_calls(slot),
        .calls_limit = slot_call_count(slot),
        .call_started_ms = slot_busy_since_ms(slot),
        .loop_ms = atomic_load(&slot->loop_ms),
        .in_flight = slot_in_flight(&slot->counts),
        .connections_open = slot_get_number(&slot->connections_open),
        .full_since_ms = atomic_load(&slot->full_since_ms),
    };
    slot_counts_add(&s->counts, &slot->counts);
}

static bool is_worker(const struct stats_proc *proc)
{
    return proc->phase != PROC_EMPTY && !proc->is_admin;
}

/* Adds the metrics of the workers of the current generation, or of all others. */
static void add_metrics(struct snapshot *s, const struct stats *stats,
                        struct scoreboard *scoreboard, bool of_current)
{
    for (unsigned i = 0; i < stats_places(stats); i++) {
        struct stats_proc proc;

        stats_copy_proc(stats, i, &proc);
        if (is_worker(&proc) && (proc.generation == s->facts->generation) == of_current)
            (void)metrics_sum(s->metrics, &s->metric_count, SNAPSHOT_METRICS,
                              scoreboard_slot(scoreboard, i), METRICS_ALL);
    }
}

/* The current application's metrics come first: where an earlier one used the same name with other
 * bounds or another kind, the current definition wins. */
static void copy_metrics(struct snapshot *s, const struct stats *stats,
                         struct scoreboard *scoreboard)
{
    s->metric_count = 0;
    add_metrics(s, stats, scoreboard, true);
    add_metrics(s, stats, scoreboard, false);
    (void)metrics_sum_table(s->metrics, &s->metric_count, SNAPSHOT_METRICS, s->facts->metrics,
                            s->facts->metric_count);
}

static void copy_all(struct snapshot *s, const struct stats *stats, struct scoreboard *scoreboard)
{
    stats_copy_facts(stats, s->facts);
    s->counts = (struct slot_counts){0};
    slot_counts_add(&s->counts, &s->facts->gone);
    s->worker_count = 0;
    for (unsigned i = 0; i < stats_places(stats); i++) {
        struct stats_proc proc;

        stats_copy_proc(stats, i, &proc);
        if (is_worker(&proc))
            add_worker(s, &proc, scoreboard_slot(scoreboard, i));
    }
    copy_metrics(s, stats, scoreboard);
}

int snapshot_take(struct snapshot *s, const struct stats *stats, struct scoreboard *scoreboard)
{
    uint64_t sequence;

    *s = (struct snapshot){.facts = xmalloc(sizeof(*s->facts)),
                           .workers = xcalloc(stats_places(stats), sizeof(*s->workers)),
                           .metrics = xmalloc(SNAPSHOT_METRICS * sizeof(*s->metrics))};
    for (int i = 0; i < TURNS && stats_begin(stats, &sequence); i++) {
        copy_all(s, stats, scoreboard);
        if (stats_is_same(stats, sequence))
            return 0;
    }
    snapshot_release(s);
    return -1;
}

void snapshot_release(struct snapshot *s)
{
    free(s->facts);
    free(s->workers);
    free(s->metrics);
    *s = (struct snapshot){0};
}

void snapshot_add_usage(struct snapshot *s)
{
    for (unsigned i = 0; i < s->worker_count; i++) {
        struct snapshot_worker *w = &s->workers[i];

        if (procfs_resident_memory(w->pid, &w->rss_bytes) < 0)
            w->rss_bytes = 0;
        if (process_cpu_us(w->pid, &w->cpu_us) < 0)
            w->cpu_us = 0;
    }
}

/* ---- readiness --------------------------------------------------------------------------- */

static bool is_full(const struct snapshot_worker *w, uint64_t fresh_ms, uint64_t now_ms)
{
    return w->full_since_ms != 0 && now_ms > w->full_since_ms &&
           now_ms - w->full_since_ms > fresh_ms;
}

static bool can_serve(const struct snapshot_worker *w, uint64_t fresh_ms, uint64_t now_ms)
{
    uint64_t since = w->loop_ms > w->ready_ms ? w->loop_ms : w->ready_ms;

    if (w->call_started_ms != 0)
        since = w->call_started_ms;
    return w->phase == PROC_READY && w->loop_ms != SLOT_LOOP_OVER &&
           !is_full(w, fresh_ms, now_ms) && (now_ms <= since || now_ms - since <= fresh_ms);
}

bool snapshot_is_ready(const struct snapshot *s, unsigned needed, uint64_t fresh_ms,
                       uint64_t now_ms, struct strbuf *why)
{
    unsigned fresh = 0, full = 0;
    size_t before = why->len;

    for (unsigned i = 0; i < s->worker_count; i++) {
        fresh += can_serve(&s->workers[i], fresh_ms, now_ms);
        full += is_full(&s->workers[i], fresh_ms, now_ms);
    }
    if (s->facts->state == SERVER_STARTING)
        strbuf_addstr(why, "starting: no worker has been ready yet\n");
    if (s->facts->state == SERVER_DRAINING || s->facts->state == SERVER_STOPPING)
        strbuf_addf(why, "%s\n", server_state_name((enum server_state)s->facts->state));
    if (fresh < needed)
        strbuf_addf(why, "%u of %u workers can serve, and %u should\n", fresh, s->worker_count,
                    needed);
    if (fresh < needed && full > 0)
        strbuf_addf(why, "%u workers are full and can end no connection\n", full);
    return why->len == before;
}
