/* SPDX-License-Identifier: MIT
 *
 * See read.h.
 */
#include "worker/conn/read.h"

#include <errno.h>

#include "http/request/request_body.h"
#include "worker/conn/admission.h"
#include "worker/conn/conn.h"
#include "worker/conn/fair_close.h"
#include "worker/conn/peer.h"
#include "worker/conn/receive.h"
#include "worker/conn/send.h"
#include "worker/conn/stream.h"
#include "worker/loop/clock.h"
#include "worker/loop/pools.h"
#include "worker/loop/queue_delay.h"
#include "worker/loop/run_queue.h"
#include "worker/loop/state.h"

enum {
    GATHER_NS = 1000000,   /* answers wait for no call that may take as long as this */
    OUT_MAX = 64 * 1024,   /* gathered answers are written out past this */
    AHEAD_MAX = 64 * 1024, /* read from a client whose answer waits, at most */
};

/* ---- after an answer --------------------------------------------------------------------- */

void read_refuse_late(struct conn *c, const char *reason)
{
    stream_refuse(&c->h1, 408, reason);
    if (stream_flush(&c->h1) == FLUSHED_ALL)
        read_settle(c);
}

void read_add_continue(struct stream *s)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    s->env->request.expects_continue = false;
    send_borrow_buffer(s);
    strbuf_add(&s->x->out, text, sizeof(text) - 1);
}

/* RFC 9110 10.1.1: only a client that waits for it is told to go on, and only for a body that is
 * wanted; that it is not refused by now means that it is. */
static enum flushed __attribute__((noinline)) send_continue(struct stream *s)
{
    struct request *r = &s->env->request;

    if (r->body.len > 0 || r->chunk.digits > 0) {
        r->expects_continue = false;
        return FLUSHED_ALL;
    }
    read_add_continue(s);
    enum flushed flushed = stream_flush(s);
    if (flushed == FLUSHED_ALL)
        send_return_buffer(s);
    return flushed;
}

static bool trickles(const struct stream *s)
{
    const struct worker *w = worker_of(conn_of(s));

    return timers_is_trickle(s->env->request.body.len, worker_client_ms(w) - s->x->body_ms,
                             w->config->body_timeout_ms, w->config->body_min_rate);
}

static void wait_body(struct conn *c)
{
    struct stream *s = &c->h1;
    bool is_new = s->phase != STREAM_BODY || s->has_answered;

    if (s->env->request.expects_continue && send_continue(s) != FLUSHED_ALL)
        return;
    if (s->phase == STREAM_BODY && is_new)
        admission_body_ends(worker_of(c), s); /* of the request before */
    if (is_new)
        admission_body_begins(worker_of(c), s);
    s->has_answered = false;
    conn_set(c, CONN_OPEN, STREAM_BODY);
    if (trickles(s))
        read_refuse_late(c, "the body did not come in time");
}

/* For what an answered request has left; until the next one begins, the client is as good as idle.
 */
static void __attribute__((noinline)) await_rest(struct conn *c)
{
    conn_set(c, CONN_OPEN, STREAM_HEAD);
    c->h1.has_answered = false; /* all of it has one header_timeout */
}

void read_settle(struct conn *c)
{
    struct stream *s = &c->h1;

    send_return_buffer(s);
    if (c->closing) {
        conn_finish(c);
    } else if (s->x->in.len > 0 || c->wire.has_pending) {
        conn_set(c, CONN_OPEN, STREAM_READY);
        worker_queue_stream(worker_of(c), s);
    } else if (!s->env && s->x->unwanted > 0) {
        await_rest(c);
    } else if (!s->env) {
        conn_set(c, CONN_OPEN, STREAM_NONE);
        worker_give_exchange(worker_of(c), s->x);
        s->x = NULL;
    } else if (request_in_body(&s->env->request)) {
        wait_body(c);
    } else {
        conn_set(c, CONN_OPEN, STREAM_HEAD);
        s->has_answered = false;
    }
}

/* ---- requests ---------------------------------------------------------------------------- */

/* For the next request, or, when the connection closes, as the sign that the client sends on. */
static void keep_unparsed(struct stream *s, const char *data, size_t len)
{
    if (len > 0)
        strbuf_add(&s->x->in, data, len);
}

/* How many of the bytes that came belong to the body of a request that is answered. */
static size_t __attribute__((noinline)) drop_unwanted(struct exchange *x, size_t len)
{
    size_t n = len < x->unwanted ? len : (size_t)x->unwanted;

    x->unwanted -= n;
    return n;
}

static void begin_request(struct conn *c)
{
    struct worker *w = worker_of(c);

    /* first: a crash tells by it a request that was not run from one whose answer has just ended */
    c->h1.x->answer = ANSWER_NOT_BEGUN;
    atomic_signal_fence(memory_order_seq_cst);
    c->h1.env = worker_take_environ(w, &c->peer.seen, &c->h1);
    c->h1.x->request_ns = w->now_ns;
}

/* Works bytes of requests, in order, until they are used up, or the socket is full, or others
 * should have a turn. data is not what `in` holds. */
