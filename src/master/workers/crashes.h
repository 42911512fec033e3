/* SPDX-License-Identifier: MIT
 *
 * crashes - workers that die of a signal or of exit(), from their first message about it to their
 * end. A worker answers its clients itself (worker/crash/crash.h), waits until its stacks are
 * taken, and then ends. If a signal handler of its application prevents that, the master kills it.
 */
#ifndef GCORN_MASTER_WORKERS_CRASHES_H
#define GCORN_MASTER_WORKERS_CRASHES_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct proc;

/* UP_DYING: the worker may be replaced while it answers its clients, unless it never served. */
void crash_begun(struct master *m, struct proc *p, uint64_t now);

/* UP_CRASHED: the worker has answered its clients; logs the crash, and takes its stacks. */
void crash_answered(struct master *m, struct proc *p, uint64_t now);

/* The stacks are taken: lets the signal end the worker. */
void crash_release(struct proc *p, uint64_t now);

/* Only logs the crash, once: for a worker that ended before its clients were answered. */
void crash_report(struct master *m, struct proc *p);

/* The deadline of a crashed worker has passed. True: it gets a new one, because the kernel writes
 * its core dump, or it still answers clients. */
bool crash_goes_on(struct master *m, struct proc *p, uint64_t now);

#endif
