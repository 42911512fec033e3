/* SPDX-License-Identifier: MIT
 *
 * run_queue - streams that can go on at once, in the order in which they get their turn: one
 * with unparsed bytes, or with more to send than is fair in one go. The loop does not sleep while
 * one waits.
 */
#ifndef GCORN_WORKER_LOOP_RUN_QUEUE_H
#define GCORN_WORKER_LOOP_RUN_QUEUE_H

struct stream;
struct worker;

void run_queue_init(struct worker *w);

/* Puts the stream at the end of the queue of those that can go on at once and wait for their
 * turn. */
void worker_queue_stream(struct worker *w, struct stream *s);

#endif
