/* SPDX-License-Identifier: MIT
 *
 * notify_master - the messages of a worker to its master: ready, wants to leave, heartbeat. The
 * pipe holds 16 messages (channel.h), which heartbeats fill while the master does not read. A
 * message that finds the pipe full is sent again before the next heartbeat, until the pipe takes
 * it. For the loop's thread alone.
 */
#ifndef GCORN_WORKER_NOTIFY_MASTER_H
#define GCORN_WORKER_NOTIFY_MASTER_H

#include <stdbool.h>

struct worker;

struct notify {
    bool ready_is_due;
    const char *leave_is_due; /* the reason; NULL: sent, or nothing to send */
};

/* The worker accepts connections. */
void notify_ready(struct worker *w);

/* The worker asks to be replaced; why is the reason, and must live for ever. False: the master has
 * closed its end of the pipe. */
bool notify_leave(struct worker *w, const char *why);

/* Sends a heartbeat: the loop turns. To be called once a second. A heartbeat that finds the pipe
 * full is dropped. */
void notify_alive(struct worker *w);

#endif
