/* SPDX-License-Identifier: MIT
 *
 * admin - the admin process: a worker like the others, whose application is the one in here. So it
 * has the workers' HTTP, limits and user, and is supervised and replaced as they are; it holds
 * neither the application nor its sockets, and reads the scoreboard and the stats without being
 * able to write them. It asks neither the master nor a worker, so it answers while they hang.
 *
 *   /livez    200 while this process lives and the master's loop turns
 *   /readyz   200 when the server can serve, else 503 with a line for each reason
 *   /metrics  for Prometheus
 */
#ifndef GCORN_MASTER_TELEMETRY_ADMIN_H
#define GCORN_MASTER_TELEMETRY_ADMIN_H

struct stats;
struct listener;
struct scoreboard;
struct worker_args;

/* In the child: makes what a worker is run with into what the admin process is. listener, stats
 * and scoreboard are borrowed for good. */
void admin_prepare(struct worker_args *args, struct listener *listener, struct stats *stats,
                   struct scoreboard *scoreboard);

#endif
