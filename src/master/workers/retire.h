/* SPDX-License-Identifier: MIT
 *
 * retire - telling a worker process to finish, and knowing when it accepts no more connections.
 */
#ifndef GCORN_MASTER_WORKERS_RETIRE_H
#define GCORN_MASTER_WORKERS_RETIRE_H

#include <stdbool.h>

struct master;
struct proc;

/* Tells a worker to finish, in the way that the master's state asks for; its deadline starts. */
void proc_retire(struct master *m, struct proc *p);

/* Tells a retiring worker to wait for its idle connections no longer. */
void proc_hurry(struct proc *p);

/* True: a process of a generation older than `before`, the admin process included, may still accept
 * a connection, or this is not known yet. It becomes false only after a message or the end of a
 * process, or at a tick. */
bool procs_may_accept(const struct master *m, unsigned before);

#endif
