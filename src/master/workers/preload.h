/* SPDX-License-Identifier: MIT
 *
 * preload - the master's side of workers that a template forks (template.h). Until the template has
 * forked it, a worker is pending: it has a place, a channel and a deadline, but no pid. To kill a
 * pending worker the master forgets it; if the template forks it afterwards, the master kills it
 * then.
 */
#ifndef GCORN_MASTER_WORKERS_PRELOAD_H
#define GCORN_MASTER_WORKERS_PRELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct generation;
struct master;
struct template;

/* g has a new template: reads its messages from now on. */
void preload_watch(struct master *m, struct generation *g);

/* Reads the messages of all templates, so that each forked worker gets its pid. */
void preload_read(struct master *m);

/* A child was reaped. If it was a template, fails its pending workers and returns true; the next
 * worker that is wanted starts another template. */
bool preload_reaped(struct master *m, pid_t pid, int status);

/* The deadline of one of g's pending workers has passed: the template hangs. Logs it, and takes the
 * template's stacks. True: the pending workers have a new deadline. False: this was done before. */
bool preload_log_late(struct master *m, struct generation *g, uint64_t now);

/* g wants no more workers: kills its template, if it has one, and forgets the pending workers. */
void preload_end(struct master *m, struct generation *g);

/* The server stops: kills each template that no pending worker waits for, because it holds the
 * listening sockets open. */
void preload_stop(struct master *m);

#endif
