/* SPDX-License-Identifier: MIT
 *
 * call_pool - the class gthread: the loop's thread reads and writes, and calls of the application run
 * in a pool of threads.
 *
 * A connection whose request is to be run is handed to the pool, and handed back when the call is
 * over. In between it is STREAM_CALLING: the loop's thread keeps its hands off it, and the pool's
 * thread touches nothing but it and its request. So neither needs a lock for what it works on; the
 * two queues have one.
 */
#ifndef GCORN_WORKER_CALL_CALL_POOL_H
#define GCORN_WORKER_CALL_CALL_POOL_H

struct worker;

/* Starts as many threads as the settings say, 1 to SLOT_CALLS, and sets w->calls. Ends the process
 * when they cannot be started. */
void call_pool_open(struct worker *w);

#endif
