/* SPDX-License-Identifier: MIT
 *
 * threads - the gthread worker class: the loop's thread reads and writes as ever, and calls of the
 * application run in a pool of threads beside it.
 *
 * A connection whose request is to be run is handed to the pool, and handed back when the call is
 * over. In between it is CONN_CALLING: the loop's thread keeps its hands off it, and the pool's
 * thread touches nothing but it and its request. So neither needs a lock for what it works on; the
 * two queues have one.
 *
 * In the sync class there is no pool, and none of this runs.
 */
#ifndef GCORN_WORKER_CALL_CALL_POOL_H
#define GCORN_WORKER_CALL_CALL_POOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct conn;
struct pool;
struct worker;

enum call_kind {
    CALL_HANDLER, /* the request's, and gcorn_on_pre_request before it */
    CALL_NEXT,    /* the next piece of its answer, where that is an iterator */
    CALL_END,     /* the request is over: close, deferred functions, gcorn_on_post_request */
};

/* Of each request. */
struct call {
    enum call_kind kind;
    unsigned thread;    /* which runs it, or ran the last one: its place in the slot's calls */
    int turned_away;    /* the status with which it is refused instead of being run; 0: it was */
    bool woken;         /* since it was handed over: next is to be called again (the loop's) */
    uint64_t handed_ns; /* to the pool */
    uint64_t taken_ns;  /* by a thread */
};

/* Starts the threads, 1 to SLOT_CALLS. They end the process when they cannot be. */
struct pool *pool_new(struct worker *w, unsigned count);

/* The connection's next call, of this kind, as soon as a thread is free. It is CONN_CALLING by now,
 * and handed back by conn_called. */
void pool_hand_over(struct pool *p, struct conn *c, enum call_kind kind);

/* Does every thread have something to do? */
bool pool_is_busy(const struct pool *p);

/* Waits until the calls that run are over, runs those of CALL_END, and ends the threads; the others
 * will not be run. p is gone. */
void pool_stop(struct pool *p);

/* Its threads, for a crash: all that runs in signal handlers. What one serves is NULL while it is
 * idle. */
unsigned pool_count(const struct pool *p);
pid_t pool_thread_id(const struct pool *p, unsigned i);
const struct conn *pool_serving(const struct pool *p, unsigned i);

#endif
