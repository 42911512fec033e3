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

/* Enters what the master is and has now. */
void stats_update(struct master *m);

/* Asks the kernel how long the sockets' queues are, if there is an admin process to tell. */
void stats_update_listeners(struct master *m);

/* A process has ended with this status; the log has said what there is to say. Counts the end, and
 * what the worker had counted. */
void stats_update_exited(struct master *m, const struct proc *p, int status);

/* A reload is over. */
void stats_update_reload(struct master *m, bool ok);

#endif
