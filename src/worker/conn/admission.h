/* SPDX-License-Identifier: MIT
 *
 * admission - which connection gives way to a new one when a worker holds worker_connections of them, or
 * has no descriptor left. In this order:
 *
 *   1. one that lingers after its last answer, silent longest
 *   2. the one that is idle longest
 *   3. the oldest one whose request head is not complete
 *   4. of the eight oldest whose request body is not complete, the slowest; or one whose body is
 *      read as it comes, if it is slower, and its answer has not begun
 *
 *   5. in the admin process alone: the one whose client has taken nothing of its answer for longest
 *
 * Elsewhere a request that is complete never gives way. A client whose request has begun hears 408.
 * So a client that opens many connections and sends next to nothing on them cannot keep others out.
 */
#ifndef GCORN_WORKER_CONN_ADMISSION_H
#define GCORN_WORKER_CONN_ADMISSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;
struct worker;

enum {
    ADMISSION_AGE_MS = 20, /* a head or a body that has just begun does not give way */
    ADMISSION_BODIES = 8,
};

struct admission {
    struct stream *oldest, *newest; /* in STREAM_BODY, in the order in which their bodies began */
    uint64_t logged_ms;
    unsigned gave_way; /* unfinished requests, since that was last logged */
};

/* A body begins, or has ended (or its connection). */
void admission_body_begins(struct worker *w, struct stream *s);
void admission_body_ends(struct worker *w, struct stream *s);

/* Is there a connection that could give way, at once or when it is ADMISSION_AGE_MS old? */
bool admission_is_possible(struct worker *w);

/* Asks connections to give way until at most max_open are open; a few at a time. True when they
 * are. It reads each connection first: what completes a request by that is served. */
bool admission_make_room(struct worker *w, size_t max_open);

#endif
