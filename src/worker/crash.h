/* SPDX-License-Identifier: MIT
 *
 * crash - a worker's last moments: a fatal signal, or exit() called by the application.
 *
 * Clients are owed more than a reset. From the signal handler each connection gets what answers
 * before the crash left unsent, in order; then the request that crashed is answered 500 (504 when
 * the master ended it for its timeout), requests that were not run yet 503, all with Connection:
 * close. An answer that has begun is cut, by an orderly end where its framing shows that it is cut,
 * by a reset where it would look whole. Every socket is then read for a moment longer, because
 * closing it with bytes unread would destroy the answer on its way.
 *
 * In a pool of threads it is the request of the thread that crashed; what the other threads run
 * ends there, answered 503, for they share its memory. When the master ends a worker for a call
 * that takes too long, each call that does is answered 504.
 *
 * Then the worker stands still for the master to take its stacks, and the signal takes its course.
 * The heap may be broken: all of it works on the connections' own mapping and with system calls
 * alone. It acts in the worker itself, never in a child that the application forked.
 */
#ifndef GCORN_WORKER_CRASH_H
#define GCORN_WORKER_CRASH_H

#include <signal.h>

struct worker;

/* Catches fatal signals and exit() from now on. Handlers that the application has installed get the
 * signal afterwards. */
void crash_init(struct worker *w);

/* A further thread that calls the application: it can crash for want of stack, too. */
void crash_init_thread(void);

/* Takes the fatal signals out of a set of those to be blocked. */
void crash_spare_fatal(sigset_t *blocked);

/* exit() is ours from now on. */
void crash_expect_exit(void);

/* Dies of worker->held_signal, which came when worker->is_sending was true. Returns only if the
 * application's own handler of the signal does. */
void crash_take_held(void);

/* Once a second or so: has the application taken a handler away, or blocked a signal? Then crashes
 * would be silent, and the log says so. */
void crash_check(void);

#endif
