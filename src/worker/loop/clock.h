/* SPDX-License-Identifier: MIT
 *
 * clock - what time it is in a worker, how long the current pass of the loop has taken, and the
 * timers of connections. The clock is read at the start of each callback and after each call of the
 * application, never more often.
 */
#ifndef GCORN_WORKER_LOOP_CLOCK_H
#define GCORN_WORKER_LOOP_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/loop/state.h"

/* Prepares w's timers and the watcher that notes the beginning of a pass. */
void clock_init(struct worker *w);

/* Takes the time: at the start of every callback. */
void worker_look_at_clock(struct worker *w);

/* The longest that a connection which is read now can have waited for calls to end. */
uint64_t worker_waited_ns(const struct worker *w);

/* Milliseconds of client time (timers.h). */
static inline uint64_t worker_client_ms(const struct worker *w)
{
    return (w->now_ns - w->calls_ns) / 1000000;
}

/* True: this pass of the loop has spent enough time in calls; other events should get their
 * turn. */
bool worker_pass_is_long(const struct worker *w);

/* Sets the connection's timer, and sees to it that the sweep comes in time. */
void worker_set_timer(struct worker *w, struct conn *c, enum timer_kind kind);

#endif
