/* SPDX-License-Identifier: MIT
 *
 * stats - facts of the master in shared memory, for the admin process: the server's state, its
 * processes, its sockets' queues, and the counts of the workers that have ended.
 *
 * Only the master writes: it keeps the facts in private memory, copies them out and reads nothing
 * back. The admin process maps the copy read-only, so it can answer whatever the master or a worker
 * does; workers unmap it. It is a seqlock: the master makes the sequence odd before it writes, and
 * even again afterwards; a copy is consistent if the sequence was even and the same before and
 * after reading it.
 *
 *   master                                       admin process
 *   facts = stats_open(l);                      do {
 *   ... change *facts, stats_set_proc ...           if (!stats_begin(l, &sequence)) fail
 *   stats_close(l);                                 stats_copy_facts, stats_copy_proc ...
 *                                                } while (!stats_is_same(l, sequence));
 */
#ifndef GCORN_MASTER_TELEMETRY_STATS_H
#define GCORN_MASTER_TELEMETRY_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "master/proc/phase.h"
#include "system/ipc/scoreboard.h"

struct error;
struct stats;

enum server_state {
    SERVER_STARTING, /* no worker has been READY yet */
    SERVER_SERVING,
    SERVER_RELOADING, /* and serving */
    SERVER_DRAINING,  /* TERM came, and drain_delay runs */
    SERVER_STOPPING,
    SERVER_STATES,
};

enum { STATS_LISTENERS = 64, STATS_METRICS = 4 * SLOT_METRICS };

struct stats_listener {
    char name[128];
    uint32_t is_known; /* the kernel reports queued and limit */
    uint32_t queued;
    uint32_t limit;
};

/* A process. Its slot has the same place in the scoreboard. */
struct stats_proc {
    uint32_t phase; /* enum proc_phase */
    int32_t pid;
    uint32_t number;
    uint32_t generation;
    uint32_t is_admin;
    uint64_t started_ms;
    uint64_t ready_ms; /* 0: not READY yet */
};

struct stats_facts {
    uint32_t state; /* enum server_state */
    uint32_t generation;
    uint32_t workers_wanted;
    int64_t started_at; /* seconds since 1970, wall clock */
    char build_id[64];
    uint64_t ends[WORKER_ENDS];
    uint64_t reloads_done;
    uint64_t reloads_failed;
    uint32_t listener_count;
    struct stats_listener listeners[STATS_LISTENERS];

    /* Counts of the workers that have ended; with the slots' counts: of all since the start. */
    struct slot_counts gone;
    uint32_t metric_count;
    struct slot_metric metrics[STATS_METRICS];
};

/* Allocates stats for that many processes. Returns NULL with err on failure. */
struct stats *stats_new(unsigned places, struct error *err);

/* Unmaps it, in this process; NULL is allowed. */
void stats_free(struct stats *l);

/* True: no process can map it writable again. False on old kernels: see shared_new. */
bool stats_is_sealed(const struct stats *l);

/* In the admin process: maps it read-only from now on. Returns 0, or -1 with errno. */
int stats_make_read_only(struct stats *l);

/* ---- the master ---- */

/* Brackets a change of the facts, which must be brief and not nested. The facts are private memory
 * of the master; stats_close copies them out. */
struct stats_facts *stats_open(struct stats *l);
void stats_set_proc(struct stats *l, unsigned place, const struct stats_proc *proc);
void stats_close(struct stats *l);

/* Between stats_open and stats_close: a worker has ended. Adds its counts to `gone` and empties its
 * slot in one step, so that a sum over the stats and the slots neither falls nor counts anything
 * twice. Returns how many of the application's metrics found no room. */
unsigned stats_add_exited(struct stats *l, struct slot *slot);

/* The heartbeat of the master's event loop: call it once a second. */
void stats_beat(struct stats *l, uint64_t now_ms);

/* The master's own facts. */
const struct stats_facts *stats_facts(const struct stats *l);

/* ---- the admin process ---- */

/* Brackets reading; when stats_is_same returns false, read again. stats_begin waits while the
 * master writes, and returns false when the master must have stopped during that. */
bool stats_begin(const struct stats *l, uint64_t *sequence);
bool stats_is_same(const struct stats *l, uint64_t sequence);

/* Copy between the two. Counts and texts of the facts are in bounds, whatever the memory holds. */
void stats_copy_facts(const struct stats *l, struct stats_facts *facts);
void stats_copy_proc(const struct stats *l, unsigned place, struct stats_proc *proc);

/* The time of the master's last heartbeat. */
uint64_t stats_beat_ms(const struct stats *l);

/* Master and admin process: the number of places for processes. */
unsigned stats_places(const struct stats *l);

const char *server_state_name(enum server_state state);
const char *worker_end_name(enum worker_end end);

#endif
