/* SPDX-License-Identifier: MIT
 *
 * crash/ is the end of a worker by a fault: the signal handler (crash), the answers that clients
 * still get (farewell), the file of the request (crash_file).
 *
 * crash - the end of a worker by a fatal signal, or by exit() called by the application. The signal
 * handler answers every client, waits while the master takes the stacks of the worker, writes the
 * access log, and lets the signal take its course. The heap may be broken, or locked: the handler
 * does not call malloc, and only the access log reads the heap. It acts in the worker itself, never
 * in a child that the application forked.
 */
#ifndef GCORN_WORKER_CRASH_CRASH_H
#define GCORN_WORKER_CRASH_CRASH_H

#include <signal.h>

#include "worker/loop/upward.h"

struct worker;

/* Catches fatal signals and exit() from now on: before the application is loaded. With
 * crash_handler off, exit() alone. */
void crash_init(struct worker *w);

/* After the application was loaded and gcorn_on_worker_init has run: handlers that it has installed
 * get a signal after the server's. */
void crash_go_in_front(void);

/* From now on exit() is the server's own. */
void crash_expect_exit(void);

/* To be called about once a second: has the application replaced a handler, or blocked a signal? Then
 * a crash would end the worker without an answer, and the log says so. */
void crash_check(void);

#endif
