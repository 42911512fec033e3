/* SPDX-License-Identifier: MIT
 *
 * upward - what a floor of the worker tells a floor above it, such as the loop a connection whose
 * time is over. Floors know those below them alone (worker.h has their order), so a lower one
 * includes this header and not that of the file which defines the function.
 */
#ifndef GCORN_WORKER_LOOP_UPWARD_H
#define GCORN_WORKER_LOOP_UPWARD_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct conn;
struct stream;
struct worker;

/* ---- call/forked.c ---------------------------------------------------------------------- */

/* Called each time the application returns from a hook or a callback (call_leave covers requests):
 * ends the process if it is a child that the application forked. */
void forked_check(void);

/* ---- conn/conn.c ------------------------------------------------------------------------ */

/* The timer's deadline has come. */
void conn_timed_out(struct conn *c);

/* ---- conn/send.c ------------------------------------------------------------------------ */

/* Sends the request's interim answers, within a call that it has on this thread, the loop's, after
 * what is unsent of earlier answers. What the socket does not take goes before the answer. */
void send_interims(struct stream *s);

/* The same, of bytes of them, while a thread has the stream. */
void send_handed(struct stream *s, const char *bytes, size_t len);

/* ---- conn/stream.c ---------------------------------------------------------------------- */

/* Takes up what was left when the stream was queued: its answer, or bytes of requests. */
void stream_resume(struct stream *s);

/* Asks the application again whose answer waits; nothing if none does. */
void stream_wake(struct stream *s);

/* A class of workers takes the stream for a call in another thread: nothing of its answers is
 * unsent, and until stream_called the loop does nothing with it (STREAM_CALLING). */
void stream_lend(struct stream *s);

/* It is handed back: the call is over. */
void stream_called(struct stream *s);

/* Its call, which goes on, has pushed bytes: sends what the socket takes. */
void stream_send_pushed(struct stream *s);

/* The request has ended, and its environ been reset. */
void stream_forget_request(struct stream *s);

/* ---- accept/accept.c -------------------------------------------------------------------- */

/* Starts or stops the acceptors, whichever the worker's state asks for: after room came or went. */
void accept_update(struct worker *w);

/* A connection has gone: it may be this worker's turn again. */
void accept_note_gone(struct worker *w);

/* ---- crash/crash.c ---------------------------------------------------------------------- */

/* Ends a worker that has been reported as crashed, and whose application has recovered: by
 * siglongjmp in a handler of its own, say. Its clients have had their answers, and its place is
 * filled. To be called whenever the application returns. */
void crash_end_recovered(void);

/* A further thread that calls the application: it can crash for want of stack, too. */
void crash_init_thread(void);

/* Such a thread ends: frees what that needed. */
void crash_end_thread(void);

/* Takes the fatal signals out of a set of those to be blocked. */
void crash_spare_fatal(sigset_t *blocked);

/* The loop's thread, with a pool, between what it does and the next: when another thread is dying,
 * it does not return. */
void crash_rest(void);

/* Dies of worker->held_signal, which came when worker->is_sending was true. Returns only if the
 * application's own handler of the signal does. */
void crash_take_held(void);

/* ---- commands.c ------------------------------------------------------------------------- */

/* Obeys what the master has ordered by now; may leave the process. */
void commands_run(struct worker *w);

/* ---- worker.c --------------------------------------------------------------------------- */

/* Does the worker drain, and has no connection left and none to come? */
bool worker_is_drained(const struct worker *w);

#endif
