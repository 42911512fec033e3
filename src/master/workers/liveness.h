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

/* Begins to replace workers that use more than max_memory. */
void liveness_check_memory(struct master *m);

/* True: a worker with a hung call has other threads that can still finish calls for clients. When
 * no call hangs any more, it ends by itself. */
bool liveness_has_more_to_finish(const struct master *m, const struct proc *p);

/* True: a debugger, or a helper of the master, traces the process, which explains that it is late.
 * Logged once for each debugger. */
bool liveness_is_traced(struct master *m, struct proc *p);

#endif
