/* SPDX-License-Identifier: MIT
 *
 * stack_log - the stacks of a worker in the error log: after a crash, for a call or a boot that
 * took too long, or for a slow call (slow_request). A helper process takes them with ptrace(2)
 * while the worker is stopped.
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

/* All stacks that are being taken, or wait for a helper. */
struct stack_logs {
    struct helpers *helpers; /* both borrowed */
    struct procs *procs;
    struct stack_log *first;
    uint64_t last_serial;
};

/* Starts a helper that takes the stacks of p. Errors as of helper_start. */
int stack_log_start_helper(struct stack_logs *logs, const struct proc *p, unsigned time_s,
                           helper_done *done, void *data);

/* Takes the stacks of p and logs them at this level, with the id of call's request (NULL: without
 * one). While too many helpers run, it is queued. */
void stack_log_begin(struct stack_logs *logs, const struct proc *p, const struct slot_call *call,
                     enum log_level level);

/* The same, and sets noted.has_stacks of p when they are in the log, unless p waits for newer ones
 * by then. When no stacks can be taken the log says so, and the flag is set at once. */
void stack_log_await(struct stack_logs *logs, struct proc *p, const struct slot_call *call,
                     enum log_level level);

/* Takes and logs the stacks of g's template, which exists. */
void stack_log_begin_template(struct stack_logs *logs, struct generation *g, enum log_level level);

/* Forgets all stacks that are being taken; the helpers must be closed already. */
void stack_logs_release(struct stack_logs *logs);

#endif
