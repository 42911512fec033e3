/* SPDX-License-Identifier: MIT
 *
 * admin - the admin process: a worker whose application is built in (admin_app). So it has the
 * workers' HTTP, limits and user, and the master supervises and replaces it like them. It does not
 * load the application and does not have its sockets; it maps the scoreboard and the stats
 * read-only. It asks neither the master nor a worker, so it answers while they hang.
 *
 *   /livez    200 while this process lives and the master's event loop runs
 *   /readyz   200 when the server can serve, else 503 with a line for each reason
 *   /metrics  for Prometheus
 */
#ifndef GCORN_MASTER_TELEMETRY_ADMIN_H
#define GCORN_MASTER_TELEMETRY_ADMIN_H

struct stats;
struct listener;
struct scoreboard;
struct worker_args;

/* In the child: changes a worker's arguments to those of the admin process. listener, stats and
 * scoreboard are borrowed until the process ends. */
void admin_prepare(struct worker_args *args, struct listener *listener, struct stats *stats,
                   struct scoreboard *scoreboard);

#endif
