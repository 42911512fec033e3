/* SPDX-License-Identifier: MIT
 *
 * share - how many connections a worker may hold before it leaves new ones to its siblings.
 *
 * All workers wait on the same sockets, and the kernel does not care who takes what. While nobody
 * is in a call, whoever has the processor takes all that come, and is alone with them when they
 * send their requests. So each worker looks into the slots of the others first.
 */
#ifndef GCORN_WORKER_SHARE_H
#define GCORN_WORKER_SHARE_H

#include <stdint.h>

struct scoreboard;
struct slot;

enum { SHARE_SLACK = 1 }; /* a difference that nobody minds */

/* How many connections the worker of this slot may hold and still take another: some more than the
 * one has that holds fewest, of those that are free to take it: siblings of its generation with no
 * call, or with a thread that has none. UINT64_MAX: none of them holds fewer. No scoreboard: it has
 * no siblings. */
uint64_t share_limit(struct scoreboard *scoreboard, const struct slot *own);

#endif
