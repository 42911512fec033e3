/* SPDX-License-Identifier: MIT
 *
 * See conn.h. The path of a request, in the order of this file from the bottom up:
 *
 *   on_io -> conn_read -> conn_work     bytes into request_feed; complete: conn_answer
 *            conn_answer                the application, its answer into `out`
 *            conn_flush                 one write at once (send.c); EV_WRITE only when that cannot
 *            conn_settle                what the connection waits for next
 *
 * Invariants: a connection that writes does not read, so answers stay in order and a client that
 * does not take them cannot make the worker buffer more. Unparsed bytes are worked before the loop
 * waits. `env` is there from a request's first byte to its answer's last. An answer that waits for
 * its application (wake.h) holds no buffer, and its client is listened to: one that leaves ends it.
 *
 * A class of workers that calls in threads (call.h) takes the connection for the time of a call
 * (conn_lend), with nothing unsent; conn_called goes on where that stopped. Meanwhile nothing is
 * read: a client that leaves is noticed when the call is over.
 */
#include "worker/conn/conn.h"

#include <assert.h>
#include <errno.h>

#include "base/log.h"
#include "base/util.h"
#include "worker/conn/queue_delay.h"
#include "worker/call/call_inline.h"
#include "worker/call/forked.h"
#include "worker/commands.h"
#include "worker/conn/send.h"
#include "worker/conn/admission.h"
#include "worker/worker.h"

enum {
    CALL_LONG_NS = 1000000,  /* in a call this long, an order may have come */
    OUT_MAX = 64 * 1024,     /* gathered answers are written out past this */
    WAIT_IN_MAX = 64 * 1024, /* read from a client whose answer waits, at most */
    SAID_EVERY_MS = 10000,   /* that a body cannot be kept */
};

/* SOME: there is more to come, and the connection waits for what it needs. FAILED: it is gone. */
enum flushed { FLUSHED_ALL, FLUSHED_SOME, FLUSHED_FAILED };

/* ---- state ------------------------------------------------------------------------------- */

/* What a connection waits for in each state. */
static const struct {
    int events;
    enum timer_kind timer;
} waits[] = {
    [CONN_FREE] = {0, TIMER_NONE},         [CONN_IDLE] = {EV_READ, TIMER_KEEPALIVE},
    [CONN_HEAD] = {EV_READ, TIMER_HEADER}, [CONN_BODY] = {EV_READ, TIMER_BODY},
    [CONN_QUEUED] = {0, TIMER_NONE},       [CONN_WRITE] = {EV_WRITE, TIMER_WRITE},
    [CONN_WAIT] = {EV_READ, TIMER_NONE},   [CONN_DEAF] = {0, TIMER_NONE},
    [CONN_CALLING] = {0, TIMER_NONE},      [CONN_LINGER] = {EV_READ, TIMER_LINGER},
};

/* `events`: what the connection waits for; its wire may need others for that. */
static void watch(struct conn *c, int events)
{
    struct ev_loop *loop = worker_of(c)->loop;

    if (ev_is_active(&c->io) && (c->io.events & (EV_READ | EV_WRITE)) == events &&
        !c->wire.wants_write)
        return;
    ev_io_stop(loop, &c->io);
    if (events != 0) {
        ev_io_set(&c->io, c->wire.fd, wire_wants(&c->wire, events));
        ev_io_start(loop, &c->io);
    }
}

/* It is in a list of those that are in its state, and goes on to another one. */
static void __attribute__((noinline)) leave_list(struct conn *c, enum conn_state next)
{
    struct worker *w = worker_of(c);

    if (c->state != CONN_BODY) {
        w->slot->waiting = --worker_of(c)->waiting_count;
        wake_stop(c);
    } else if (next != CONN_BODY) {
        room_body_ends(w, c);
    }
}

/* The only place that changes what a connection waits for. A head's timer runs from its first byte
 * on, which may have come with the end of the request before; every other one begins anew with each
 * progress. */
