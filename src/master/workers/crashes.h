/* SPDX-License-Identifier: MIT
 *
 * crashes - workers that die of a signal or of exit(), from the first sign to the end. They answer
 * their clients themselves (worker/crash/crash.h), wait for their stacks to be taken, and then end,
 * unless a handler of their application takes the signal: such a worker is killed.
 */
#ifndef GCORN_MASTER_WORKERS_CRASHES_H
#define GCORN_MASTER_WORKERS_CRASHES_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct proc;

/* UP_DYING: its number may be filled while it answers its clients, unless it never served. */
void crash_begun(struct master *m, struct proc *p, uint64_t now);

/* UP_CRASHED: its clients are answered; reports it, and takes its stacks. */
void crash_answered(struct master *m, struct proc *p, uint64_t now);

/* Its stacks are taken: the signal ends it. */
void crash_release(struct proc *p, uint64_t now);

/* The report alone, once: of one that has died before its clients were answered. */
void crash_report(struct master *m, struct proc *p);

/* The deadline of a crashed worker has passed. True: it has a new one, because the kernel writes its
 * core, or its own last work is not done. */
bool crash_goes_on(struct master *m, struct proc *p, uint64_t now);

#endif
