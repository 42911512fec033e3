/* SPDX-License-Identifier: MIT
 *
 * boots - starting workers, and what follows when one does not come to serve: its boot fails, it is
 * killed before it is READY, or its process cannot be started at all. The first start ends the
 * program with the reason; a reload fails and changes nothing; any other worker is tried again.
 *
 * A boot that fails counts at once. A kill, and a fork that fails, say nothing of the application
 * and may pass: they are tried again, and count only when boot_timeout is over.
 */
#ifndef GCORN_MASTER_WORKERS_BOOTS_H
#define GCORN_MASTER_WORKERS_BOOTS_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct proc;

/* Something waits for a worker from now on, the start, a reload or the next step of one: how long
 * starting a process may fail is counted from here. */
void boots_begin(struct master *m);

/* Starts a worker. False when it could not be: the log says why, and a time is set to try again. */
bool boots_start(struct master *m, unsigned number, unsigned generation);

/* The worker cannot boot, because of why. */
void boots_failed(struct master *m, struct proc *p, const char *why);

/* Does a wait status say that the process was killed from outside: by a person, or by the kernel
 * for want of memory? */
bool boots_is_kill(int status);

/* So it was with this worker (or its template) before it was READY; why says so. */
void boots_killed(struct master *m, struct proc *p, const char *why);

/* The worker has ended while it booted, with this wait status, and has not said why. */
void boots_died(struct master *m, struct proc *p, int status);

/* A process could not be started, because of why: logs it, and sets the time of the next try. */
void boots_not_started(struct master *m, const char *why);

/* When processes could not be started for boot_timeout: ends what waits for one. */
void boots_give_up(struct master *m, uint64_t now);

#endif
