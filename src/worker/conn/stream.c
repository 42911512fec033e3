/* SPDX-License-Identifier: MIT
 *
 * See stream.h. The path of a request, in the order of this file from the bottom up:
 *
 *   stream_answer   the application, called by read.c; its answer into `out`
 *   stream_flush    one write at once (send.c); EV_WRITE only when that cannot
 *
 * An answer that waits for its application (wake.h) holds no buffer, and its client is read from:
 * one that leaves ends it.
 */
#include "worker/conn/stream.h"

#include <assert.h>

#include "base/log.h"
#include "worker/call/call.h"
#include "worker/call/call_inline.h"
#include "worker/call/push.h"
#include "worker/call/wake.h"
#include "worker/conn/conn.h"
#include "worker/conn/fair_close.h"
#include "worker/conn/peer.h"
#include "worker/conn/read.h"
#include "worker/conn/receive.h"
#include "worker/conn/send.h"
#include "worker/loop/clock.h"
#include "worker/loop/counts.h"
#include "worker/loop/pools.h"
#include "worker/loop/run_queue.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum {
    CALL_LONG_NS = 1000000, /* in a call this long, an order may have come */
    LOG_EVERY_MS = 10000,   /* that a body cannot be kept */
};

static struct worker *worker_of_stream(const struct stream *s)
{
    return worker_of(conn_of(s));
}

/* ---- the end of a request ---------------------------------------------------------------- */

/* The application may ask for the request, and so for its connection, until the call is over; what
 * it makes is put into buffers that no other thread has. */
void stream_lend(struct stream *s)
{
    struct conn *c = conn_of(s);

    send_return_buffer(s);
    conn_set(c, (enum conn_state)c->state, STREAM_CALLING);
}

void stream_forget_request(struct stream *s)
{
    worker_keep_environ(worker_of_stream(s), s->env);
    wake_forget(s);
    s->env = NULL;
}

/* The request is over. SOME: but for the application, which has to hear of it. */
static enum flushed end_request(struct stream *s)
{
    return call_end(worker_of_stream(s), s) == CALL_LATER ? FLUSHED_SOME : FLUSHED_ALL;
}

static void drop_pushed(struct stream *s)
{
    push_drop_unsent(s);
    push_release(s);
}

enum flushed stream_abandon(struct stream *s)
{
    struct worker *w = worker_of_stream(s);

    if (stream_has_begun(s)) {
        if (!stream_is_answering(s) && !s->was_asked)
            worker_note_begun(w);
        if (!s->env->response.ended)
            s->env->response.ended = "client gone";
        if (s->env->request.ahead)
            s->env->request.ahead->is_lost = true;
        if (s->x->push)
            drop_pushed(s);
        response_abandon(s->env);
        worker_note_answer(w, s->env, w->now_ns - s->x->request_ns);
    }
    s->runs = s->was_asked = false;
    return s->env ? end_request(s) : FLUSHED_ALL;
}

/* ---- answers ----------------------------------------------------------------------------- */

/* The answer's last byte is in `out`, or sent; with a pool, sent. */
static enum flushed end_answer(struct stream *s)
{
    struct conn *c = conn_of(s);
    struct worker *w = worker_of(c);
    struct gcorn_environ *env = s->env;

    s->runs = s->was_asked = false;
    s->has_answered = true;
    if (env->response.broken && !env->response.ended)
        env->response.ended = "application";
    if (env->h1.close || env->response.broken)
        c->closing = true;
    /* by saying so, the client sends nothing more (RFC 9112 9.6); but old ones send a CRLF after a
     * body (2.2) */
    if (!env->request.keep_alive && env->request.state == REQUEST_DONE &&
        request_body_len(&env->request) == 0)
        c->wire.peer_ended = true;
    worker_note_answer(w, env, w->now_ns - s->x->request_ns);
    return end_request(s);
}

/* False: the client has taken nothing since it was last waited for, and sends the body meanwhile. */
static bool takes_bytes(struct stream *s, enum stream_phase phase)
{
    struct exchange *x = s->x;
    size_t left =
        x->out.len - x->out_sent + x->piece_len + (s->env ? (size_t)s->env->response.file.left : 0);
    bool is_stuck = phase == STREAM_DUPLEX && s->phase == phase && left == x->stuck_len;

    x->stuck_len = left;
    return !is_stuck;
}

static enum flushed __attribute__((noinline)) wait_writable(struct stream *s)
{
    enum stream_phase phase = receive_is_on(s) ? receive_phase_sending(s) : STREAM_SENDING;

