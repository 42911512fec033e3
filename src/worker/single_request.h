/* SPDX-License-Identifier: MIT
 *
 * single_request - one request through the application that no client has sent: the request of a
 * canary, and that of --replay.
 */
#ifndef GCORN_WORKER_SINGLE_REQUEST_H
#define GCORN_WORKER_SINGLE_REQUEST_H

#include "http/exchange.h"

struct gcorn_environ;
struct worker;

/* Runs a complete request with its hooks, in a call (call_enter) that the caller ends: the request
 * stays open, and its end may be the application's, too. Blocks as exchange_run does. */
enum exchange_end single_request_run(struct worker *w, struct gcorn_environ *env,
                                     const struct exchange_sink *sink);

/* For an answer that waits: turns the loop once, for at most 10 ms, so that what the application
 * has started on it can go on. */
void single_request_wait(struct worker *w);

#endif
