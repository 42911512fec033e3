/* SPDX-License-Identifier: MIT
 *
 * reap - children of the master that have ended: workers, templates, helpers, commands of hooks,
 * the program of an upgrade, and orphans that the master inherited. The first step of its pass.
 */
#ifndef GCORN_MASTER_WORKERS_REAP_H
#define GCORN_MASTER_WORKERS_REAP_H

#include <stdint.h>

struct master;

/* Reaps at most as many children as a pass may take, and deals with each. */
void reap_children(struct master *m, uint64_t now);

#endif
