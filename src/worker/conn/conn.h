/* SPDX-License-Identifier: MIT
 *
 * conn - one client connection: its states, timers and end; read.h has its bytes, stream.h its
 * requests and answers.
 *
 * A connection holds no buffer while nothing is in flight: it reads into the worker's buffer, keeps
 * only what is incomplete, and answers through the worker's out buffer, which it takes along only
 * when the socket is full. conn_set is the one place that decides which events and which timer a
 * connection has.
 *
 * A connection that writes does not read, so answers stay in order and a client that does not take
 * them cannot make the worker buffer more.
 */
#ifndef GCORN_WORKER_CONN_CONN_H
#define GCORN_WORKER_CONN_CONN_H

#include "worker/loop/types.h"
#include "worker/loop/upward.h"

/* Takes over the wire of a connection that was accepted; there is room for it. address: the peer's,
 * as accept gives it; local is borrowed. */
void conn_open(struct worker *w, struct wire wire, const struct http_local *local,
               const void *address);

/* Parts of conn_set: for a state and phase that the connection is in, and for others. */
void conn_renew(struct conn *c);
void conn_change(struct conn *c, enum conn_state state, enum stream_phase phase);

/* What the connection is for and what its request does from now on: sets the events that its
 * watcher waits for and its timer, and enters and leaves the worker's lists. */
static inline void conn_set(struct conn *c, enum conn_state state, enum stream_phase phase)
{
    if (c->state == state && c->h1.phase == phase && phase < STREAM_WAITING)
        conn_renew(c);
    else
        conn_change(c, state, phase);
}

/* Asks the wire again which events it needs: after a read that gave nothing. */
void conn_watch_again(struct conn *c);

/* Everything is sent, and no further request is taken. Closes our side and lets the client's last
 * bytes come (linger.h), or closes. */
void conn_finish(struct conn *c);

/* Is it open, and has the client sent nothing of a request that is not answered? */
static inline bool conn_awaits_request(const struct conn *c)
{
    const struct stream *s = &c->h1;

    return c->state == CONN_OPEN && s->phase <= STREAM_HEAD &&
           (!s->env || !request_has_begun(&s->env->request));
}

/* Closes at once, whatever is in flight. */
void conn_drop(struct conn *c);

/* Gives the place in the table back: the wire is closed and the request over. */
void conn_free(struct conn *c);

/* The connection is idle and the worker would like it gone: reads it once, and closes it if there
 * is nothing. True when it is closed. */
bool conn_close_if_idle(struct conn *c);

/* A new connection needs its place (admission.h). One that lingers is closed; any other is read
 * once, and if its request is not complete by then, it is answered 408 where it has begun, and
 * closed or left to linger. True when it was answered so. */
bool conn_give_way(struct conn *c);

#endif