    if (s->x->out_sent == s->x->out.len)
        send_return_buffer(s);
    if (takes_bytes(s, phase)) /* else its write_timeout goes on */
        conn_set(conn_of(s), CONN_OPEN, phase);
    return FLUSHED_SOME;
}

/* In a queue, for the kernel finds those that can be written to in the same order each time, and the
 * first would always have the whole of a pass. */
enum flushed stream_wait_turn(struct stream *s)
{
    if (s->x->out_sent == s->x->out.len)
        send_return_buffer(s);
    conn_set(conn_of(s), CONN_OPEN, STREAM_READY);
    worker_queue_stream(worker_of_stream(s), s);
    return FLUSHED_SOME;
}

/* The application has nothing yet. */
static enum flushed __attribute__((noinline)) wait_woken(struct stream *s)
{
    struct conn *c = conn_of(s);

    if (receive_is_on(s))
        return receive_wait(s);
    send_return_buffer(s);
    conn_set(c, CONN_OPEN, read_may_go_ahead(c) ? STREAM_WAITING : STREAM_PAUSED);
    return FLUSHED_SOME;
}

/* What has become of sending. */
static enum flushed flushed_out(struct stream *s, enum send_result sent)
{
    switch (sent) {
    case SEND_ALL: return FLUSHED_ALL;
    case SEND_FULL: return wait_writable(s);
    case SEND_TURN_OVER: return stream_wait_turn(s);
    case SEND_FAILED: break;
    }
    conn_drop(conn_of(s));
    return FLUSHED_FAILED;
}

/* An answer without length ends with the connection, so one that is cut short must not end in an
 * orderly way: it would look whole. */
static enum flushed reset_broken(struct stream *s)
{
    struct conn *c = conn_of(s);

    if (!s->env->response.ended)
        s->env->response.ended = "application";
    wire_reset(&c->wire);
    conn_drop(c);
    return FLUSHED_FAILED;
}

/* The handler has heard that no more is sent, and has returned. */
static enum flushed end_pushed(struct stream *s, enum push_end end)
{
    struct conn *c = conn_of(s);

    s->env->response.ended = push_end_name(end);
    if (s->env->h1.framing == FRAMING_CLOSE)
        wire_reset(&c->wire);
    conn_drop(c);
    return FLUSHED_FAILED;
}

/* The handler has returned; what it has pushed comes before what it has returned. */
static enum flushed flush_pushed(struct stream *s)
{
    enum push_end end = push_ended(s->x->push);
    enum send_result sent = end == PUSH_GOES_ON ? send_pushed(s) : SEND_FAILED;

    if (end == PUSH_GOES_ON)
        end = push_ended(s->x->push); /* it may have been lost just now */
    if (end != PUSH_GOES_ON)
        return end_pushed(s, end);
    if (sent == SEND_ALL)
        push_release(s);
    return flushed_out(s, sent);
}

enum flushed stream_flush(struct stream *s)
{
    struct worker *w = worker_of_stream(s);

    for (;;) {
        enum flushed flushed = flushed_out(s, send_out(s));

        if (flushed != FLUSHED_ALL)
            return flushed;
        if (!stream_is_answering(s))
            return FLUSHED_ALL;
        if (!s->x->more) {
            if (s->env->response.broken && s->env->h1.framing == FRAMING_CLOSE)
                return reset_broken(s);
            return end_answer(s);
        }
        if (s->x->push) {
            flushed = flush_pushed(s);
            if (flushed != FLUSHED_ALL)
                return flushed;
        }
        if (s->env->response.file.left > 0) {
            flushed = flushed_out(s, send_file(s));
            if (flushed != FLUSHED_ALL)
                return flushed;
            if (s->x->more)
                call_make_piece(w, s); /* at once: its line in the access log is there already */
            continue;
        }
        if (s->env->response.waits)
            return wait_woken(s);
        if (worker_pass_is_long(w))
            return stream_wait_turn(s);
        if (call_next(w, s) == CALL_LATER)
            return FLUSHED_SOME;
    }
}

/* ---- refused ----------------------------------------------------------------------------- */

static void log_not_kept(struct worker *w, const char *reason)
{
    uint64_t now = w->now_ns / 1000000;

    if (w->upload_logged_ms != 0 && now < w->upload_logged_ms + LOG_EVERY_MS)
        return;
    w->upload_logged_ms = now;
    log_errorx("cannot keep a request body in %s: %s (logged at most every %d s)",
               w->http.limits.body_place.dir, reason, LOG_EVERY_MS / 1000);
}

