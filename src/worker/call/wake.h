/* SPDX-License-Identifier: MIT
 *
 * wake - answers that wait: the application had nothing to send and said GCORN_AGAIN. Tickets name
 * them for whoever wakes them, from any thread, and an alarm does it at a time.
 *
 * A ticket is a connection's place in the table and a number that is never used again. The table
 * never moves and is never unmapped, so a late wake finds at worst another request there, whose
 * next is then called for no reason.
 */
#ifndef GCORN_WORKER_CALL_WAKE_H
#define GCORN_WORKER_CALL_WAKE_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct conn;
struct gcorn_environ;
struct worker;

/* Of each connection. A connection may be freed and taken anew while it is on its way to being
 * woken, so nothing resets is_due and next. */
struct waiter {
    _Atomic uint64_t ticket; /* of its request; 0: nobody has asked for one */
    _Atomic bool is_due;     /* has been woken, and had no turn since */
    struct conn *next;       /* of those that are due */
};

/* Of each request. */
struct alarm {
    uint64_t at_ms;         /* gcorn_now()'s clock; 0: it is not set */
    struct ev_timer *timer; /* in the request's arena; NULL: never needed yet */
};

/* Of each worker. */
struct waker {
    struct conn *_Atomic woken; /* by any thread, the latest first */
    struct conn *due;           /* in order, behind those that have had their turn */
    struct ev_async turn;
    _Atomic uint64_t ticket_count;
};

void wake_init(struct worker *w);

/* The connection's answer waits from now on; it does no more. */
void wake_wait(struct conn *c);
void wake_stop(struct conn *c);

/* The request is over: its ticket names nothing any more. */
static inline void wake_forget(struct waiter *waiter, struct alarm *alarm)
{
    if (atomic_load_explicit(&waiter->ticket, memory_order_relaxed) != 0)
        atomic_store_explicit(&waiter->ticket, 0, memory_order_relaxed);
    alarm->at_ms = 0;
    alarm->timer = NULL;
}

/* Every answer that waits: the worker begins to drain. */
void wake_all(struct worker *w);

/* gcorn_ticket, gcorn_wake and gcorn_wake_at of this process's worker (http/host.h). A request that
 * is no client's has no ticket (0). */
uint64_t wake_ticket(struct gcorn_environ *env);
void wake_request(uint64_t ticket);
void wake_set_alarm(struct gcorn_environ *env, uint64_t when);

#endif
