/* SPDX-License-Identifier: MIT
 *
 * workers/ is what the master does to worker processes, from the fork to the end: boots, orders,
 * health, retiring, crashes, reaping.
 *
 * procs - the lives of the worker processes: acts on what has been noted of each (proc.h) and on
 * deadlines that have passed. A step of the master's pass; what is to happen to which process is
 * plan.c's decision.
 */
#ifndef GCORN_MASTER_WORKERS_PROCS_H
#define GCORN_MASTER_WORKERS_PROCS_H

#include <stdbool.h>
#include <stdint.h>

#include "master/proc/phase.h"

struct master;
struct proc;

/* Listens to a process that is there: what it says, and what its application prints. */
void procs_watch(struct master *m, struct proc *p);

/* Acts on what all processes have said, and on what has become of them. */
void procs_act(struct master *m, uint64_t now);

/* The same of one, which has said its last. */
void procs_act_on(struct master *m, struct proc *p, uint64_t now);

/* Reads what workers that boot have said: a READY that is still in the pipe counts for a stop. */
void procs_read_booting(struct master *m);

/* Reads what all have said. */
void procs_read_all(struct master *m);

/* Ends each process that is past its deadline, or gives it another one. */
void procs_end_late(struct master *m, uint64_t now);

/* As the server stops: ends the workers that boot for no client; in a quick stop also those that
 * will not serve. As the reload is given up: ends the canary. */
void procs_kill_booting(struct master *m);
void procs_kill_canary(struct master *m);

/* Sends SIGABRT: its handler answers its clients, and ends it. event is why it comes to that. */
void procs_abort(struct master *m, struct proc *p, enum proc_event event);

/* Has it replaced, as it serves on meanwhile. */
void procs_recycle(struct master *m, struct proc *p, enum worker_end end, const char *why);

/* A pending process will never be forked, and why; was_killed: its template was killed from
 * outside, so another one is started at once. Its place is empty. */
void procs_pending_failed(struct master *m, struct proc *p, bool was_killed, const char *why);

/* Its place is empty. */
void procs_forget(struct master *m, struct proc *p);

#endif
