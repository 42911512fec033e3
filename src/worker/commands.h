/* SPDX-License-Identifier: MIT
 *
 * orders - what a worker is told beside its clients' requests: by the master through the channel,
 * by a person through TERM, by the kernel when the master has died. Most of it means to finish:
 * take nothing new, answer what is there, leave.
 */
#ifndef GCORN_WORKER_COMMANDS_H
#define GCORN_WORKER_COMMANDS_H

#include <stdbool.h>

#include "worker/loop/upward.h"

struct worker;

/* Catches a signal in order to do nothing. It is not ignored: what the application execs starts
 * with the default. */
void commands_disregard(int signal_number);

/* Gives every signal its default, but for those that mean the master: they do nothing from now on,
 * and at no moment meet a default. Nothing is blocked then. */
void commands_leave_signals_to_master(void);

/* From now on TERM is an order; until then it ends a worker that boots. */
void commands_catch_term(void);

/* Makes w's watchers of orders; starts them. */
void commands_init(struct worker *w);
void commands_start(struct worker *w);

/* Ends a worker whose channel to the master the application has closed or replaced: it can neither
 * be told anything nor say so. False: it ends. Once a second. */
bool commands_check(struct worker *w);

#endif
