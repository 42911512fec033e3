/* SPDX-License-Identifier: MIT
 *
 * accept - taking connections: one a wake-up, while there is room and no sibling should have it, or
 * many where no sibling would take them; and, at the end, all that the kernel has already accepted
 * on the server's behalf.
 */
#ifndef GCORN_WORKER_ACCEPT_ACCEPT_H
#define GCORN_WORKER_ACCEPT_ACCEPT_H

#include <ev.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "base/util.h"
#include "http/environ.h"
#include "worker/loop/upward.h"

struct listener;
struct worker;

struct acceptor {
    struct ev_io io;
    struct worker *worker;
    struct fd_mark mark;             /* of its socket */
    struct sockaddr_storage address; /* which it is bound to */
    struct listener *listener;       /* its fd is -1 once this worker has given it up */
    struct http_local local;         /* what requests that come by it see */
    uint32_t left; /* after accept_end: the connections that waited then and are not taken yet */
};

/* Makes w->acceptors, idle. */
void accept_init(struct worker *w);

/* Gives up the sockets that the application has closed or replaced: once a second, as nothing else
 * may ever tell. */
void accept_check(struct worker *w);

/* Are they all still open, before any has been given up? */
bool accept_has_sockets(const struct worker *w);

/* No more connections. take_queue: those that wait in the kernel's queue by now are still taken, as
 * room comes, because no other worker will (trap T25). Then the sockets are closed, so that the address
 * is free and no backlog is left that no worker serves. That begins when the loop goes on, not here:
 * the command may have been read within the work for a client, and room for a new connection is made
 * by reading others, that client among them. */
void accept_end(struct worker *w, bool take_queue);

/* Has accept_end come to its end? */
bool accept_is_over(const struct worker *w);

/* Does the loop watch each socket that it is to watch? The kernel may have refused (loop.h). */
bool accept_is_watched(const struct worker *w);

/* Closes the listening sockets at once. Async-signal-safe. */
void accept_close(struct worker *w);

#endif
