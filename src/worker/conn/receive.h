/* SPDX-License-Identifier: MIT
 *
 * receive - a request's body that the application reads as it comes (gcorn_stream_body): bytes from
 * the wire into the request's buffer, while its answer is waited for, or sent.
 *
 * The phases STREAM_RECEIVING and STREAM_DUPLEX read, as long as the buffer has room; in every other
 * phase, during calls in other threads above all, nothing is read, and the client's time stands
 * still.
 */
#ifndef GCORN_WORKER_CONN_RECEIVE_H
#define GCORN_WORKER_CONN_RECEIVE_H

#include "worker/conn/stream.h"
#include "worker/loop/types.h"

/* Is some of the body of the request, which is being answered, still to come as it is read? */
static inline bool receive_is_on(const struct stream *s)
{
    return s->env && s->env->request.ahead && request_in_body(&s->env->request);
}

/* Works bytes of the body that were read with something else, or that the wire holds. False: the
 * connection is closed, and the stream may be gone. */
bool receive_kept(struct stream *s);

/* The wire has bytes, or has ended; the connection may be closed afterwards. */
void receive_bytes(struct conn *c);

/* The application has nothing to send before more of the body has come; nothing is unsent. What the
 * stream waits for. */
enum flushed receive_wait(struct stream *s);

/* The phase in which a stream with unsent bytes waits for its client: STREAM_SENDING or
 * STREAM_DUPLEX. */
enum stream_phase receive_phase_sending(struct stream *s);

/* The client has not sent for body_timeout: reads once more, and refuses the body if there is
 * nothing. */
void receive_timed_out(struct conn *c);

/* The stream is in STREAM_RECEIVING: reads once more, and refuses the body, for that reason, if there
 * is nothing and the answer has not begun. True: it is refused. */
bool receive_give_way(struct conn *c, const char *reason);

/* The stream enters a phase that reads, or leaves one. */
void receive_begins(struct stream *s);
void receive_pauses(struct stream *s);

/* The answer is there before the request's last byte: notes what is still to come of that. closes: the
 * connection ends with the answer in any case. True: it does. */
bool receive_leave_rest(struct stream *s, bool closes);

#endif