void stream_refuse(struct stream *s, int status, const char *reason)
{
    struct conn *c = conn_of(s);
    struct worker *w = worker_of(c);
    struct gcorn_environ *env = s->env;

    log_debug("refused a request of %s: %d: %s",
              *c->peer.seen.remote_addr ? c->peer.seen.remote_addr : "a unix peer", status, reason);
    if (env->request.foreign != FOREIGN_UNKNOWN)
        peer_log_foreign(&c->peer, &w->peers, env->request.foreign, status);
    if (!s->runs && !s->was_asked)
        worker_note_begun(w);
    if (status == 507)
        log_not_kept(w, reason);
    send_borrow_buffer(s);
    response_refuse(env, status, reason);
    env->h1.close = true;
    s->x->lingering.announced = request_announced(&env->request);
    s->x->more = framing_h1_next(env, &s->x->out, &s->x->piece, &s->x->piece_len);
    assert(!s->x->more && s->x->piece_len == 0);
    call_note_piece(s);
    s->runs = true; /* it ends when this is sent */
}

/* The request is not run, although it has been counted as begun. */
static void turn_away(struct stream *s)
{
    struct slot_counts *counts = &worker_of_stream(s)->slot->counts;

    s->x->more = false;
    if (s->x->call.refusal == 499) {
        counts->gone++;
        s->env->response.ended = "client gone";
        stream_refuse(s, 499, "the client had left before its request was run");
    } else {
        counts->shed++;
        stream_refuse(s, 503, "the request has waited too long");
    }
    s->env->was_run = s->env->response.head_step == HEAD_PASSED;
}

/* ---- the call ---------------------------------------------------------------------------- */

static bool ends_conn(struct stream *s)
{
    struct worker *w = worker_of_stream(s);

    if (!s->env->request.keep_alive || w->answers_close)
        return true;
    if (!fair_close_is_due(&w->fair, w->now_ns / 1000000))
        return false;
    w->slot->counts.fair_closes++;
    return true;
}

/* The application answers before the request's last byte, or reads its body from now on. */
static bool __attribute__((noinline)) begin_ahead(struct stream *s, bool closes)
{
    s->x->pace = (struct body_pace){.since_ms = worker_client_ms(worker_of_stream(s))};
    return receive_leave_rest(s, closes);
}

static bool must_close(struct stream *s)
{
    bool closes = ends_conn(s);

    return __builtin_expect(s->env->request.state == REQUEST_DONE, 1) ? closes
                                                                      : begin_ahead(s, closes);
}

/* From now on the request is the application's, as far as a crash is concerned. */
static void begin_answer(struct stream *s)
{
    struct conn *c = conn_of(s);
    struct worker *w = worker_of(c);
    struct gcorn_environ *env = s->env;

    env->was_run = true;
    if (__builtin_expect(!s->was_asked, 1)) { /* else it is counted */
        worker_note_begun(w);
        if (env->request.forwarded && env->request.forwarded->distrusted)
            peer_log_distrust(&c->peer, &w->peers, env->request.forwarded->distrusted);
    }
    s->x->whole_len = s->x->out.len;
    s->x->is_head = env->request.is_head;
    atomic_signal_fence(memory_order_seq_cst); /* a crash of a request that runs reads both */
    s->runs = true;
}

/* gcorn_on_head has seen the request, which is answered only when its body has come: the stream
 * reads it; or now, when the body is too large. */
static void __attribute__((noinline)) await_body(struct stream *s)
{
    const struct request *r = &s->env->request;

    s->was_asked = true;
    s->runs = s->x->more = false;
    if (request_is_refused(r))
        stream_refuse(s, r->refusal, r->refusal_reason);
}

/* The same of one that has pushed. Its answer goes on when what waits is sent, which is dropped where
 * no more is sent. */
static void __attribute__((noinline)) pushed_done(struct stream *s)
{
    struct push *p = s->x->push;

    commands_run(worker_of_stream(s));
    if (s->env->request.state != REQUEST_DONE)
        (void)begin_ahead(s, true); /* the head has said so */
    response_end_pushes(s->env);
    if (p && push_ended(p) != PUSH_GOES_ON)
        push_drop_unsent(s);
}

