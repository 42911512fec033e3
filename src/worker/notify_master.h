/* SPDX-License-Identifier: MIT
 *
 * tell - what a worker tells its master in the course of its life. The pipe holds 16 messages
 * (channel.h), which heartbeats fill while the master is away: a state that does not fit is told
 * with the next heartbeat, and before it, until the pipe takes it. Loop's thread only.
 */
#ifndef GCORN_WORKER_NOTIFY_MASTER_H
#define GCORN_WORKER_NOTIFY_MASTER_H

#include <stdbool.h>

struct worker;

struct notify {
    bool ready_is_due;
    const char *leave_is_due; /* why; NULL: it is told, or there is nothing to tell */
};

/* The worker accepts connections. */
void notify_ready(struct worker *w);

/* The worker asks to be replaced, because of why, which must live for ever. False: the master is
 * gone. */
bool notify_leave(struct worker *w, const char *why);

/* The loop turns: a heartbeat, once a second. One that does not fit is left out. */
void notify_alive(struct worker *w);

#endif
