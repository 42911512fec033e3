/* SPDX-License-Identifier: MIT
 *
 * stream - one request and its answer: the call of the application, its answer into the buffer
 * `out` and to the client, until it is whole or waits. What carries the bytes, and when, is the
 * connection's (conn.h).
 *
 * A class of workers that calls in threads (call.h) takes the stream for the time of a call
 * (stream_lend), with nothing unsent; stream_called goes on where that stopped. Meanwhile nothing is
 * read: a client that leaves is noticed when the call is over.
 */
#ifndef GCORN_WORKER_CONN_STREAM_H
#define GCORN_WORKER_CONN_STREAM_H

#include "worker/loop/types.h"
#include "worker/loop/upward.h"

/* SOME: there is more to come, and the stream waits for what it needs. FAILED: the connection is
 * closed, and the stream may be gone. */
enum flushed { FLUSHED_ALL, FLUSHED_SOME, FLUSHED_FAILED };

/* The request is complete, or held at the end of its head for gcorn_on_head: the application's turn.
 * Afterwards there is an answer (stream_is_answering), or it has ended, or the request goes on. */
void stream_answer(struct stream *s);

/* The answer is `status`, by the server, and the connection ends with it. */
void stream_refuse(struct stream *s, int status, const char *reason);

/* Sends what there is, and what the answer still yields, until the socket is full, the application
 * has nothing, or others have their turn. */
enum flushed stream_flush(struct stream *s);

/* Is the answer under way, rather than the request? */
static inline bool stream_is_answering(const struct stream *s)
{
    return s->runs;
}

/* Requests after an answer have waited for its client, or its application, so far; from now on it
 * is for the worker. */
void stream_note_turn(struct stream *s);

/* Others have their turn: puts the stream into the run queue. */
enum flushed stream_wait_turn(struct stream *s);

/* The connection has been closed: whatever is in flight ends here. ALL: the request is over; SOME:
 * a thread still ends it. */
enum flushed stream_abandon(struct stream *s);

#endif
