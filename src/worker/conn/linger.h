/* SPDX-License-Identifier: MIT
 *
 * linger - how long a client is still read after its last answer (RFC 9112 9.6). A close with bytes
 * unread resets the connection and can destroy the answer on its way; a client that sends its whole
 * body before it reads, as most do, would see the reset instead of 413. So the rest of a refused
 * body is read and dropped, as long as it comes at the pace of a real upload.
 *
 * Plain state and numbers: no clock, no socket. Times are client time (timers.h).
 */
#ifndef GCORN_WORKER_CONN_LINGER_H
#define GCORN_WORKER_CONN_LINGER_H

#include <stddef.h>
#include <stdint.h>

#include "worker/loop/types.h"

enum {
    LINGER_MAX_MS = 30000,  /* in all */
    LINGER_GRACE_MS = 5000, /* from then on the bytes keep up with body_min_rate */
};

enum linger_next {
    LINGER_RENEW, /* the client has another LINGER_GAP_MS */
    LINGER_LAST,  /* the timer stays as it is: with more time LINGER_MAX_MS would pass */
    LINGER_WHOLE, /* the announced length has come: the client has LINGER_WHOLE_MS to close, or to
                     show that it pipelines, for which it would be reset */
    LINGER_OVER,  /* the client is too slow */
};

/* The answer is sent, and of what is announced, came bytes are read already. */
void linger_begin(struct lingering *l, uint64_t came, uint64_t now_ms);

/* The client has sent another len bytes, which are dropped. min_rate: bytes a second, 0: any. */
enum linger_next linger_note(struct lingering *l, size_t len, uint64_t min_rate, uint64_t now_ms);

#endif
