/* SPDX-License-Identifier: MIT
 *
 * liveness - finds workers that hang: a call that is too long, or an event loop that does not run;
 * and those that have grown too large. A step of the master's pass, once a tick.
 */
#ifndef GCORN_MASTER_WORKERS_LIVENESS_H
#define GCORN_MASTER_WORKERS_LIVENESS_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct proc;

/* Checks every process that serves or retires: logs its slow calls, and begins to end it when it
 * hangs. */
void liveness_check(struct master *m, uint64_t now);

/* Has workers replaced that have grown past max_memory. */
void liveness_check_memory(struct master *m);

/* Of a worker with a hung call: does it have threads that can still finish calls that clients wait
 * for? When none hangs any more, it ends by itself. */
bool liveness_has_more_to_finish(const struct master *m, const struct proc *p);

/* Does a debugger, or a helper of the master, hold it? Then it is late for a reason. The log says
 * so once a debugger. */
bool liveness_is_traced(struct master *m, struct proc *p);

#endif
