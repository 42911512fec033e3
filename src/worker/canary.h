/* SPDX-License-Identifier: MIT
 *
 * canary - the first worker of a new generation asks its application for reload_check_path before it
 * serves clients.
 */
#ifndef GCORN_WORKER_CANARY_H
#define GCORN_WORKER_CANARY_H

struct error;
struct worker;

/* Runs GET path through the application as if a client had sent it. 0 when the answer's status is
 * 2xx or 3xx, -1 with err. Blocks until the status is known: what streams on is not awaited. */
int canary_check(struct worker *w, const char *path, struct error *err);

#endif
