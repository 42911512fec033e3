/* SPDX-License-Identifier: MIT
 *
 * callback/ is what the loop calls of an application for no request.
 *
 * callback - the bracket around each such call. The worker's slot shows it as a call, such as
 * "TIMER tick": `timeout` and slow_request count, and a crash in it names it.
 */
#ifndef GCORN_WORKER_CALLBACK_CALLBACK_H
#define GCORN_WORKER_CALLBACK_CALLBACK_H

#include <stddef.h>
#include <stdint.h>

#include "gcorn.h"

struct slot_call;
struct worker;

/* Brackets one call of a function of the application on the loop's thread, which serves no request;
 * any class of workers. kind stands in the place of a method (TIMER, POST, PUBLISH), what (len
 * bytes) in the place of the target; both are copied, cut to fit. The clock of the pass must have
 * been read (worker_look_at_clock). The bracket may stand within the call of a request whose wait
 * runs the loop (canary.c, replay.c): then that call stays shown. callback_leave ends the process
 * if the application has recovered from a crash in it, or if this is a child that it has forked. */
void callback_enter(struct worker *w, const char *kind, const char *what, size_t len);
void callback_leave(struct worker *w);

/* Shows in an entry of the slot what its thread runs for no request from now on, until
 * slot_call_end. */
void callback_show(struct slot_call *call, const char *kind, const char *what, size_t len,
                   uint64_t started_ms);

/* Calls fn(arg) in that bracket. What the slot shows is fn's symbol, if it is exported; else its
 * object and the offset in it, as addr2line takes it ("app.so+0x1234"). */
void callback_run(struct worker *w, const char *kind, gcorn_call_fn *fn, void *arg);

#endif
