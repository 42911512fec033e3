/* SPDX-License-Identifier: MIT
 *
 * hooks - commands of the settings for events in the master's life: on_starting, when_ready and so
 * on. The shell runs one, with the event's facts in GCORN_HOOK_* variables, as the master's user,
 * in its directory and with the umask that it was started with. The master does not wait for it, so
 * it can neither hold nor break the server; when it fails, the log says so.
 */
#ifndef GCORN_MASTER_HOOKS_H
#define GCORN_MASTER_HOOKS_H

#include <stdbool.h>
#include <sys/types.h>

struct error;

enum { HOOKS_MAX = 16, HOOK_FACTS_MAX = 4 };

/* What the name of each fact begins with. No setting's variable does (GCORN_<KEY>), and a command
 * gets no inherited variable that does. */
#define HOOK_VARIABLE "GCORN_HOOK_"

struct hook {
    pid_t pid; /* 0: free */
    const char *event;
};

/* Those that run. */
struct hooks {
    struct hook list[HOOKS_MAX];
    mode_t umask;
};

/* Starts the command for an event; nothing when it is NULL. facts are "GCORN_HOOK_NAME=value" and
 * end with NULL: at most HOOK_FACTS_MAX. event is static. When HOOKS_MAX run already, the log says
 * that it is left out. */
void hooks_run(struct hooks *h, const char *event, const char *command, const char *const *facts);

/* In a child of the master, which has nothing else to do: runs the command for an event and waits
 * for its end. As above otherwise. 0, also when there is none; -1 with err: it failed. */
int hooks_run_and_wait(const struct hooks *h, const char *event, const char *command,
                       const char *const *facts, struct error *err);

/* Of a child that was reaped: was it a command? Then the log says so if it failed. */
bool hooks_reaped(struct hooks *h, pid_t pid, int status);

#endif
