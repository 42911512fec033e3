/* SPDX-License-Identifier: MIT
 *
 * worker - a process that serves connections: one libev loop around synchronous calls of the
 * application. It reads and writes as clients allow and calls only when a request is complete, so
 * no slow client ever holds it; what holds it is a call, and nothing but a call.
 */
#ifndef GCORN_WORKER_WORKER_H
#define GCORN_WORKER_WORKER_H

#include <stdbool.h>

#include "worker/call/call.h"
#include "worker/loop/clock.h"
#include "worker/loop/counts.h"
#include "worker/loop/pools.h"
#include "worker/loop/run_queue.h"
#include "worker/loop/state.h"

/* Where long request bodies are kept: the setting, $TMPDIR or /tmp. Borrowed. */
const char *worker_upload_dir(const struct config *cfg);

/* Never returns. The process is the master's child, fresh from fork, signals blocked. */
void worker_run(const struct worker_args *args) __attribute__((noreturn));

/* Makes this process what a worker is to the system: user, signals, environment. 0, or -1 with
 * err: then it must exit. */
int worker_prepare(const struct worker_args *args, struct error *err);

/* For workers that are forked later, with app in their args.preloaded: loads the application, after
 * worker_prepare. Of args it takes what is the same for all of them. 0, or -1 with err: then it
 * must exit. */
int worker_preload(const struct worker_args *args, struct app *app, struct error *err);

/* A worker in the process of whoever asks, with no sockets, no master and no signals of its own:
 * what takes an environ and calls the application works. NULL when there is no event loop. For
 * replay.c; once in a process. */
struct worker *worker_new_alone(const struct worker_args *args);

/* Ends the process, whatever is under way. */
void worker_leave(struct worker *w) __attribute__((noreturn));

/* Nothing is left to do, nor to come. */
bool worker_is_drained(const struct worker *w);

#endif
