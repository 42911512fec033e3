/* SPDX-License-Identifier: MIT
 *
 * farewell - the answers that a dying worker still sends, so that its clients do not get a reset.
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

/* The connection whose request runs as the slot's call of this index. Also that of the call which has
 * just ended: a heap that the call has broken shows when the answer is made. NULL: none. */
const struct conn *farewell_served(unsigned call);

/* Answers every client; that of the crashed request (NULL: no request is to blame) as is_timeout
 * says. Takes about 50 ms at most. The result is in the slot's crash and counts. */
void farewell_say(const struct conn *crashed, bool is_timeout);

/* Afterwards: adds lines to the access log for every request that ends here. It follows pointers that
 * may be broken; after a fault in it, the master writes the line of the crashed request. */
void farewell_log(const struct conn *crashed, bool is_timeout);

#endif
