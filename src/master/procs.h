/* SPDX-License-Identifier: MIT
 *
 * procs - the master's dealings with its worker processes. What is to happen to which is plan.c's
 * decision; here it is done.
 */
#ifndef GCORN_MASTER_PROCS_H
#define GCORN_MASTER_PROCS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "system/ipc/channel.h"

struct master;
struct worker_proc;

/* Sends an order that carries no descriptor. False: the channel did not take it. */
bool proc_order(const struct worker_proc *w, enum down_type type, uint64_t idle_ms);

/* Reads what a worker has to say. */
void proc_hear(struct master *m, struct worker_proc *w);

/* Listens to a process that is there: what it says, and what its application prints. output_fd: of
 * one that another program has started (output_adopt); -1: none, or w has it. */
void proc_watch(struct master *m, struct worker_proc *w, int output_fd);

/* One that is not born yet (preload.h) never will be, and why: it is forgotten. */
void proc_pending_failed(struct master *m, struct worker_proc *w, const char *why);

/* The same where its template was killed from outside: another one is started at once. */
void proc_pending_killed(struct master *m, struct worker_proc *w, const char *why);

/* It has died by itself, or is about to: for how soon its number is tried again. */
void proc_note_death(struct master *m, const struct worker_proc *w);

/* Its process is gone, or never was: its place is empty. */
void proc_forget(struct master *m, struct worker_proc *w);

/* Reaps children that have ended, as many as a pass of the loop may take, and deals with those that
 * were workers. */
void procs_reap(struct master *m);

/* Ends who is past a deadline; who is silent, or in a call for too long; who boots for nothing, as
 * the server stops or as the reload is given up. */
void procs_kill_late(struct master *m, uint64_t now);
void procs_judge(struct master *m, uint64_t now);
void procs_kill_booting(struct master *m);

/* Reads what the booting workers have said: one whose READY is still in its pipe serves clients. */
void procs_hear_booting(struct master *m);
void procs_kill_canary(struct master *m);

/* Has those replaced that have grown past max_memory. */
void procs_weigh(struct master *m);

/* The worker with this pid; NULL when there is none. */
struct worker_proc *proc_find(struct master *m, pid_t pid);

#endif
