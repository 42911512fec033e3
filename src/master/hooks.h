/* SPDX-License-Identifier: MIT
 *
 * hooks - commands that the settings name for events of the master: on_starting, when_ready and so
 * on. The shell runs the command, with the event's facts in GCORN_HOOK_* variables, as the master's
 * user, in the master's directory and with the umask that the master was started with. The master
 * does not wait for it, so it can neither block nor break the server; a failure is logged.
 */
#ifndef GCORN_MASTER_HOOKS_H
#define GCORN_MASTER_HOOKS_H

#include <stdbool.h>
#include <sys/types.h>

struct error;

enum { HOOKS_MAX = 16, HOOK_FACTS_MAX = 4 };

/* The prefix of each fact's name. No variable of a setting (GCORN_<KEY>) has it, and a command
 * inherits no variable that has it. */
#define HOOK_VARIABLE "GCORN_HOOK_"

struct hook {
    pid_t pid; /* 0: free */
    const char *event;
};

/* The commands that run. */
struct hooks {
    struct hook list[HOOKS_MAX];
    mode_t umask;
};

/* Starts the command for an event; NULL: does nothing. facts are texts "GCORN_HOOK_NAME=value", at
 * most HOOK_FACTS_MAX, and end with NULL. event is a static text. When HOOKS_MAX commands run
 * already, logs that this one is not run. */
void hooks_run(struct hooks *h, const char *event, const char *command, const char *const *facts);

/* In a child of the master, where blocking is allowed: runs the command for an event and waits for
 * its end. Parameters as above. Returns 0, also without a command; or -1 with err: it failed. */
int hooks_run_and_wait(const struct hooks *h, const char *event, const char *command,
                       const char *const *facts, struct error *err);

/* A child was reaped. If it was a command, logs its failure and returns true. */
bool hooks_reaped(struct hooks *h, pid_t pid, int status);

#endif
