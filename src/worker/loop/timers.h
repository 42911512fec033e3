/* SPDX-License-Identifier: MIT
 *
 * timers - the deadlines of connections. All timers of one kind have one length, so each kind is a
 * list in the order of deadlines: setting and clearing one is a few pointers, and finding what is
 * late looks only at the heads. One libev timer serves them all (worker.c).
 *
 * Deadlines are in client time: monotonic milliseconds less those spent in application code, so
 * that no client is judged late for what the worker did.
 */
#ifndef GCORN_WORKER_LOOP_TIMERS_H
#define GCORN_WORKER_LOOP_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

/* How long a connection is read after its last answer (conn/linger.h). */
enum {
    LINGER_GAP_MS = 2000,  /* between two bytes: TIMER_LINGER */
    LINGER_WHOLE_MS = 200, /* after the announced length: TIMER_LINGER_WHOLE */
};

enum timer_kind {
    TIMER_HEADER,       /* a request head must be complete */
    TIMER_BODY,         /* the next bytes of a body must come */
    TIMER_WRITE,        /* the client must take bytes of its answer */
    TIMER_KEEPALIVE,    /* the next request must begin */
    TIMER_LINGER,       /* the client must close, or send more of a refused body */
    TIMER_LINGER_WHOLE, /* the same, when all of that body has come */
    TIMER_KINDS,
    TIMER_NONE = TIMER_KINDS,
};

struct timer {
    struct timer *prev, *next;
    uint64_t deadline_ms;
    enum timer_kind kind; /* TIMER_NONE: not set */
};

struct timers {
    uint64_t length_ms[TIMER_KINDS];
    struct timer heads[TIMER_KINDS]; /* each the anchor of a ring */
};

void timers_init(struct timers *t);
void timer_init(struct timer *timer);

/* Sets the timer, whether or not it was set before; clears it. */
void timer_set(struct timers *t, struct timer *timer, enum timer_kind kind, uint64_t now_ms);
void timer_clear(struct timer *timer);

/* The first timer of a kind, the one that was set first; NULL: none is set. */
struct timer *timers_first(struct timers *t, enum timer_kind kind);

/* The one of its kind that was set next; NULL: it is the last. */
struct timer *timers_after(struct timers *t, const struct timer *timer);

/* The first timer whose deadline has passed, which is still set; NULL: none has. */
struct timer *timers_late(struct timers *t, uint64_t now_ms);

/* The earliest deadline; UINT64_MAX when none is set. */
uint64_t timers_next_ms(struct timers *t);

/* Each piece of a body renews its timer; so that a byte now and then is not enough, all of it, len
 * bytes in took_ms, keeps up with min_rate bytes a second once grace_ms are over. 0: any rate. */
static inline bool timers_is_trickle(uint64_t len, uint64_t took_ms, uint64_t grace_ms,
                                     uint64_t min_rate)
{
    return min_rate > 0 && took_ms > grace_ms && took_ms - grace_ms > len * 1000 / min_rate;
}

#endif
