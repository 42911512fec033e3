/* SPDX-License-Identifier: MIT
 *
 * counts - a worker's requests, counted in its slot as they begin, are run and end.
 */
#ifndef GCORN_WORKER_LOOP_COUNTS_H
#define GCORN_WORKER_LOOP_COUNTS_H

#include <stdint.h>

#include "worker/loop/state.h"

/* A complete request is passed to the application, after waiting for queued_ns. */
void worker_note_run(struct worker *w, uint64_t queued_ns);

/* A request is complete, or is refused or cut before it is: it counts from now on. */
static inline void worker_note_begun(struct worker *w)
{
    w->slot->counts.begun++;
}

/* It has ended, whole or not: counts it, and adds its line to the access log. */
void worker_note_answer(struct worker *w, struct gcorn_environ *env, uint64_t duration_ns);

#endif
