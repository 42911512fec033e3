/* SPDX-License-Identifier: MIT
 *
 * stack_log - the stacks of a worker in the error log, for a crash, a call or a boot that took too
 * long, or a call that is slow (slow_request). A helper takes them from outside while the worker
 * stands still.
 */
#ifndef GCORN_MASTER_POSTMORTEM_STACK_LOG_H
#define GCORN_MASTER_POSTMORTEM_STACK_LOG_H

#include <stdint.h>

#include "base/log.h"
#include "master/postmortem/helper.h"

struct generation;
struct proc;
struct procs;
struct slot_call;

/* All that are under way, or wait for a helper. */
struct stack_logs {
    struct helpers *helpers; /* both borrowed */
    struct procs *procs;
    struct stack_log *first;
    uint64_t last_serial;
};

/* Starts a helper that takes them; the rest is helper_start's. */
int stack_log_start_helper(struct stack_logs *logs, const struct proc *p, unsigned time_s,
                           helper_done *done, void *data);

/* Takes them and logs them at this level, as about the request of call (NULL: of none). Waits for
 * its turn while too many helpers run. */
void stack_log_begin(struct stack_logs *logs, const struct proc *p, const struct slot_call *call,
                     enum log_level level);

/* The same, and notes in p when they are in the log (noted.has_stacks), unless it has begun to wait
 * for others; when none can be taken the log says so, and that is noted at once. */
void stack_log_await(struct stack_logs *logs, struct proc *p, const struct slot_call *call,
                     enum log_level level);

/* The same of g's template, which is there. */
void stack_log_begin_template(struct stack_logs *logs, struct generation *g, enum log_level level);

/* Forgets all that are under way; their helpers must be gone. */
void stack_logs_release(struct stack_logs *logs);

#endif
