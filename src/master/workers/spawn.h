/* SPDX-License-Identifier: MIT
 *
 * spawn - forks a worker or a template, which keeps those of the master's descriptors that it needs
 * and closes all others.
 */
#ifndef GCORN_MASTER_WORKERS_SPAWN_H
#define GCORN_MASTER_WORKERS_SPAWN_H

#include <ev.h>
#include <stdbool.h>

#include "master/generation/generation.h"
#include "master/proc/proc.h"
#include "system/ipc/scoreboard.h"

struct error;
struct message_bus;
struct named_memory;
struct socket_activation;
struct stats;

/* The master's data that a worker is made with. */
struct spawner {
    struct plan *plan;
    struct procs *procs;
    struct scoreboard *scoreboard;
    struct message_bus *bus;
    struct named_memory *shared_memory;
    struct stats *stats;
    struct ev_loop *loop;
    const struct socket_activation *activation;
    bool is_trial; /* this master ends if its first workers fail: each is a canary */
};

/* Forks g's template process (template.h): sets g->template. The child never returns. 0, or -1 with
 * errno. */
int spawn_template(const struct spawner *s, struct generation *g);

/* Forks a worker, or the admin process if it has that number, for procs[place], which is empty, and
 * fills that in. If g has a template, orders the worker from it. The child never returns. Returns
 * 0, or -1 with errno. */
int spawn_worker(const struct spawner *s, int place, unsigned number, struct generation *g);

#endif
