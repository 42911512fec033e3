/* SPDX-License-Identifier: MIT
 *
 * posts - functions that any thread hands to the loop (gcorn_post), in a lock-free list that the
 * loop takes as a whole: a thread that crashes or is slow holds no lock.
 */
#ifndef GCORN_WORKER_CALLBACK_POSTS_H
#define GCORN_WORKER_CALLBACK_POSTS_H

#include <stdint.h>

#include "gcorn.h"

struct worker;

/* Takes posts from now on; the loop runs them. */
void posts_init(struct worker *w);

/* Has the loop look soon, without a post. Any thread; async-signal-safe. */
void posts_wake(struct worker *w);

/* The loop has ended: runs what is there. What comes meanwhile waits: a post may post itself again,
 * for ever. */
void posts_run(struct worker *w);

/* The loop has ended: runs what is there, and until until_ms also what comes meanwhile. Refuses
 * further posts (ESHUTDOWN); those that it has not refused are run. */
void posts_close(struct worker *w, uint64_t until_ms);

/* gcorn_post of this process's worker (http/host.h). */
int post_to_loop(gcorn_call_fn *fn, void *arg);

#endif
