/* SPDX-License-Identifier: MIT
 *
 * accept_balance - how many connections a worker may hold before it leaves new ones to its siblings.
 *
 * All workers wait on the same sockets, and the kernel does not care which of them takes what. While
 * none is in a call, the worker that has the processor takes all connections that come, and is alone
 * with them when they send their requests. So each worker looks into the slots of the others first.
 */
#ifndef GCORN_WORKER_ACCEPT_ACCEPT_BALANCE_H
#define GCORN_WORKER_ACCEPT_ACCEPT_BALANCE_H

#include <stdint.h>

struct scoreboard;
struct slot;

enum {
    ACCEPT_BALANCE_SLACK = 1,      /* a difference that makes no client wait */
    ACCEPT_BALANCE_BUSY_SLACK = 8, /* nor this one, when the other is busy */
};

/* How many connections the worker of this slot may hold and still take another: some more than the
 * sibling that holds fewest. One that is busy, in a call with no thread left, counts double: only
 * where it holds far fewer should a client wait for it. UINT64_MAX: no sibling holds fewer. Siblings
 * are those of its generation that serve; without a scoreboard it has none. */
uint64_t accept_balance_limit(struct scoreboard *scoreboard, const struct slot *own);

#endif
