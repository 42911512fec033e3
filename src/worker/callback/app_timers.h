/* SPDX-License-Identifier: MIT
 *
 * app_timers - timers of the application (gcorn_timer_once and gcorn_timer_every), on the loop's
 * thread.
 *
 * A handle is a number in the shape of a pointer: the index in a table, and above it a count that
 * grows with each timer. So stopping a timer that is over does nothing, although its memory is
 * free.
 */
#ifndef GCORN_WORKER_CALLBACK_APP_TIMERS_H
#define GCORN_WORKER_CALLBACK_APP_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

#include "gcorn.h"

/* gcorn_timer_once, gcorn_timer_every (repeats) and gcorn_timer_stop of this process's worker
 * (http/host.h). */
struct gcorn_timer *app_timer_start(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg);
void app_timer_stop(struct gcorn_timer *timer);

#endif
