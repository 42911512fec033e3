/* SPDX-License-Identifier: MIT
 *
 * call/ is where a worker and its application meet: the application is loaded (app), called by a
 * class of workers (call_inline, call_pool), woken (wake), watched when it forks (forked); and what
 * gcorn.h lets it ask and tell (api, app_metrics).
 *
 * call - what a class of workers is. The usual class, sync, calls on the loop's thread:
 * call_inline.h has it, and the functions that conn.c uses whatever the class. Any other class is
 * one file with a table of operations, and a row in settings/worker_classes.h.
 */
#ifndef GCORN_WORKER_CALL_CALL_H
#define GCORN_WORKER_CALL_CALL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "settings/worker_classes.h"
#include "worker/loop/types.h"

struct gcorn_environ;
struct slot_call;
struct worker;

enum called {
    CALL_DONE,
    CALL_LATER,   /* the class has the stream (stream_lend); stream_called will hand it back */
    CALL_REFUSED, /* start alone: call.refusal says with which status */
};

/* A class of workers. All but interim, send, wait_taken and the last three are called by the loop's
 * thread; those three may be called in a signal handler. */
struct call_ops {
    /* The request is complete: runs its handler; or it is held at the end of its head: asks
     * gcorn_on_head (call_handler has both). CALL_LATER here leaves the stream where it is:
     * next, which is called when nothing of earlier answers is unsent, runs the handler first. */
    enum called (*start)(struct worker *w, struct stream *s);

    /* The next piece of its answer, into x->out and x->piece; x->more says whether others
     * follow. */
    enum called (*next)(struct worker *w, struct stream *s);

    /* The request is over, and its environ is given back. */
    enum called (*end)(struct worker *w, struct stream *s);

    /* The request whose call runs on this thread has made interim answers: has the loop send them
     * (send_handed). */
    void (*interim)(struct worker *w, struct stream *s);

    /* Would another request wait for a call to end? */
    bool (*is_busy)(const struct worker *w);

    /* Waits for the calls that run, runs those of CALL_END that wait, drops the others, and frees
     * what the class has. */
    void (*stop)(struct worker *w);

    /* The call's thread has pushed bytes (push.h): has stream_send_pushed called on the loop's. */
    void (*send)(struct worker *w, struct stream *s);

    /* Its client has not taken enough of them: waits until the loop has taken some, or for less
     * than a second. False: the call must end. */
    bool (*wait_taken)(struct worker *w, struct stream *s);

    /* The threads that call; the one's id, 0 before it has begun; whose request it runs, or
     * NULL. */
    unsigned (*thread_count)(const struct worker *w);
    pid_t (*thread_id)(const struct worker *w, unsigned i);
    const struct stream *(*serving)(const struct worker *w, unsigned i);
};

/* What begins a class: sets w->calls, or ends the process when the class cannot begin. */
#define WORKER_CLASS_OPEN(id, name, runs_threads, open, help) void open(struct worker *w);
WORKER_CLASSES(WORKER_CLASS_OPEN)

/* Sets w->calls as the settings say: NULL for the class that calls on the loop's thread. Ends the
 * process when the class cannot begin. */
void call_open(struct worker *w);

/* The end of the class: see stop. From then on calls are made on the loop's thread. */
void call_stop(struct worker *w);

bool call_is_busy(const struct worker *w);

/* The number of threads that call, without the loop's: 0 when calls run on that one, and block it.
 * Async-signal-safe, and so are the next three. */
unsigned call_thread_count(const struct worker *w);

/* How many calls of requests can run at once, at least 1: as many of the slot's calls are in use.
 * Where they run in threads, the entry after those is the loop's, for callbacks
 * (callback/callback.h). */
unsigned call_count(const struct worker *w);

/* The thread that runs the slot's i-th call, 0 before it has begun (i == call_thread_count: the
 * loop's); and the stream whose request
 * that call is for. On the loop's thread that is also the one whose call has just ended. NULL: no
 * such stream. */
pid_t call_thread_id(const struct worker *w, unsigned i);
const struct stream *call_serving(const struct worker *w, unsigned i);

/* The status with which a request that has queued for that long is refused instead of being run; 0:
 * it is run. Any thread. */
int call_refusal(const struct stream *s, uint64_t queued_ms);

/* ---- the parts of a call ----------------------------------------------------------------- */

/* Brackets every stay of the loop's thread in application code; they do not nest. s is the
 * stream whose request is served; NULL when that is over, or the call serves no request. call_leave
 * returns how long the stay was, in nanoseconds. */
void call_enter(struct worker *w, struct stream *s, const struct gcorn_environ *env);
uint64_t call_leave(struct worker *w);

/* Shows in the slot what a thread runs from now on; for which stream's answer: s, or NULL. */
void call_show(struct slot_call *call, const struct stream *s, const struct gcorn_environ *env,
               uint64_t started_ms);

/* Runs the handler, and gcorn_on_pre_request and gcorn_on_head before it, each once for a request.
 * There is no body afterwards when the request goes on first (response_ask). Any thread. */
void call_handler(const struct worker *w, struct gcorn_environ *env);

/* Makes the next piece of the answer on this thread, the loop's. */
void call_make_piece(struct worker *w, struct stream *s);

/* Notes for a crash how far the answer is, after a piece was made. */
void call_note_piece(struct stream *s);

/* Does ending the request run the application's code? */
bool call_end_runs_app(const struct worker *w, const struct gcorn_environ *env);

/* Counts a request for max_requests. The loop's thread. */
void call_count_run(struct worker *w, const struct gcorn_environ *env);

/* Closes the body, runs deferred functions and gcorn_on_post_request, resets env. Any thread. */
void call_end_environ(const struct worker *w, struct gcorn_environ *env);

/* All of that on the loop's thread, bracketed where it runs the application's code; env is given
 * back to its pool. */
void call_finish(struct worker *w, struct gcorn_environ *env);

#endif