static void conn_set_state(struct conn *c, enum conn_state state)
{
    if (state == CONN_HEAD && c->state == CONN_HEAD && !c->has_answered)
        return;
    if (c->state >= CONN_BODY && c->state <= CONN_DEAF)
        leave_list(c, state);
    c->state = state;
    if (conn_is_waiting(c)) {
        worker_of(c)->slot->waiting = ++worker_of(c)->waiting_count;
        wake_wait(c);
    }
    watch(c, waits[state].events);
    if (waits[state].timer == TIMER_NONE)
        timer_clear(&c->timer);
    else
        worker_set_timer(worker_of(c), c, waits[state].timer);
}

/* Is env's answer under way, rather than its request? */
static bool is_answering(const struct conn *c)
{
    return c->runs;
}

static bool is_awaiting_request(const struct conn *c)
{
    return (c->state == CONN_IDLE || c->state == CONN_HEAD) &&
           (!c->env || !request_has_begun(&c->env->request));
}

/* The application may ask for the request, and so for its connection, until the call is over; what
 * it makes is put into buffers that nobody else has. */
void conn_lend(struct conn *c)
{
    out_return(c);
    conn_set_state(c, CONN_CALLING);
}

void conn_forget_request(struct conn *c)
{
    worker_keep_environ(worker_of(c), c->env);
    wake_forget(&c->waiter, &c->x->alarm);
    c->env = NULL;
}

/* The request is over. SOME: but for the application, which has to hear of it. */
static enum flushed end_request(struct conn *c)
{
    return call_end(worker_of(c), c) == CALL_LATER ? FLUSHED_SOME : FLUSHED_ALL;
}

/* Nothing is in flight any more. */
static void end_exchange(struct conn *c)
{
    worker_give_exchange(worker_of(c), c->x);
    c->x = NULL;
}

/* Its descriptor is closed, and its request over. */
static void conn_free(struct conn *c)
{
    struct worker *w = worker_of(c);

    conn_set_state(c, CONN_FREE);
    if (c->x) {
        strbuf_release(&c->x->in);
        strbuf_release(&c->x->out);
        *c->x = (struct exchange){0};
        end_exchange(c);
    }
    peer_close(&c->peer);
    worker_give_conn(w, c);
}

void conn_drop(struct conn *c)
{
    struct worker *w = worker_of(c);

    conn_set_state(c, CONN_FREE);
    forked_forget_fd(c->wire.fd);
    wire_close(&c->wire);
    if (conn_has_begun(c)) {
        if (!is_answering(c))
            worker_note_begun(w);
        if (!c->env->response.ended)
            c->env->response.ended = "client gone";
        response_abandon(c->env);
        worker_note_answer(w, c->env, w->now_ns - c->x->request_ns);
    }
    c->runs = false;
    if (!c->env || end_request(c) == FLUSHED_ALL)
        conn_free(c);
}

/* Everything is sent, and nothing more is taken: unless the client has said that it is done and
 * sent nothing behind that, only our side is closed, and the client's bytes are read (linger.h). */
static void conn_finish(struct conn *c)
{
    bool is_done = c->wire.peer_ended && c->x->in.len == 0;

    linger_begin(&c->lingering, c->x->in.len, worker_client_ms(worker_of(c)));
    strbuf_release(&c->x->in);
    if (is_done || wire_shutdown(&c->wire) < 0) {
        conn_drop(c);
        return;
    }
    conn_set_state(c, CONN_LINGER);
    end_exchange(c);
}

static void conn_linger(struct conn *c)
{
    struct worker *w = worker_of(c);
    ssize_t n = wire_read(&c->wire, w->in, WORKER_IN_SIZE);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_drop(c);
        return;
    }
    w->slot->counts.bytes_in += (uint64_t)n;
    switch (linger_note(&c->lingering, (size_t)n, w->config->body_min_rate, worker_client_ms(w))) {
    case LINGER_RENEW: worker_set_timer(w, c, TIMER_LINGER); break;
    case LINGER_WHOLE: worker_set_timer(w, c, TIMER_LINGER_WHOLE); break;
    case LINGER_LAST: break;
    case LINGER_OVER: conn_drop(c); break;
    }
}

/* An answer without length ends with the connection, so one that is cut short must not end in an
 * orderly way: it would look whole. */
