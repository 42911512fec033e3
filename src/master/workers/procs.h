/* SPDX-License-Identifier: MIT
 *
 * workers/ is what the master does to worker processes, from the fork to the end: boots, orders,
 * health, retiring, crashes, reaping.
 *
 * procs - acts on the events noted of each worker process (proc.h) and on deadlines that have
 * passed. A step of the master's pass; plan.c decides what happens to which process.
 */
#ifndef GCORN_MASTER_WORKERS_PROCS_H
#define GCORN_MASTER_WORKERS_PROCS_H

#include <stdbool.h>
#include <stdint.h>

#include "master/proc/phase.h"

struct master;
struct proc;

/* Reads the messages of a process, and the output of its application, from now on. */
void procs_watch(struct master *m, struct proc *p);

/* Acts on the messages and events of all processes. */
void procs_act(struct master *m, uint64_t now);

/* The same for one process. */
void procs_act_on(struct master *m, struct proc *p, uint64_t now);

/* Reads the messages of workers that boot: at a stop, a READY still in the pipe counts. */
void procs_read_booting(struct master *m);

/* Reads the messages of all processes. */
void procs_read_all(struct master *m);

/* Ends each process that is past its deadline, or gives it another one. */
void procs_end_late(struct master *m, uint64_t now);

/* When the server stops: kills the workers that boot, if no client needs them; in a quick stop also
 * those whose boot has failed. When a reload is given up: kills the canary. */
void procs_kill_booting(struct master *m);
void procs_kill_canary(struct master *m);

/* Sends SIGABRT: the worker's handler answers its clients, and ends it. event is the reason. */
void procs_abort(struct master *m, struct proc *p, enum proc_event event);

/* Begins to replace the worker, which goes on serving meanwhile. */
void procs_recycle(struct master *m, struct proc *p, enum worker_end end, const char *why);

/* A pending process will not be forked, for the reason `why`. was_killed: its template was killed
 * by another process or the kernel, so another template is started at once. Empties the place. */
void procs_pending_failed(struct master *m, struct proc *p, bool was_killed, const char *why);

/* Empties the place of a process. */
void procs_forget(struct master *m, struct proc *p);

#endif
