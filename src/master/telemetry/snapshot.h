/* SPDX-License-Identifier: MIT
 *
 * snapshot - the state of the server at one moment, from the stats and the workers' slots: /readyz
 * decides by it and /metrics shows it. Slots are untrusted input: their values are copied, and
 * bounded when they are read.
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

enum { SNAPSHOT_METRICS = 4 * SLOT_METRICS };

struct snapshot_worker {
    unsigned number;
    pid_t pid;
    enum proc_phase phase;
    uint64_t ready_ms;
    unsigned calls_running;
    unsigned calls_limit;     /* how many it can run at once */
    uint64_t call_started_ms; /* 0: no call runs, or a thread is free for another */
    uint64_t loop_ms;         /* last heartbeat between calls, or SLOT_LOOP_OVER */
    uint64_t in_flight;
    uint64_t connections_open;
    uint64_t full_since_ms; /* since then it is full and can close none; 0: not full */
    uint64_t rss_bytes;     /* by snapshot_add_usage; 0: unknown, it has ended */
    uint64_t cpu_us;
};

struct snapshot {
    struct stats_facts *facts;
    struct snapshot_worker *workers; /* without the admin process */
    unsigned worker_count;
    struct slot_counts counts;   /* of all workers since the start */
    struct slot_metric *metrics; /* those of the current generation first */
    uint32_t metric_count;
};

/* Fills in *s. Returns 0: release it by snapshot_release; or -1: the master stopped while it wrote
 * the stats, and *s needs no release. */
int snapshot_take(struct snapshot *s, const struct stats *stats, struct scoreboard *scoreboard);
void snapshot_release(struct snapshot *s);

/* Adds each worker's memory and processor time. */
void snapshot_add_usage(struct snapshot *s);

/* True: at least `needed` workers can serve. A worker can when it is READY, has sent a heartbeat or
 * begun its call within the last fresh_ms, and has not been full for longer than that. Otherwise
 * appends a line for each reason to why. */
bool snapshot_is_ready(const struct snapshot *s, unsigned needed, uint64_t fresh_ms,
                       uint64_t now_ms, struct strbuf *why);

#endif
