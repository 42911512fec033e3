/* SPDX-License-Identifier: MIT
 *
 * worker/ is the process that serves clients. From the bottom up: wire/ carries bytes, loop/ has the
 * clock, the queues and what connections borrow, call/ and callback/ call the application, conn/ and accept/ have
 * the connections, crash/ the end of a worker that dies; the files of this folder boot it, run it and
 * take the master's commands.
 *
 * worker - the life of a worker: one libev loop around calls of the application. It reads and writes
 * as clients allow and calls only when a request is complete, so a slow client never blocks it: only
 * a call can.
 */
#ifndef GCORN_WORKER_WORKER_H
#define GCORN_WORKER_WORKER_H

#include <stdbool.h>

#include "worker/loop/state.h"
#include "worker/loop/upward.h"

/* Where long request bodies are kept: the setting, $TMPDIR or /tmp. Borrowed. */
const char *worker_upload_dir(const struct config *cfg);

/* Boots and serves until the worker is to leave; never returns. The process is a child that the
 * master has just forked, with signals blocked. */
void worker_run(const struct worker_args *args) __attribute__((noreturn));

/* Takes the user, signals and environment of a worker. Returns 0, or -1 with err: then the process
 * must exit. */
int worker_prepare(const struct worker_args *args, struct error *err);

/* In a template, after worker_prepare: loads the application for workers that are forked later with
 * app in their args.preloaded. Uses only those of args that all of them share. Returns 0, or -1 with
 * err: then the process must exit. */
int worker_preload(const struct worker_args *args, struct app *app, struct error *err);

/* Calls gcorn_on_fork, if it is defined. Ends a child of the application that returns from it. */
void worker_call_on_fork(const struct app *app, enum gcorn_fork when);

/* Makes a worker without sockets, master and signals in the calling process: environs and calls of
 * the application work. NULL when no event loop can be made. For --replay; once in a process. */
struct worker *worker_new_alone(const struct worker_args *args);

/* Ends the application's threads, and runs the last posts. The loop must have ended. False: a thread
 * has not ended in time (leave_by_ms); it is logged. */
bool worker_end_threads(struct worker *w);

/* Ends the process: calls that run are waited for, answers that are under way are cut. */
void worker_leave(struct worker *w) __attribute__((noreturn));

#endif
