/* SPDX-License-Identifier: MIT
 *
 * fair - fair_close: which keep-alive connections a worker lets go.
 *
 * A connection is pinned to the worker that accepted it and waits behind that worker's calls while
 * siblings may be idle. When a worker that serves several connections has had a slow call lately,
 * or one of them has waited, its answers say Connection: close, so that the client's next request
 * goes through the kernel's queue, from which whoever is free takes it. A worker with one client
 * keeps it, however slow its calls: nobody waits for them. Plain state and numbers: no clock, no
 * socket.
 */
#ifndef GCORN_WORKER_CONN_FAIR_CLOSE_H
#define GCORN_WORKER_CONN_FAIR_CLOSE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAIR_SLOW_MS = 10,     /* a call, or a wait for calls of others, longer than this is slow */
    FAIR_MEMORY_MS = 4000, /* and is remembered so long, as is that connections share the worker */
};

struct shared_hints;

struct fair {
    bool enabled;
    uint64_t last_serial; /* of the connection served last */
    struct shared_hints *hints;
};

/* A call for the connection with this serial number (never reused, not 0) took took_ms. */
void fair_note_call(struct fair *f, uint64_t serial, uint64_t took_ms, uint64_t now_ms);

/* A connection's bytes lay unread for waited_ms. Waiting for its own call does not count. */
void fair_note_wait(struct fair *f, uint64_t serial, uint64_t waited_ms, uint64_t now_ms);

/* Should the answer that is about to leave say Connection: close? */
bool fair_lets_go(const struct fair *f, uint64_t now_ms);

#endif