static void conn_abort(struct conn *c)
{
    c->env->response.ended = "application";
    wire_reset(&c->wire);
    conn_drop(c);
}

/* ---- answers ----------------------------------------------------------------------------- */

/* The answer's last byte is in `out`, or sent; with a pool, sent. */
static enum flushed end_answer(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct gcorn_environ *env = c->env;

    c->runs = false;
    c->has_answered = true;
    if (env->response.broken)
        env->response.ended = "application";
    if (env->h1.close || env->response.broken)
        c->closing = true;
    /* by saying so, the client sends nothing more (RFC 9112 9.6); but old ones send a CRLF behind a
     * body (2.2) */
    if (!env->request.keep_alive && env->request.state == REQUEST_DONE &&
        env->request.body.len == 0)
        c->wire.peer_ended = true;
    worker_note_answer(w, env, w->now_ns - c->x->request_ns);
    return end_request(c);
}

static enum flushed wait_writable(struct conn *c)
{
    if (c->x->out_sent == c->x->out.len)
        out_return(c);
    conn_set_state(c, CONN_WRITE);
    return FLUSHED_SOME;
}

/* The client takes what it gets as fast as it is made: others have their turn. In a queue, for the
 * kernel finds those that can be written to in the same order each time, and the first would always
 * have the whole of a pass. */
static enum flushed wait_turn(struct conn *c)
{
    if (c->x->out_sent == c->x->out.len)
        out_return(c);
    conn_set_state(c, CONN_QUEUED);
    worker_queue_conn(worker_of(c), c);
    return FLUSHED_SOME;
}

/* The application has nothing yet. The client is heard meanwhile: it may leave. */
static enum flushed wait_woken(struct conn *c)
{
    out_return(c);
    conn_set_state(c, c->x->in.len < WAIT_IN_MAX && !c->wire.peer_ended ? CONN_WAIT : CONN_DEAF);
    return FLUSHED_SOME;
}

/* What has become of sending. */
static enum flushed flushed_out(struct conn *c, enum out_sent sent)
{
    switch (sent) {
    case OUT_ALL: return FLUSHED_ALL;
    case OUT_FULL: return wait_writable(c);
    case OUT_TURN: return wait_turn(c);
    case OUT_FAILED: break;
    }
    conn_drop(c);
    return FLUSHED_FAILED;
}

/* Writes what there is, and what the answer still yields, until the socket is full or the
 * application has nothing. FAILED: the connection is gone. */
static enum flushed conn_flush(struct conn *c)
{
    struct worker *w = worker_of(c);

    for (;;) {
        enum flushed flushed = flushed_out(c, out_send(c));

        if (flushed != FLUSHED_ALL)
            return flushed;
        if (!is_answering(c))
            return FLUSHED_ALL;
        if (!c->x->more) {
            if (c->env->response.broken && c->env->h1.framing == FRAMING_CLOSE) {
                conn_abort(c);
                return FLUSHED_FAILED;
            }
            return end_answer(c);
        }
        if (c->env->response.file.left > 0) {
            flushed = flushed_out(c, out_send_file(c));
            if (flushed != FLUSHED_ALL)
                return flushed;
            if (c->x->more)
                call_make_piece(w, c); /* at once: its line in the access log is there already */
            continue;
        }
        if (c->env->response.waits)
            return wait_woken(c);
        if (worker_pass_is_long(w))
            return wait_turn(c);
        if (call_next(w, c) == CALL_LATER)
            return FLUSHED_SOME;
    }
}

struct conn *conn_of(const struct worker *w, const struct gcorn_environ *env)
{
    uintptr_t of_first = (uintptr_t)w->conns + offsetof(struct conn, peer.seen);
    size_t place = ((uintptr_t)env->peer - of_first) / sizeof(struct conn);

    return place < w->max_conns ? &w->conns[place] : NULL;
}

static void log_not_kept(struct worker *w, const char *reason)
{
    uint64_t now = w->now_ns / 1000000;

    if (w->upload_said_ms != 0 && now < w->upload_said_ms + SAID_EVERY_MS)
        return;
    w->upload_said_ms = now;
    log_errorx("cannot keep a request body in %s: %s (logged at most every %d s)",
               w->http.limits.body_dir, reason, SAID_EVERY_MS / 1000);
}

