/* SPDX-License-Identifier: MIT
 *
 * See counts.h.
 */
#include "worker/loop/counts.h"

#include "worker/access_log_writer.h"
#include "worker/loop/state.h"

void worker_note_run(struct worker *w, uint64_t queued_ns)
{
    slot_times_add(&w->slot->counts.queued, queued_ns / 1000);
}

/* Apart, so that it costs whole answers nothing. */
static void __attribute__((noinline))
count_cut(struct slot_counts *counts, const struct gcorn_environ *env)
{
    slot_counts_end(counts, env->response.status, slot_ended_of(env->response.ended), 1);
}

void worker_note_answer(struct worker *w, struct gcorn_environ *env, uint64_t duration_ns)
{
    struct slot_counts *counts = &w->slot->counts;
    int status = env->response.status;

    slot_times_add(&counts->durations, duration_ns / 1000);
    if (!env->response.ended && status >= SLOT_STATUS_MIN && status <= SLOT_STATUS_MAX)
        counts->by_status[status - SLOT_STATUS_MIN]++;
    else
        count_cut(counts, env);
    access_log_writer_add(&w->access_log, env, duration_ns);
}
