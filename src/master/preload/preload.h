/* SPDX-License-Identifier: MIT
 *
 * preload - workers that a template forks (template.h), from the master's side. Until the
 * template has forked it, a worker is pending: it has a place, a channel and a deadline, but no pid.
 * A pending worker that is to be killed is forgotten; if the template forks it after that, it is
 * killed then.
 */
#ifndef GCORN_MASTER_PRELOAD_PRELOAD_H
#define GCORN_MASTER_PRELOAD_PRELOAD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct generation;
struct master;
struct template;

/* g has a new template: hears it from now on. */
void preload_watch(struct master *m, struct generation *g);

/* Takes the news of all templates, so that who is born has its pid. */
void preload_read(struct master *m);

/* A child was reaped: was it a template? Then its unborn do not boot, and the next worker that is
 * wanted starts another one. */
bool preload_reaped(struct master *m, pid_t pid, int status);

/* The deadline of one of g's unborn has come: the template hangs. Reports it, and takes its stacks.
 * True: the unborn have a new deadline. False: that has been done. */
bool preload_log_late(struct master *m, struct generation *g, uint64_t now);

/* g wants no more workers: ends its template, if it has one, and forgets the unborn. */
void preload_end(struct master *m, struct generation *g);

/* The server stops: ends the templates that nobody waits for. They hold the sockets. */
void preload_stop(struct master *m);

#endif
