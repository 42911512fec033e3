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

#include "worker/loop/upward.h"

struct worker;

/* Catches fatal signals and exit() from now on: before the application is loaded. With
 * crash_handler off, exit() alone. */
void crash_init(struct worker *w);

/* The application is loaded, and has had its gcorn_on_worker_init: handlers that it has installed
 * get a signal after the server's. */
void crash_go_in_front(void);

/* exit() is ours from now on. */
void crash_expect_exit(void);

/* Once a second or so: has the application taken a handler away, or blocked a signal? Then crashes
 * would be silent, and the log says so. */
void crash_check(void);

#endif
