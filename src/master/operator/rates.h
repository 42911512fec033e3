/* SPDX-License-Identifier: MIT
 *
 * rates - requests and processor time of the workers by second, computed from samples, so that a
 * status need not wait to measure. The master samples each worker process about once a second and
 * keeps two samples: a rate covers the time since the older one, one to two seconds, or since the
 * process was started.
 */
#ifndef GCORN_MASTER_OPERATOR_RATES_H
#define GCORN_MASTER_OPERATOR_RATES_H

#include <stdint.h>
#include <sys/types.h>

#include "system/ipc/scoreboard.h"

struct plan;
struct worker_proc;

/* The totals of a process at one moment. */
struct sample {
    uint64_t at_ms;
    uint64_t cpu_us;
    uint64_t requests;
    uint64_t durations[SLOT_TIME_BUCKETS];
};

/* The samples of one place in the master's table of processes. */
struct sampled_proc {
    pid_t pid; /* of the process that was sampled; 0: none */
    struct sample last, previous;
};

struct samples {
    struct sampled_proc *procs; /* owned */
    uint64_t taken_ms;
};

/* The difference of two samples. */
struct rates {
    uint64_t ms;
    uint64_t cpu_us;
    uint64_t requests;
    uint64_t durations[SLOT_TIME_BUCKETS];
};

/* proc_count: the places of the plan that is sampled. */
void samples_init(struct samples *s, unsigned proc_count);
void samples_release(struct samples *s);

/* Samples all workers; does nothing when the last samples are less than a second old. */
void samples_take(struct samples *s, const struct plan *plan, struct scoreboard *scoreboard,
                  uint64_t now_ms);

/* Computes the rates of the process in this place of the plan, up to now. All but the CPU time
 * comes from its slot and is untrusted; no number is more than 2^53. */
void samples_measure(const struct samples *s, const struct plan *plan, unsigned place,
                     const struct slot *slot, uint64_t now_ms, struct rates *rates);

/* Adds the rates of another process; the time is the longer of the two. */
void rates_add(struct rates *to, const struct rates *from);

double rates_requests_per_s(const struct rates *r);
double rates_cpu_percent(const struct rates *r); /* of one core */

/* The percentile of the durations: `part` (0.5, 0.99) of the requests took at most that long. It is
 * interpolated within its bucket; negative without a request. */
double rates_percentile_ms(const struct rates *r, double part);

#endif
