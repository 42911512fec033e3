/* SPDX-License-Identifier: MIT
 *
 * report - what the log says about a worker that misbehaved: which request it ran, how it ended,
 * what became of its clients.
 *
 * What a worker says of itself in its slot is untrusted: read once, cut, and shown, no more.
 */
#ifndef GCORN_MASTER_REPORT_H
#define GCORN_MASTER_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "master/plan.h"

struct oom;
struct slot;
struct slot_call;
struct strbuf;

/* The worker is to be killed, for this. ms: how long its call has lasted. */
void report_condemned(const struct worker_proc *w, const struct slot_call *call,
                      enum verdict verdict, uint64_t ms);

/* A call has lasted longer than slow_request. */
void report_slow(const struct worker_proc *w, const struct slot_call *call, uint64_t ms);

/* It has crashed, and told its clients so; it still lives. */
void report_crash(const struct worker_proc *w, const struct slot *s);

/* It has ended with this status of waitpid(2). oom is asked about a SIGKILL that nobody here sent.
 */
void report_death(const struct worker_proc *w, const struct slot *s, int status, struct oom *oom);

/* Writes the access log's line of each request that it died in, if it has not written that itself,
 * and says where the request is kept (crash_dir). */
void report_last_request(const struct worker_proc *w, const struct slot *s);

#endif
