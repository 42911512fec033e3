/* SPDX-License-Identifier: MIT
 *
 * fair_close - which keep-alive connections a worker closes after their answer.
 *
 * A connection is pinned to the worker that accepted it and waits for that worker's calls while
 * siblings may be idle. When a worker that serves several connections has had a slow call lately,
 * or one of them has waited, its answers say Connection: close, so that the client's next request
 * goes through the kernel's queue, from which a worker that is free takes it. A worker with one client
 * keeps it, however slow its calls: no other client waits for them. Plain state and numbers: no clock, no
 * socket.
 */
#ifndef GCORN_WORKER_CONN_FAIR_CLOSE_H
#define GCORN_WORKER_CONN_FAIR_CLOSE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    FAIR_CLOSE_SLOW_MS = 10, /* a call, or a wait for calls of others, longer than this is slow */
    FAIR_CLOSE_MEMORY_MS = 4000, /* how long that is remembered, and that connections share it */
};

struct shared_hints;

struct fair_close {
    bool enabled;
    uint64_t last_serial; /* of the connection served last */
    struct shared_hints *hints;
};

/* A call for the connection with this serial number (never reused, not 0) took took_ms. */
void fair_close_note_call(struct fair_close *f, uint64_t serial, uint64_t took_ms, uint64_t now_ms);

/* A connection's bytes lay unread for waited_ms. Waiting for its own call does not count. */
void fair_close_note_wait(struct fair_close *f, uint64_t serial, uint64_t waited_ms,
                          uint64_t now_ms);

/* Should the answer that is about to leave say Connection: close? */
bool fair_close_is_due(const struct fair_close *f, uint64_t now_ms);

#endif
