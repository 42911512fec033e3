/* SPDX-License-Identifier: MIT
 *
 * commands - what tells a worker to finish, or to reopen its logs: the master through the channel, a
 * person by SIGTERM, the kernel when the master has died. To finish is to drain: to accept no more
 * connections, answer the requests that are there, and leave.
 */
#ifndef GCORN_WORKER_COMMANDS_H
#define GCORN_WORKER_COMMANDS_H

#include <stdbool.h>

#include "worker/loop/upward.h"

struct worker;

/* Catches a signal and does nothing. It is not ignored (SIG_IGN), because programs that the
 * application executes would inherit that. */
void commands_disregard(int signal_number);

/* Gives every signal its default, except those that are meant for the master, which do nothing from
 * now on and are never without a handler. Unblocks all signals. */
void commands_leave_signals_to_master(void);

/* Catches SIGTERM as a command; until then it ends a worker that boots. */
void commands_catch_term(void);

/* Makes the watchers of commands; starts them. */
void commands_init(struct worker *w);
void commands_start(struct worker *w);

/* To be called once a second. Makes a worker finish whose channel the application has closed or
 * replaced, since its master cannot reach it any more; returns false then. */
bool commands_check(struct worker *w);

#endif