/* The one epilogue of everything that is refused. */
static void conn_refuse(struct conn *c, int status, const char *reason)
{
    struct gcorn_environ *env = c->env;

    log_debug("refused a request of %s: %d: %s",
              *c->peer.seen.remote_addr ? c->peer.seen.remote_addr : "a unix peer", status, reason);
    if (env->request.foreign != FOREIGN_UNKNOWN)
        peer_log_foreign(&c->peer, &worker_of(c)->peers, env->request.foreign, status);
    if (!env->was_run)
        worker_note_begun(worker_of(c));
    if (status == 507)
        log_not_kept(worker_of(c), reason);
    out_borrow(c);
    response_refuse(env, status, reason);
    env->h1.close = true;
    c->lingering.announced = request_announced(&env->request);
    c->x->more = framing_h1_next(env, &c->x->out, &c->x->piece, &c->x->piece_len);
    assert(!c->x->more && c->x->piece_len == 0);
    call_note_piece(c);
    c->runs = true; /* it ends when this is sent */
}

static bool must_close(const struct conn *c)
{
    struct worker *w = worker_of(c);

    if (!c->env->request.keep_alive || w->answers_close || w->config->keepalive_ms == 0)
        return true;
    if (!fair_lets_go(&w->fair, w->now_ns / 1000000))
        return false;
    w->slot->counts.fair_closes++;
    return true;
}

/* It is not run, although it has been counted as begun. */
static void turn_away(struct conn *c)
{
    struct slot_counts *counts = &worker_of(c)->slot->counts;

    c->runs = c->x->more = false;
    if (c->x->call.refusal == 499) {
        counts->gone++;
        c->env->response.ended = "client gone";
        conn_refuse(c, 499, "the client had left before its request was run");
    } else {
        counts->shed++;
        conn_refuse(c, 503, "the request has waited too long");
    }
    c->env->was_run = false;
}

/* From now on the request is the application's, as far as a crash is concerned. */
static void begin_answer(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct gcorn_environ *env = c->env;

    env->was_run = true;
    worker_note_begun(w);
    if (env->request.forwarded && env->request.forwarded->distrusted)
        peer_log_distrust(&c->peer, &w->peers, env->request.forwarded->distrusted);
    c->runs = true;
    c->x->answer_begun = c->x->close_delimited = false;
    c->x->whole_len = c->x->out.len;
    c->x->is_head = env->request.is_head;
}

/* The handler has been run. */
static void handler_done(struct conn *c)
{
    struct worker *w = worker_of(c);

    fair_note_call(&w->fair, c->serial, w->last_call_ns / 1000000, w->now_ns / 1000000);
    if (w->last_call_ns > CALL_LONG_NS)
        commands_run(w); /* told to stop meanwhile: then this answer says so */
    c->env->h1.close = must_close(c);
    c->env->response.takes_files = true;
}

/* The request is complete: the application's turn. */
static void conn_answer(struct conn *c)
{
    struct worker *w = worker_of(c);

    begin_answer(c);
    switch (call_start(w, c)) {
    case CALL_REFUSED: turn_away(c); return;
    case CALL_LATER: c->x->more = true; return; /* all of it: conn_flush asks for that */
    case CALL_DONE: break;
    }
    handler_done(c);
    if (call_next(w, c) == CALL_DONE && !c->x->more && c->x->piece_len == 0 &&
        !c->env->response.broken)
        (void)end_answer(c);
}

/* ---- requests ---------------------------------------------------------------------------- */

/* RFC 9110 10.1.1: only a client that waits for it is told to go on, and only for a body that is
 * wanted; that it is not refused by now means that it is. */
static void send_continue(struct conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *r = &c->env->request;

    if (!r->expects_continue || !request_in_body(r))
        return;
    r->expects_continue = false;
    if (r->body.len == 0 && r->chunk.digits == 0)
        strbuf_add(&c->x->out, text, sizeof(text) - 1);
}

