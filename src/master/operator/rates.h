/* SPDX-License-Identifier: MIT
 *
 * samples - what the workers had done a moment ago, so that a status can tell rates without waiting
 * for them. The master takes one of each worker process about once a second and keeps two: the
 * rates are over the time since the older one, one to two seconds, or since the process began.
 */
#ifndef GCORN_MASTER_OPERATOR_RATES_H
#define GCORN_MASTER_OPERATOR_RATES_H

#include <stdint.h>
#include <sys/types.h>

#include "system/ipc/scoreboard.h"

struct plan;
struct worker_proc;

/* What a process had done by then. */
struct sample {
    uint64_t at_ms;
    uint64_t cpu_us;
    uint64_t requests;
    uint64_t durations[SLOT_TIME_BUCKETS];
};

/* The samples of one place in the master's table of processes. */
struct sampled_proc {
    pid_t pid; /* of whom they are; 0: of nobody */
    struct sample last, previous;
};

struct samples {
    struct sampled_proc *procs; /* owned */
    uint64_t taken_ms;
};

/* What was done in some time: the difference of two samples. */
struct rates {
    uint64_t ms;
    uint64_t cpu_us;
    uint64_t requests;
    uint64_t durations[SLOT_TIME_BUCKETS];
};

/* proc_count: the places of the plan that is sampled. */
void samples_init(struct samples *s, unsigned proc_count);
void samples_release(struct samples *s);

/* Samples everybody; does nothing when the last time was less than a second ago. */
void samples_take(struct samples *s, const struct plan *plan, struct scoreboard *scoreboard,
                  uint64_t now_ms);

/* What the process in this place of the plan has done lately, until this moment. It may lie about
 * all but its CPU time; no number is more than 2^53. */
void samples_measure(const struct samples *s, const struct plan *plan, unsigned place,
                     const struct slot *slot, uint64_t now_ms, struct rates *rates);

/* Adds up what several have done in the same time, the longest of theirs. */
void rates_add(struct rates *to, const struct rates *from);

double rates_requests_per_s(const struct rates *r);
double rates_cpu_percent(const struct rates *r); /* of one core */

/* How long at most the fastest part (0.5, 0.99) of the requests took, interpolated in its bucket;
 * negative when there was no request. */
double rates_percentile_ms(const struct rates *r, double part);

#endif
