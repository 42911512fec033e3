/* SPDX-License-Identifier: MIT
 *
 * stats_update - keeps the statistics that the master shares, from which the admin process reads.
 */
#ifndef GCORN_MASTER_STATS_UPDATE_H
#define GCORN_MASTER_STATS_UPDATE_H

#include "master/telemetry/stats.h"

struct master;
struct proc;

enum server_state stats_update_state(const struct master *m);

/* Writes the master's present state to the stats. */
void stats_update(struct master *m);

/* Reads the lengths of the sockets' queues from the kernel, if an admin process runs. */
void stats_update_listeners(struct master *m);

/* A process has ended with this status and its end is logged: counts the end, and adds the worker's
 * counts. */
void stats_update_exited(struct master *m, const struct proc *p, int status);

/* Counts a reload that is over. */
void stats_update_reload(struct master *m, bool ok);

#endif
