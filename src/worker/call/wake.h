/* SPDX-License-Identifier: MIT
 *
 * wake - answers that wait because the application has returned GCORN_AGAIN. Any thread may wake
 * one by its ticket, and an alarm wakes one at a time.
 *
 * A ticket is a connection's place in the table and a number that is never used again. The table
 * never moves and is never unmapped, so a late wake can at worst find another request there, whose
 * next is then called without need.
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

/* The answer waits from now on: sets its alarm. It does not wait any more: stops it. */
void wake_wait(struct stream *s);
void wake_stop(struct stream *s);

/* The request is over: its ticket is invalid from now on. */
static inline void wake_forget(struct stream *s)
{
    if (atomic_load_explicit(&s->ticket, memory_order_relaxed) != 0)
        atomic_store_explicit(&s->ticket, 0, memory_order_relaxed);
    s->x->alarm = (struct alarm){0};
}

/* Wakes every answer that waits, so that streams end: the worker begins to drain. */
void wake_all(struct worker *w);

/* gcorn_ticket, gcorn_wake and gcorn_wake_at of this process's worker (http/host.h). A request that
 * is no client's has no ticket (0). */
uint64_t wake_ticket(struct gcorn_environ *env);
void wake_request(uint64_t ticket);
void wake_set_alarm(struct gcorn_environ *env, uint64_t when);

#endif
