/* SPDX-License-Identifier: MIT
 *
 * lastwords - what a dying worker still sends to its clients, who are owed more than a reset.
 *
 * Each connection gets what answers before the crash left unsent, in order; then the request that
 * crashed is answered 500 (504 when the master ended it for its timeout), requests that were not
 * run yet 503, all with Connection: close. An answer that has begun is cut, by an orderly end where
 * its framing shows that it is cut, by a reset where it would look whole. Every socket is then read
 * for a moment longer, because closing it with bytes unread would destroy the answer on its way.
 *
 * In a pool of threads it is the request of the thread that crashed; what the other threads run
 * ends there, answered 503, for they share its memory. When the master ends a worker for a call
 * that takes too long, each call that does is answered 504.
 *
 * All of it is async-signal-safe, and works on the connections' own mapping and with system calls
 * alone, for the heap may be broken. No other thread may touch the connections meanwhile.
 */
#ifndef GCORN_WORKER_CRASH_FAREWELL_H
#define GCORN_WORKER_CRASH_FAREWELL_H

#include <stdbool.h>

struct conn;
struct worker;

/* Of this process's worker: before anything can crash. */
void farewell_init(struct worker *w);

/* The connection whose request is in the application's hands in that place of the slot's calls, or
 * was just now: what it did to the heap shows when its answer is put together. NULL when there is
 * none. */
const struct conn *farewell_served(unsigned call);

/* Answers every client, crashed (NULL: nobody's request is to blame) as is_timeout says. Takes a
 * moment at most. The slot's crash says what became of it, its counts have the answers. */
void farewell_say(const struct conn *crashed, bool is_timeout);

/* Then, or never, the access log: of everything that will not end by itself. It follows pointers
 * that may be broken: a fault in it leaves the line of the crashed request to the master. */
void farewell_log(const struct conn *crashed, bool is_timeout);

#endif
