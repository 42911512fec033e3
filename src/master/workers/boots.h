/* SPDX-License-Identifier: MIT
 *
 * boots - starts workers, and handles those that do not become READY: the boot fails, the worker is
 * killed before, or its process cannot be forked at all. At the start of the server this ends the
 * program with the reason; a reload fails and changes nothing; any other worker is retried.
 *
 * A failed boot counts at once. A kill or a failed fork is not the application's fault and may be
 * temporary: it is retried, and counts only when boot_timeout is over.
 */
#ifndef GCORN_MASTER_WORKERS_BOOTS_H
#define GCORN_MASTER_WORKERS_BOOTS_H

#include <stdbool.h>
#include <stdint.h>

struct master;
struct proc;

/* The start, a reload or its next step waits for a worker from now on: boot_timeout for starting a
 * process is counted from here. */
void boots_begin(struct master *m);

/* Starts a worker. False: it could not be started; the reason is logged, and a retry is
 * scheduled. */
bool boots_start(struct master *m, unsigned number, unsigned generation);

/* Handles a worker whose boot has failed for the reason `why`. */
void boots_failed(struct master *m, struct proc *p, const char *why);

/* True: by its wait status the process was killed by another process, or by the kernel for want of
 * memory. */
bool boots_is_kill(int status);

/* Handles a worker that was killed so, itself or its template, before it was READY. */
void boots_killed(struct master *m, struct proc *p, const char *why);

/* Handles a worker that ended during its boot with this wait status, without reporting why. */
void boots_died(struct master *m, struct proc *p, int status);

/* A process could not be started for the reason `why`: logs it, and schedules a retry. */
void boots_not_started(struct master *m, const char *why);

/* When no process could be started for boot_timeout: fails the start or the reload that waits. */
void boots_give_up(struct master *m, uint64_t now);

#endif