/* The application has been called. True: there is an answer, of which nothing has left. */
static bool handler_done(struct stream *s)
{
    struct worker *w = worker_of_stream(s);
    uint64_t serial = conn_of(s)->serial;

    fair_close_note_call(&w->fair, serial, w->last_call_ns / 1000000, w->now_ns / 1000000);
    if (w->last_call_ns > CALL_LONG_NS)
        commands_run(w); /* if the master says stop meanwhile, this answer closes */
    if (__builtin_expect(!s->env->response.body, 0)) {
        await_body(s);
        return false;
    }
    if (s->env->response.phase != RESPONSE_OPEN) {
        pushed_done(s);
        return false;
    }
    s->env->h1.close = must_close(s);
    s->env->response.takes_files = true;
    return true;
}

void stream_answer(struct stream *s)
{
    struct worker *w = worker_of_stream(s);

    begin_answer(s);
    switch (call_start(w, s)) {
    case CALL_REFUSED: turn_away(s); return;
    case CALL_LATER: s->x->more = true; return; /* all of it: stream_flush asks for that */
    case CALL_DONE: break;
    }
    if (handler_done(s) && call_next(w, s) == CALL_DONE && !s->x->more && s->x->piece_len == 0 &&
        !s->env->response.broken)
        (void)end_answer(s);
}

/* ---- events ------------------------------------------------------------------------------ */

/* The answer goes on; when it has ended, what the client has sent meanwhile is worked. */
void stream_resume(struct stream *s)
{
    struct conn *c = conn_of(s);

    if (receive_is_on(s) && s->env->response.waits && !receive_kept(s))
        return;
    send_borrow_buffer(s);
    if (stream_flush(s) != FLUSHED_ALL)
        return;
    if (c->closing)
        read_settle(c);
    else
        read_unparsed(c);
}

void stream_note_turn(struct stream *s)
{
    const struct worker *w = worker_of_stream(s);

    s->x->arrived_ns = w->now_ns - worker_waited_ns(w);
}

/* A thread has run the handler, or found that it is too late for that. */
static void handler_called(struct stream *s)
{
    struct worker *w = worker_of_stream(s);
    uint64_t waited_ms = (s->x->call.taken_ns - s->x->call.handed_ns) / 1000000;

    if (s->x->call.refusal != 0) {
        turn_away(s);
        return;
    }
    fair_close_note_wait(&w->fair, conn_of(s)->serial, waited_ms, w->now_ns / 1000000);
    (void)handler_done(s);
}

static void next_called(struct stream *s)
{
    call_note_piece(s);
    if (s->x->call.woken)
        s->env->response.waits = false;
}

static void end_called(struct stream *s)
{
    struct conn *c = conn_of(s);

    stream_forget_request(s);
    if (c->state == CONN_CLOSED)
        conn_free(c);
    else
        read_unparsed(c);
}

/* In the class sync the call holds this thread, and the connection's state stays as it is. */
void stream_send_pushed(struct stream *s)
{
    struct slot_counts *counts = &worker_of_stream(s)->slot->counts;
    uint64_t before = counts->bytes_out;
    bool is_lent = stream_is_lent(s);
    enum send_result sent;

    if (s->x->early.data)
        send_join_early(s);
    do {
        sent = send_pushed(s);
    } while (sent == SEND_TURN_OVER && !is_lent);
    if (sent == SEND_FAILED)
        push_end(s->x->push, PUSH_CLIENT_GONE);
    if (!is_lent)
        return;
    if (sent == SEND_ALL || sent == SEND_FAILED)
        conn_set(conn_of(s), CONN_OPEN, STREAM_CALLING);
    else if (s->phase == STREAM_CALLING || counts->bytes_out != before)
        conn_set(conn_of(s), CONN_OPEN, STREAM_PUSHING);
}

void stream_called(struct stream *s)
{
    struct conn *c = conn_of(s);

    conn_set(c, (enum conn_state)c->state, STREAM_READY); /* it is the loop's; `out` is whole */
    if (s->x->early.data)
        send_join_early(s);
    if (s->x->call.kind == CALL_END) {
        end_called(s);
        return;
    }
    if (s->x->call.kind <= CALL_HANDLER)
        handler_called(s);
    else
        next_called(s);
    stream_resume(s);
}

/* A stream whose earlier answers are still being sent goes on after them. */
void stream_wake(struct stream *s)
{
    if (stream_is_lent(s))
        s->x->call.woken = true;
    else if (s->env)
        s->env->response.waits = false;
    if (!stream_is_waiting(s))
        return;
    wake_stop(s);
    stream_note_turn(s);
    stream_resume(s);
}