/* For the next request, or, when the connection closes, as the sign that the client sends on. */
static void keep_unparsed(struct conn *c, const char *data, size_t len)
{
    if (len > 0)
        strbuf_add(&c->x->in, data, len);
}

static void conn_settle(struct conn *c);

static void refuse_late(struct conn *c, const char *reason)
{
    conn_refuse(c, 408, reason);
    if (conn_flush(c) == FLUSHED_ALL)
        conn_settle(c);
}

/* The request did not come in time. */
static void conn_time_out_request(struct conn *c)
{
    refuse_late(c, request_in_body(&c->env->request) ? "the body did not come in time"
                                                     : "the head did not come in time");
}

static bool trickles(const struct conn *c)
{
    const struct worker *w = worker_of(c);

    return timers_is_trickle(c->env->request.body.len, worker_client_ms(w) - c->x->body_ms,
                             w->config->body_timeout_ms, w->config->body_min_rate);
}

/* All answers are in the kernel's hands: what next? */
static void conn_settle(struct conn *c)
{
    out_return(c);
    if (c->closing) {
        conn_finish(c);
        return;
    }
    if (c->x->in.len > 0 || c->wire.has_pending) {
        conn_set_state(c, CONN_QUEUED);
        worker_queue_conn(worker_of(c), c);
    } else if (!c->env) {
        conn_set_state(c, CONN_IDLE);
        end_exchange(c);
    } else if (request_in_body(&c->env->request)) {
        if (c->state == CONN_BODY && c->has_answered)
            room_body_ends(worker_of(c), c); /* of the request before */
        if (c->state != CONN_BODY || c->has_answered)
            room_body_begins(worker_of(c), c);
        c->has_answered = false;
        conn_set_state(c, CONN_BODY);
        if (trickles(c))
            conn_time_out_request(c);
    } else {
        conn_set_state(c, CONN_HEAD);
        c->has_answered = false;
    }
}

/* Works bytes of requests, in order, until they are used up, or the socket is full, or others
 * should have a turn. data is not what `in` holds. */
static void conn_work(struct conn *c, const char *data, size_t len)
{
    struct worker *w = worker_of(c);
    enum flushed flushed = FLUSHED_ALL;

    out_borrow(c);
    while (len > 0 && !c->closing && flushed == FLUSHED_ALL) {
        /* answers gather in one write, but none waits for a call that may be long */
        if (c->x->out.len > 0 && w->last_call_ns > CALL_LONG_NS) {
            flushed = conn_flush(c);
            if (flushed != FLUSHED_ALL)
                break;
        }
        if (!c->env) {
            c->env = worker_take_environ(w, &c->peer.seen);
            c->x->request_ns = w->now_ns;
        }
        struct request *r = &c->env->request;
        size_t used = request_feed(r, data, len);
        data += used;
        len -= used;
        if (r->state == REQUEST_DONE)
            conn_answer(c);
        else if (r->state == REQUEST_REFUSED)
            conn_refuse(c, r->refusal, r->refusal_reason);
        else
            send_continue(c);
        if (is_answering(c) || c->x->out.len > OUT_MAX)
            flushed = conn_flush(c);
        if (worker_pass_is_long(w))
            break;
    }
    if (flushed == FLUSHED_FAILED)
        return;
    keep_unparsed(c, data, len);
    if (flushed == FLUSHED_ALL && conn_flush(c) == FLUSHED_ALL)
        conn_settle(c);
}

/* The client has sent all that it will. What it had sent whole is answered; a request cut short is
 * refused, for a client that only half closed is still listening. */
static void conn_peer_ended(struct conn *c)
{
    if (is_awaiting_request(c)) {
        conn_drop(c);
        return;
    }
    conn_refuse(c, 400, "the connection ended within the request");
    if (conn_flush(c) == FLUSHED_ALL)
        conn_settle(c);
}

/* The bytes before the first request, where a PROXY preface is asked for. The head's timer goes
 * on. Not inlined: its locals would cost every read a stack check. */
