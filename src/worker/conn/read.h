/* SPDX-License-Identifier: MIT
 *
 * read - bytes from a connection's wire into requests, and what the connection waits for when they
 * are used up. Unparsed bytes are worked before the loop waits.
 */
#ifndef GCORN_WORKER_CONN_READ_H
#define GCORN_WORKER_CONN_READ_H

#include "worker/loop/types.h"

/* Reads once, and works what came. The connection may be closed afterwards. */
void read_requests(struct conn *c);

/* The client of an answer that waits has sent something, or has left: keeps the bytes for later. */
void read_ahead(struct conn *c);

/* May more be read from a client whose answer waits? */
bool read_may_go_ahead(const struct conn *c);

/* Adds 100 Continue to what is sent: the client is told to go on with the body. */
void read_add_continue(struct stream *s);

/* Works the bytes that were left after a request, or those that the wire has read and holds. */
void read_unparsed(struct conn *c);

/* All answers are in the kernel's hands: what the connection waits for next. */
void read_settle(struct conn *c);

/* The request did not come in time: 408. */
void read_refuse_late(struct conn *c, const char *reason);

#endif
