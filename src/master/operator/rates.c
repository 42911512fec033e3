/* SPDX-License-Identifier: MIT
 *
 * See rates.h. A slot is untrusted, and its worker goes on counting while it is read: each number
 * is read once, and a number that has fallen since the last sample counts as unchanged.
 */
#include "master/operator/rates.h"

#include <assert.h>
#include <stdlib.h>

#include "base/util.h"
#include "master/proc/plan.h"
#include "system/process/process.h"

enum {
    EVERY_MS = 950, /* a tick of a second may come a little early */
};

static const uint64_t COUNT_MAX = (uint64_t)1 << 53;

void samples_init(struct samples *s, unsigned proc_count)
{
    *s = (struct samples){.procs = xcalloc(proc_count, sizeof(*s->procs))};
}

void samples_release(struct samples *s)
{
    free(s->procs);
    s->procs = NULL;
}

static void read_sample(struct sample *s, pid_t pid, const struct slot *slot, uint64_t now_ms)
{
    s->at_ms = now_ms;
    if (process_cpu_us(pid, &s->cpu_us) < 0)
        s->cpu_us = 0;
    s->requests = slot_requests(&slot->counts);
    for (unsigned i = 0; i < SLOT_TIME_BUCKETS; i++)
        s->durations[i] = slot_get_number(&slot->counts.durations.count[i]);
}

void samples_take(struct samples *s, const struct plan *plan, struct scoreboard *scoreboard,
                  uint64_t now_ms)
{
    if (now_ms < s->taken_ms + EVERY_MS)
        return;
    s->taken_ms = now_ms;
    for (unsigned i = 0; i < plan->proc_count; i++) {
        const struct worker_proc *proc = &plan->procs[i];
        struct sampled_proc *each = &s->procs[i];

        if (proc->phase == PROC_EMPTY || plan_is_admin(plan, proc))
            continue;
        if (each->pid != proc->pid) /* a new process: it started from zero */
            each->last = (struct sample){.at_ms = proc->started_ms};
        each->pid = proc->pid;
        each->previous = each->last;
        read_sample(&each->last, proc->pid, scoreboard_slot(scoreboard, i), now_ms);
    }
}

static uint64_t grown(uint64_t before, uint64_t now)
{
    uint64_t by = now > before ? now - before : 0;

    return by < COUNT_MAX ? by : COUNT_MAX;
}

void samples_measure(const struct samples *s, const struct plan *plan, unsigned place,
                     const struct slot *slot, uint64_t now_ms, struct rates *rates)
{
    const struct worker_proc *proc = &plan->procs[place];
    const struct sample birth = {.at_ms = proc->started_ms};
    const struct sample *before =
        s->procs[place].pid == proc->pid ? &s->procs[place].previous : &birth;
    struct sample now;

    assert(place < plan->proc_count && proc->phase != PROC_EMPTY);
    read_sample(&now, proc->pid, slot, now_ms);
    rates->ms = grown(before->at_ms, now.at_ms);
    rates->cpu_us = grown(before->cpu_us, now.cpu_us);
    rates->requests = grown(before->requests, now.requests);
    for (unsigned i = 0; i < SLOT_TIME_BUCKETS; i++)
        rates->durations[i] = grown(before->durations[i], now.durations[i]);
}

static void add_bounded(uint64_t *to, uint64_t more)
{
    *to = *to + more < COUNT_MAX ? *to + more : COUNT_MAX;
}

void rates_add(struct rates *to, const struct rates *from)
{
    if (from->ms > to->ms)
        to->ms = from->ms;
    add_bounded(&to->cpu_us, from->cpu_us);
    add_bounded(&to->requests, from->requests);
    for (unsigned i = 0; i < SLOT_TIME_BUCKETS; i++)
        add_bounded(&to->durations[i], from->durations[i]);
}

double rates_requests_per_s(const struct rates *r)
{
    return r->ms > 0 ? (double)r->requests * 1000 / (double)r->ms : 0;
}

double rates_cpu_percent(const struct rates *r)
{
    return r->ms > 0 ? (double)r->cpu_us / 10 / (double)r->ms : 0;
}

double rates_percentile_ms(const struct rates *r, double part)
{
    double all = 0, below = 0;
    unsigned i = 0;

    for (unsigned j = 0; j < SLOT_TIME_BUCKETS; j++)
        all += (double)r->durations[j];
    if (all == 0)
        return -1;
    while (i < SLOT_TIME_BUCKETS - 1 && below + (double)r->durations[i] < all * part)
        below += (double)r->durations[i++];
    double from_us = i == 0 ? 0 : (double)((uint64_t)1 << (i - 1));
    double width_us = i == 0 ? 1 : from_us;
    double inside = r->durations[i] > 0 ? (all * part - below) / (double)r->durations[i] : 0;
    return (from_us + width_us * inside) / 1000;
}
