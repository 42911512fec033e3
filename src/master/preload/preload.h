/* SPDX-License-Identifier: MIT
 *
 * births - workers that a template bears (template.h), from the master's side. Until it is born a
 * worker has no pid, only its place, its channel and its deadline; whoever would kill it forgets
 * it, and when it is born after that it is killed.
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
void births_watch(struct master *m, struct generation *g);

/* Takes the news of all templates, so that who is born has its pid. */
void births_hear(struct master *m);

/* A child was reaped: was it a template? Then its unborn do not boot, and the next worker that is
 * wanted starts another one. */
bool births_reaped(struct master *m, pid_t pid, int status);

/* The deadline of one of g's unborn has come: the template hangs. Reports it, and takes its stacks.
 * True: the unborn have a new deadline. False: that has been done. */
bool births_explain_late(struct master *m, struct generation *g, uint64_t now);

/* g wants no more workers: ends its template, if it has one, and forgets the unborn. */
void births_end(struct master *m, struct generation *g);

/* The server stops: ends the templates that nobody waits for. They hold the sockets. */
void births_stop(struct master *m);

#endif
