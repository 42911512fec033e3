/* SPDX-License-Identifier: MIT
 *
 * stack_log - the stacks of a worker in the error log, for a crash, a call or a boot that took too
 * long, or a call that is slow (slow_request). A helper takes them from outside while the worker
 * stands still.
 */
#ifndef GCORN_MASTER_POSTMORTEM_STACK_LOG_H
#define GCORN_MASTER_POSTMORTEM_STACK_LOG_H

#include "base/log.h"
#include "master/postmortem/helper.h"

struct generation;
struct master;
struct slot_call;
struct worker_proc;

/* Starts a helper that takes them; the rest is helper_start's. */
int stack_log_start_helper(struct master *m, const struct worker_proc *w, unsigned time_s,
                           helper_done *done, void *data);

/* Takes them and logs them at this level, as about the request of call (NULL: of none); then calls
 * `then` (NULL: nothing), if the worker still lives. Waits for its turn while too many helpers run;
 * when none can be started the log says so, and `then` is called at once. */
void stack_log_begin(struct master *m, struct worker_proc *w, const struct slot_call *call,
                     enum log_level level, void (*then)(struct master *m, struct worker_proc *w));

/* The same of g's template, which is there. */
void stack_log_begin_template(struct master *m, struct generation *g, enum log_level level,
                              void (*then)(struct master *m, struct generation *g));

/* Forgets all that are under way; their helpers must be gone. */
void stack_log_release(struct master *m);

#endif