static void __attribute__((noinline))
conn_read_preface(struct conn *c, const char *data, size_t len)
{
    struct worker *w = worker_of(c);
    const char *reason;
    int status = peer_feed(&c->peer, &w->peers, &data, &len, &reason);

    if (status == 0) {
        if (len > 0)
            conn_work(c, data, len);
        return;
    }
    c->env = worker_take_environ(w, &c->peer.seen);
    c->x->request_ns = w->now_ns;
    conn_refuse(c, status, reason);
    if (conn_flush(c) == FLUSHED_ALL)
        conn_settle(c);
}

/* The wire had no bytes. It may wait for other events than before, or have been asked for bytes that
 * it held and that were none of HTTP. */
static void __attribute__((noinline)) conn_read_nothing(struct conn *c)
{
    if (c->x)
        c->x->may_have_queued = false; /* what comes from now on has not */
    if (wire_is_plain(&c->wire))
        return;
    if (c->state == CONN_QUEUED)
        conn_settle(c);
    else
        watch(c, waits[c->state].events);
}

static void conn_read(struct conn *c)
{
    struct worker *w = worker_of(c);
    ssize_t n = wire_read(&c->wire, w->in, WORKER_IN_SIZE);

    if (n > 0) {
        if (!c->x)
            c->x = worker_lend_exchange(w);
        c->x->arrived_ns = arrival_ns(c);
        fair_note_wait(&w->fair, c->serial, worker_waited_ns(w) / 1000000, w->now_ns / 1000000);
        w->slot->counts.bytes_in += (uint64_t)n;
        if (peer_owes_preface(&c->peer))
            conn_read_preface(c, w->in, (size_t)n);
        else
            conn_work(c, w->in, (size_t)n);
    } else if (n == 0) {
        conn_peer_ended(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_drop(c);
    } else {
        conn_read_nothing(c);
    }
}

/* Bytes that were left behind a request; or those that the wire has read and still holds. */
static void conn_work_unparsed(struct conn *c)
{
    struct strbuf in = c->x->in;

    if (in.len == 0 && c->wire.has_pending) {
        conn_read(c);
        return;
    }
    c->x->in = (struct strbuf){0};
    conn_work(c, in.data ? in.data : "", in.len);
    strbuf_release(&in);
}

/* ---- events ------------------------------------------------------------------------------ */

/* The answer goes on; when it has ended, what the client has sent meanwhile is worked. */
void conn_resume(struct conn *c)
{
    out_borrow(c);
    if (conn_flush(c) != FLUSHED_ALL)
        return;
    if (c->closing)
        conn_settle(c);
    else
        conn_work_unparsed(c);
}

/* Requests behind an answer have waited for its client, or its application, so far; from now on it
 * is for us. */
static void note_turn(struct conn *c)
{
    const struct worker *w = worker_of(c);

    c->x->arrived_ns = w->now_ns - worker_waited_ns(w);
}

/* When many clients can take more at once, those that are late in the pass come first in the next.
 */
static void conn_go_on_in_turn(struct conn *c)
{
    note_turn(c);
    if (worker_pass_is_long(worker_of(c)))
        (void)wait_turn(c);
    else
        conn_resume(c);
}

/* A thread has run the handler, or found that it is too late for that. */
static void handler_called(struct conn *c)
{
    struct worker *w = worker_of(c);
    uint64_t waited_ms = (c->x->call.taken_ns - c->x->call.handed_ns) / 1000000;

    if (c->x->call.refusal != 0) {
        turn_away(c);
        return;
    }
    fair_note_wait(&w->fair, c->serial, waited_ms, w->now_ns / 1000000);
    handler_done(c);
}

static void next_called(struct conn *c)
{
    call_note_piece(c);
    if (c->x->call.woken)
        c->env->response.waits = false;
}

static void end_called(struct conn *c)
{
    conn_forget_request(c);
    if (c->wire.fd < 0)
        conn_free(c);
    else
        conn_work_unparsed(c);
}

void conn_called(struct conn *c)
{
    conn_set_state(c, CONN_QUEUED); /* it is ours again, and what lies in out is whole */
    if (c->x->call.kind == CALL_END) {
        end_called(c);
        return;
    }
    if (c->x->call.kind == CALL_HANDLER)
        handler_called(c);
    else
        next_called(c);
    conn_resume(c);
}

/* One whose earlier answers are still on their way goes on behind them. */
void conn_wake(struct conn *c)
{
    if (c->state == CONN_CALLING)
        c->x->call.woken = true;
    else if (c->env)
        c->env->response.waits = false;
    if (!conn_is_waiting(c))
        return;
    wake_stop(c);
    note_turn(c);
    conn_resume(c);
}

/* The client of an answer that waits has sent something, or has left. One that has only closed its
 * side looks the same; who serves such clients has said so (skip_gone_after). */
static void conn_hear_waiting(struct conn *c)
{
    struct worker *w = worker_of(c);
    size_t room = c->x->in.len < WAIT_IN_MAX ? WAIT_IN_MAX - c->x->in.len : 0;
    ssize_t n = room > 0 ? wire_read(&c->wire, w->in, room) : 0;

    if (n > 0) {
        keep_unparsed(c, w->in, (size_t)n);
        w->slot->counts.bytes_in += (uint64_t)n;
    } else if (room == 0) {
        conn_set_state(c, CONN_DEAF);
    } else if (n == 0 && w->config->skip_gone_after_ms == 0) {
        conn_set_state(c, CONN_DEAF);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn_drop(c);
    }
}

static void on_io(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct conn *c = (struct conn *)(void *)((char *)io - offsetof(struct conn, io));
    struct worker *w = io->data;

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    switch (c->state) {
    case CONN_WRITE: conn_go_on_in_turn(c); break;
    case CONN_WAIT: conn_hear_waiting(c); break;
    case CONN_LINGER: conn_linger(c); break;
    default: conn_read(c); break;
    }
}

void conn_open(struct worker *w, struct wire wire, const struct http_local *local,
               const void *address)
{
    struct conn *c = worker_take_conn(w);

    assert(c && c->state == CONN_FREE);
    timer_init(&c->timer);
    ev_init(&c->io, on_io);
    c->io.data = w;
    c->wire = wire;
    c->closing = c->runs = c->has_answered = false;
    c->env = NULL;
    c->lingering.announced = 0;
    c->serial = w->slot->counts.connections;
    peer_open(&c->peer, &w->peers, local, address);
    c->x = worker_lend_exchange(w);
    c->x->may_have_queued = w->is_busy;
    c->x->request_ns = w->now_ns;
    c->x->arrived_ns = w->now_ns - worker_waited_ns(w);
    conn_set_state(c, CONN_HEAD);
    /* Its request has mostly come by now. One that is answered and closed in the same pass is never
     * told to epoll. */
    ev_feed_event(w->loop, &c->io, EV_READ);
}

/* Bytes found win: a client is judged only by what the kernel does not hold for us already. */
void conn_timed_out(struct conn *c)
{
    uint64_t deadline_ms = c->timer.deadline_ms;
    enum conn_state state = c->state;

    if (state == CONN_WRITE || state == CONN_LINGER) {
        if (is_answering(c))
            c->env->response.ended = "write_timeout";
        conn_drop(c);
        return;
    }
    conn_read(c);
    if (c->state != state || c->timer.deadline_ms != deadline_ms)
        return;
    if (is_awaiting_request(c)) {
        conn_drop(c);
        return;
    }
    conn_time_out_request(c);
}

bool conn_give_way(struct conn *c)
{
    const struct worker *w = worker_of(c);
    enum conn_state state = c->state;
    uint64_t requests = w->request_count;

    if (state != CONN_LINGER && state != CONN_WRITE) {
        conn_read(c);
        if (c->state != state || w->request_count != requests)
            return false;
    }
    if (state == CONN_LINGER || state == CONN_WRITE || is_awaiting_request(c)) {
        conn_drop(c);
        return false;
    }
    refuse_late(c, "the server is full, and the request was not complete");
    return true;
}

bool conn_let_go(struct conn *c)
{
    if (!is_awaiting_request(c))
        return false;
    conn_read(c);
    if (c->state == CONN_FREE)
        return true;
    if (!is_awaiting_request(c))
        return false;
    conn_drop(c);
    return true;
}
