/* SPDX-License-Identifier: MIT
 *
 * send - bytes of answers on their way from a connection to its client: what lies in the buffer
 * `out`, the piece after it that is sent from where it lies, and after these a file.
 */
#ifndef GCORN_WORKER_CONN_SEND_H
#define GCORN_WORKER_CONN_SEND_H

struct stream;

/* FULL: the socket takes no more. TURN: it would, but others have their turn now. FAILED: the
 * client is gone. */
enum send_result { SEND_ALL, SEND_FULL, SEND_TURN_OVER, SEND_FAILED };

/* Gives the connection a buffer for answers if it has none; takes it away, empty. */
void send_borrow_buffer(struct stream *s);
void send_return_buffer(struct stream *s);

/* Sends buffer and piece. With the last bytes of an answer goes its line into the access log. */
enum send_result send_out(struct stream *s);

/* The stream is handed back: what the socket has not taken of send_handed goes before `out`. */
void send_join_early(struct stream *s);

/* Sends what there is, and what the answer's handler has pushed (call/push.h). TURN_OVER: after a
 * megabyte. */
enum send_result send_pushed(struct stream *s);

/* Sends the file that is the next part of the answer; nothing else is unsent. ALL: it is gone, or
 * it cannot be read any more: then the answer is broken, and has no further pieces. */
enum send_result send_file(struct stream *s);

#endif
