/* SPDX-License-Identifier: MIT
 *
 * crash - a worker's last moments: a fatal signal, or exit() called by the application.
 *
 * From the signal handler every client is answered (farewell.h). Then the worker stands still for
 * the master to take its stacks, its access log is written, and the signal takes its course. The
 * heap may be broken, or locked: none of it calls malloc, and only the access log reads it. It acts
 * in the worker itself, never in a child that the application forked.
 */
#ifndef GCORN_WORKER_CRASH_CRASH_H
#define GCORN_WORKER_CRASH_CRASH_H

#include <signal.h>

struct worker;

/* Catches fatal signals and exit() from now on: before the application is loaded. With
 * crash_handler off, exit() alone. */
void crash_init(struct worker *w);

/* The application is loaded, and has had its gcorn_on_worker_init: handlers that it has installed
 * get a signal after the server's. */
void crash_go_in_front(void);

/* Ends a worker that has been reported as crashed, and whose application has recovered: by
 * siglongjmp in a handler of its own, say. Its clients have had their answers, and its place is
 * filled. To be called whenever the application returns. */
void crash_end_recovered(void);

/* A further thread that calls the application: it can crash for want of stack, too. */
void crash_init_thread(void);

/* Takes the fatal signals out of a set of those to be blocked. */
void crash_spare_fatal(sigset_t *blocked);

/* exit() is ours from now on. */
void crash_expect_exit(void);

/* The loop's thread, with a pool, between what it does and the next: when another thread is dying,
 * it does not return. */
void crash_rest(void);

/* Dies of worker->held_signal, which came when worker->is_sending was true. Returns only if the
 * application's own handler of the signal does. */
void crash_take_held(void);

/* Once a second or so: has the application taken a handler away, or blocked a signal? Then crashes
 * would be silent, and the log says so. */
void crash_check(void);

#endif
