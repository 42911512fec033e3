/* SPDX-License-Identifier: MIT
 *
 * master - the process that binds sockets, forks workers and supervises them. It never runs
 * application code, never reads a byte from a client and never blocks.
 */
#ifndef GCORN_MASTER_MASTER_H
#define GCORN_MASTER_MASTER_H

#include "master/generation/generation.h"

struct handover;
struct start;

/* Serves with the first generation of settings until it is told to stop; takes config, and the
 * handover of an old master. start is borrowed. Returns the exit status; errors have been
 * logged. Signals are blocked when it is called; it unblocks them once it can handle them. */
int master_run(const struct start *start, struct config *config, struct handover *from);

#endif
