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

#include "worker/loop/types.h"

struct gcorn_environ;
struct worker;

/* Of each worker. */
struct waker {
    struct stream *_Atomic woken; /* by any thread, the latest first */
    struct stream *due;           /* in order, behind those that have had their turn */
    struct ev_async turn;
    _Atomic uint64_t ticket_count;
};

void wake_init(struct worker *w);

/* The connection's answer waits from now on; it does no more. */
void wake_wait(struct stream *s);
void wake_stop(struct stream *s);

/* The request is over: its ticket names nothing any more. */
static inline void wake_forget(struct stream *s)
{
    if (atomic_load_explicit(&s->ticket, memory_order_relaxed) != 0)
        atomic_store_explicit(&s->ticket, 0, memory_order_relaxed);
    s->x->alarm = (struct alarm){0};
}

/* Every answer that waits: the worker begins to drain. */
void wake_all(struct worker *w);

/* gcorn_ticket, gcorn_wake and gcorn_wake_at of this process's worker (http/host.h). A request that
 * is no client's has no ticket (0). */
uint64_t wake_ticket(struct gcorn_environ *env);
void wake_request(uint64_t ticket);
void wake_set_alarm(struct gcorn_environ *env, uint64_t when);

#endif
