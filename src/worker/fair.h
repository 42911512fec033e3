/* SPDX-License-Identifier: MIT
 *
 * fair - fair_close: which keep-alive connections a worker lets go.
 *
 * A connection is pinned to the worker that accepted it and waits behind that worker's calls while
 * siblings may be idle. When connections have waited lately, answers say Connection: close, so that
 * the client's next request goes through the kernel's queue, from which whoever is free takes it.
 * After a while connections are kept again; if that soon makes one wait, the next while is longer.
 * Where calls are slow but nobody waits for them (as many workers as clients), all connections
 * stay. Plain state and numbers: no clock, no socket.
 */
#ifndef GCORN_WORKER_FAIR_H
#define GCORN_WORKER_FAIR_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAIR_WAIT_MS = 10,     /* a wait longer than this counts */
    FAIR_MEMORY_MS = 4000, /* and is remembered so long */
    FAIR_MEMORY_MAX_MS =
        64000, /* at most, when keeping connections again and again made some wait */
};

struct fair {
    bool enabled;
    uint64_t until_ms;  /* connections are let go until then */
    uint64_t memory_ms; /* how long the last wait is remembered */
};

/* A connection's bytes lay unread for waited_ms, because calls of others ran. */
void fair_note_wait(struct fair *f, uint64_t waited_ms, uint64_t now_ms);

/* Should the answer that is about to leave say Connection: close? */
bool fair_lets_go(const struct fair *f, uint64_t now_ms);

#endif
