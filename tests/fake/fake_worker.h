/* SPDX-License-Identifier: MIT
 *
 * fake_worker - the server's own worker (connections, calls, answers, orders) over a fake loop and
 * fake wires, with an application whose answers the path of a request scripts:
 *
 *   /i/LETTERS  an iterator, which does what each letter says: p a piece, l a long one, h one of
 *               1.2 MB, a waits for a wake-up, w for an alarm of 50 ms, k wakes itself, W sets an
 *               alarm for which it does not wait, e asks for a longer deadline, s takes 20 ms, g
 *               asks whether the client is gone, d has the master tell the worker to retire, x
 *               fails; i sends a 103, t adds a trailer, and both go on with the next letter; at the
 *               end of the letters it ends
 *   /f          a file of 300,000 bytes; /t the same, which fake_truncate_file cuts
 *   /b          300,000 bytes; /e the request's body; /n nothing
 *   /h/LETTERS  as /i, from a handler that sends a 103 first
 *   /p/LETTERS  the handler pushes: p, l, h as above, 0 nothing, N what is NULL, s takes 20 ms, d has
 *               the master tell the worker to retire, S to stop, e asks for a longer deadline, k
 *               wakes itself, a takes a ticket; it ends with t a text, i an iterator that waits, f a
 *               file, r an iterator that reads the body, x nothing; else an empty text. /P/LETTERS
 *               the same, with a Content-Length of 45; /w/LETTERS, while the body comes
 *   /s/LETTERS  as /i, from a handler that takes 20 ms; /d/LETTERS the same, while the master tells
 *               the worker to retire
 *
 *   /a/LETTERS  gcorn_on_head does what each letter says: d denies with 401, w denies with an iterator
 *               that waits, l lowers the limit of the body to 4 bytes, u lifts it
 *   /u/LETTERS  as /i, but the body is read as it comes: r reads until it ends, o reads 100 bytes
 *               once, and 1,000 bytes with every r after O, R as r with an alarm of 50 ms; what is read must be what was announced
 *
 * Every answer has X-N, the query's n, and X-Head for HEAD.
 */
#ifndef GCORN_TESTS_FAKE_FAKE_WORKER_H
#define GCORN_TESTS_FAKE_FAKE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "fake_loop.h"
#include "fake_wire.h"
#include "worker/loop/clock.h"
#include "worker/loop/pools.h"
#include "worker/loop/run_queue.h"
#include "worker/worker.h"

enum { FAKE_TICKETS = 32 };

/* What the application has seen. */
struct fake_app {
    unsigned begun, ended;          /* on_pre_request, on_post_request */
    unsigned heads;                 /* on_head */
    unsigned opened, closed;        /* iterators */
    int close_errno;                /* why the last body that was closed cannot be read on */
    unsigned deferred, run;         /* deferred functions: asked for, run */
    unsigned asked;                 /* calls of next */
    unsigned pushed, refused;       /* calls of gcorn_send; those of them that have failed */
    uint64_t tickets[FAKE_TICKETS]; /* taken by 'a', the latest at (ticket_count - 1) */
    unsigned ticket_count;
};

extern struct fake_app fake_app;

/* A worker that has booted and has no listening socket. config: copied by reference; it must be
 * config_init's, with what the test changes. One at a time. */
struct worker *fake_worker_new(const struct config *config);
void fake_worker_free(struct worker *w);

/* Connects client i, as the acceptor does: an older connection gives way where the worker is full.
 * NULL: none does. */
struct conn *fake_connect(struct worker *w, unsigned i);

/* The connection that client i has; NULL when it is closed. */
struct conn *fake_conn(struct worker *w, unsigned i);

/* Turns the loop until nothing is ready, at most 200 times. */
void fake_turn(struct worker *w);

/* Time goes on in steps to each timer that is due, and the loop turns. */
void fake_wait_ms(struct worker *w, uint64_t ms);

/* The master sends an order; the loop sees it in its next pass. */
void fake_order(struct worker *w, enum down_type type, uint32_t ms);

/* Cuts the file of the last /t to 1,000 bytes. */
void fake_truncate_file(void);

/* From now on calls are made by a class of workers whose calls end when the script says so, as those
 * of threads do; or again by the loop. No connection may be open. */
void fake_call_later(struct worker *w, bool later);

/* Runs the call that has waited for longest and hands its stream back; false: none waits. */
bool fake_finish_call(struct worker *w);

/* Nothing open, in flight or unclosed: aborts the test, with a line, unless that is so. */
void fake_assert_idle(struct worker *w);

/* Makes an idle worker one that has just booted, at the time when time began: what a script does
 * from here on does not depend on earlier ones. */
void fake_worker_reset(struct worker *w);

#endif
