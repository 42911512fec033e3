/* SPDX-License-Identifier: MIT
 *
 * snapshot - the server at one moment, out of the stats and the workers' slots: what /readyz
 * judges and /metrics shows. Slots are untrusted; what a worker says is copied, and bounded where
 * it is read.
 */
#ifndef GCORN_MASTER_TELEMETRY_SNAPSHOT_H
#define GCORN_MASTER_TELEMETRY_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/telemetry/stats.h"
#include "master/proc/plan.h"
#include "system/ipc/scoreboard.h"

struct strbuf;

enum { SNAPSHOT_METRICS = 1024 };

struct snapshot_worker {
    unsigned number;
    pid_t pid;
    enum proc_phase phase;
    uint64_t ready_ms;
    unsigned calls_running;
    unsigned calls_limit;     /* how many it runs at once, at most */
    uint64_t call_started_ms; /* 0: no call runs, or there are threads free for another */
    uint64_t loop_ms;         /* last sign of life between calls, or SLOT_LOOP_OVER */
    uint64_t in_flight;
    uint64_t connections_open;
    uint64_t full_since_ms; /* it holds worker_connections that it cannot end; 0: not so */
    uint64_t rss_bytes;     /* by snapshot_add_usage; 0: unknown, it has gone */
    uint64_t cpu_us;
};

struct snapshot {
    struct stats_facts *facts;
    struct snapshot_worker *workers; /* without the admin process */
    unsigned worker_count;
    struct slot_counts counts;   /* of all workers that there ever were */
    struct slot_metric *metrics; /* those of the current generation first */
    uint32_t metric_count;
};

/* 0: *s is whole, for snapshot_release. -1: the master has stopped amid its bookkeeping; nothing to
 * release. */
int snapshot_take(struct snapshot *s, const struct stats *stats, struct scoreboard *scoreboard);
void snapshot_release(struct snapshot *s);

/* What the workers use of the machine. */
void snapshot_add_usage(struct snapshot *s);

/* Can the server serve? A worker can when it is READY, gave a sign of life within fresh_ms, or has
 * been in its call for no longer, and has not been full for longer. A line for each reason against
 * it is added to why. */
bool snapshot_is_ready(const struct snapshot *s, unsigned needed, uint64_t fresh_ms,
                       uint64_t now_ms, struct strbuf *why);

#endif