static void work(struct conn *c, const char *data, size_t len)
{
    struct worker *w = worker_of(c);
    struct stream *s = &c->h1;
    enum flushed flushed = FLUSHED_ALL;

    send_borrow_buffer(s);
    while (len > 0 && !c->closing && flushed == FLUSHED_ALL) {
        /* answers gather in one write, but none waits for a call that may be long */
        if (s->x->out.len > 0 && w->last_call_ns > GATHER_NS) {
            flushed = stream_flush(s);
            if (flushed != FLUSHED_ALL)
                break;
        }
        if (!s->env && s->x->unwanted > 0) {
            size_t dropped = drop_unwanted(s->x, len);

            data += dropped;
            len -= dropped;
            continue;
        }
        if (!s->env)
            begin_request(c);
        struct request *r = &s->env->request;
        size_t used = request_feed(r, data, len);
        data += used;
        len -= used;
        if (r->state == REQUEST_DONE || r->state == REQUEST_HELD)
            stream_answer(s);
        else if (r->state == REQUEST_REFUSED)
            stream_refuse(s, r->refusal, r->refusal_reason);
        if (receive_is_on(s)) { /* what has come of it is worked from there */
            keep_unparsed(s, data, len);
            len = 0;
        }
        if (stream_is_answering(s) || s->x->out.len > OUT_MAX)
            flushed = stream_flush(s);
        if (worker_pass_is_long(w))
            break;
    }
    if (flushed == FLUSHED_FAILED)
        return;
    keep_unparsed(s, data, len);
    if (flushed == FLUSHED_ALL && stream_flush(s) == FLUSHED_ALL)
        read_settle(c);
}

void read_unparsed(struct conn *c)
{
    struct strbuf in = c->h1.x->in;

    if (in.len == 0 && c->wire.has_pending) {
        read_requests(c);
        return;
    }
    c->h1.x->in = (struct strbuf){0};
    work(c, in.data ? in.data : "", in.len);
    strbuf_release(&in);
}

/* ---- reads ------------------------------------------------------------------------------- */

/* The client has sent all that it will. What it had sent whole is answered; a request cut short is
 * refused, for a client that only half-closed still reads. */
static void peer_ended(struct conn *c)
{
    if (conn_awaits_request(c)) {
        conn_drop(c);
        return;
    }
    stream_refuse(&c->h1, 400, "the connection ended within the request");
    if (stream_flush(&c->h1) == FLUSHED_ALL)
        read_settle(c);
}

/* The bytes before the first request, where a PROXY preface is asked for. The head's timer goes
 * on. Not inlined: its locals would cost every read a stack check. */
static void __attribute__((noinline)) read_preface(struct conn *c, const char *data, size_t len)
{
    const char *reason;
    int status = peer_feed(&c->peer, &worker_of(c)->peers, &data, &len, &reason);

    if (status == 0) {
        if (len > 0)
            work(c, data, len);
        return;
    }
    begin_request(c);
    stream_refuse(&c->h1, status, reason);
    if (stream_flush(&c->h1) == FLUSHED_ALL)
        read_settle(c);
}

/* The wire may wait for other events than before, or have been asked for bytes that it held and that
 * were none of HTTP. */
static void __attribute__((noinline)) read_nothing(struct conn *c)
{
    if (c->h1.x)
        c->h1.x->may_have_queued = false; /* what comes from now on has not */
    if (wire_is_plain(&c->wire))
        return;
    if (c->h1.phase == STREAM_READY)
        read_settle(c);
    else
        conn_watch_again(c);
}

/* Bytes of a body are read to where it is kept, if that is worth it. Not inlined, as its local would
 * cost every read a stack check. */
static struct iovec __attribute__((noinline)) room_of_body(struct stream *s)
{
    size_t size;
    char *room = request_body_room(&s->env->request, &size);

    return room ? (struct iovec){room, size}
                : (struct iovec){worker_of(conn_of(s))->in, WORKER_IN_SIZE};
}

void read_requests(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct stream *s = &c->h1;
    struct iovec to =
        s->phase == STREAM_BODY ? room_of_body(s) : (struct iovec){w->in, WORKER_IN_SIZE};
    ssize_t n = wire_read(&c->wire, to.iov_base, to.iov_len);

    if (n > 0) {
        if (!s->x)
            s->x = worker_lend_exchange(w);
        s->x->arrived_ns = queue_delay_arrived_ns(s);
        fair_close_note_wait(&w->fair, c->serial, worker_waited_ns(w) / 1000000,
                             w->now_ns / 1000000);
        w->slot->counts.bytes_in += (uint64_t)n;
        if (peer_owes_preface(&c->peer))
            read_preface(c, to.iov_base, (size_t)n);
        else
            work(c, to.iov_base, (size_t)n);
    } else if (n == 0) {
        peer_ended(c);
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_drop(c);
    } else {
        read_nothing(c);
    }
}

bool read_may_go_ahead(const struct conn *c)
{
    return c->h1.x->in.len < AHEAD_MAX && !c->wire.peer_ended;
}

/* A client that has only closed its side looks like one that has left; an operator whose clients do
 * so says it (skip_gone_after). */
void read_ahead(struct conn *c)
{
    struct worker *w = worker_of(c);
    size_t kept = c->h1.x->in.len;
    ssize_t n = kept < AHEAD_MAX ? wire_read(&c->wire, w->in, AHEAD_MAX - kept) : 0;

    if (n > 0) {
        keep_unparsed(&c->h1, w->in, (size_t)n);
        w->slot->counts.bytes_in += (uint64_t)n;
    } else if (n == 0 && (kept >= AHEAD_MAX || w->config->skip_gone_after_ms == 0)) {
        conn_set(c, CONN_OPEN, STREAM_PAUSED);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        conn_drop(c);
    } else if (!wire_is_plain(&c->wire)) {
        conn_watch_again(c);
    }
}
