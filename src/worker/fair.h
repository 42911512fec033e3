/* SPDX-License-Identifier: MIT
 *
 * fair - fair_close: which keep-alive connections a worker lets go.
 *
 * A connection is pinned to the worker that accepted it and waits behind that worker's calls while
 * siblings may be idle. When calls have been slow lately, answers say Connection: close, so that
 * the client's next request goes through the kernel's queue, from which whoever is free takes it.
 * Plain state and numbers: no clock, no socket.
 */
#ifndef GCORN_WORKER_FAIR_H
#define GCORN_WORKER_FAIR_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAIR_SLOW_MS = 10,     /* a call, or a wait behind calls, longer than this is slow */
    FAIR_MEMORY_MS = 2000, /* how long one slow call is remembered */
};

struct fair {
    bool enabled;
    uint64_t slow_until_ms; /* slow lately until then */
};

/* A call took took_ms, or a connection waited that long to be read. */
void fair_note(struct fair *f, uint64_t took_ms, uint64_t now_ms);

/* Should the answer that is about to leave say Connection: close? others: how many connections
 * besides its own the worker holds. */
bool fair_lets_go(const struct fair *f, uint64_t now_ms);

#endif
