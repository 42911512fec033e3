/* SPDX-License-Identifier: MIT
 *
 * posts - functions that any thread hands to the loop (gcorn_post), in a lock-free list that the
 * loop takes as a whole: a thread that crashes or is slow holds no lock.
 */
#ifndef GCORN_WORKER_CALLBACK_POSTS_H
#define GCORN_WORKER_CALLBACK_POSTS_H

#include "gcorn.h"

struct worker;

/* Takes posts from now on; the loop runs them. */
void posts_init(struct worker *w);

/* Has the loop look soon, without a post. Any thread; async-signal-safe. */
void posts_wake(struct worker *w);

/* The loop has ended: runs what is there, also what comes meanwhile. */
void posts_run(struct worker *w);

/* The same, and refuses further posts (ESHUTDOWN). */
void posts_close(struct worker *w);

/* gcorn_post of this process's worker (http/host.h). */
int post_to_loop(gcorn_call_fn *fn, void *arg);

#endif
