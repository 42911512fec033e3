/* SPDX-License-Identifier: MIT
 *
 * call - the stays of a worker in application code, and the end of a request, which is one where
 * the application has something to end.
 */
#ifndef GCORN_WORKER_CALL_CALL_H
#define GCORN_WORKER_CALL_CALL_H

#include <stdbool.h>
#include <stdint.h>

struct conn;
struct gcorn_environ;
struct slot_call;
struct worker;

/* Brackets every stay in application code; they do not nest. c is the connection whose request is
 * served, NULL when it is over, or has none. worker_call_end returns how long it
 * took, in nanoseconds. */
void worker_call_begin(struct worker *w, struct conn *c, const struct gcorn_environ *env);
uint64_t worker_call_end(struct worker *w);

/* Shows in the slot what a thread runs from now on; for which connection's answer: c, or NULL. */
void worker_show_call(struct slot_call *call, const struct conn *c, const struct gcorn_environ *env,
                      uint64_t started_ms);

/* Ends the request of an environ and takes it back. */
void worker_give_environ(struct worker *w, struct gcorn_environ *env);

/* What that consists of, for a pool: does ending it run the application's code? Counts it for
 * max_requests; runs that code, in any thread. */
bool worker_environ_has_code(const struct worker *w, const struct gcorn_environ *env);
void worker_count_environ(struct worker *w, const struct gcorn_environ *env);
void worker_end_environ(const struct worker *w, struct gcorn_environ *env);

#endif
