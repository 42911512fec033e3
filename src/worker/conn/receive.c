/* SPDX-License-Identifier: MIT
 *
 * See receive.h. A body that turns out to be bad, late or cut is refused by the server while the head
 * of the answer has not left; after that the answer is cut where the client can see it.
 */
#include "worker/conn/receive.h"

#include <errno.h>

#include "worker/call/push.h"
#include "worker/call/wake.h"
#include "worker/conn/conn.h"
#include "worker/conn/read.h"
#include "worker/conn/send.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

static struct worker *worker_of_stream(const struct stream *s)
{
    return worker_of(conn_of(s));
}

static size_t room_of(const struct stream *s)
{
    return body_ahead_room(s->env->request.ahead);
}

/* ---- the end of what can be had ---------------------------------------------------------- */

bool receive_leave_rest(struct stream *s, bool closes)
{
    const struct request *r = &s->env->request;
    bool is_whole = r->state == REQUEST_DONE;

    s->x->closes = closes;
    s->x->lingering.announced = is_whole ? 0 : request_announced(r);
    s->x->unwanted = !is_whole && request_rest_is_short(r) ? r->body_left : 0;
    return closes || !(is_whole || request_rest_is_short(r));
}

/* The answer that is under way cannot be taken for whole, unless it is. */
static void cut_answer(struct stream *s)
{
    struct response *r = &s->env->response;

    s->env->h1.close = true;
    if (!s->x->more)
        return;
    if (s->x->push)
        push_cut(s);
    r->body_len -= r->file.left;
    r->file.left = 0;
    r->broken = true;
    r->ended = "request body";
    r->phase = RESPONSE_ENDED;
    r->waits = s->x->more = false;
}

/* The body will not come whole: the request is refused. */
static void end_body(struct stream *s)
{
    const struct request *r = &s->env->request;

    s->x->unwanted = 0;
    if (s->env->response.phase == RESPONSE_OPEN)
        stream_refuse(s, r->refusal, r->refusal_reason);
    else
        cut_answer(s);
}

static void refuse_body(struct stream *s, int status, const char *reason)
{
    request_refuse(&s->env->request, status, reason);
    end_body(s);
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* Returns how many bytes were used: the others have no room, or belong to the next request. */
static size_t feed(struct stream *s, const char *data, size_t len)
{
    struct gcorn_environ *env = s->env;
    struct request *r = &env->request;
    uint64_t came = r->ahead->came;
    size_t used = request_feed(r, data, len < room_of(s) ? len : room_of(s));

    r->expects_continue = false; /* its client has not waited for it */
    if (request_is_refused(r)) {
        end_body(s);
        return used;
    }
    if (r->ahead->came > came || r->state == REQUEST_DONE)
        env->response.waits = false; /* the application is asked again */
    bool closes = receive_leave_rest(s, s->x->closes);
    if (env->response.phase == RESPONSE_OPEN)
        env->h1.close = closes;
    return used;
}

static void feed_kept(struct stream *s)
{
    struct strbuf in = s->x->in;

    if (in.len == 0 || room_of(s) == 0)
        return;
    s->x->in = (struct strbuf){0};
    size_t used = feed(s, in.data, in.len);
    if (used < in.len)
        strbuf_add(&s->x->in, in.data + used, in.len - used);
    strbuf_release(&in);
}

/* True: the connection is still there. */
static bool read_body(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct stream *s = &c->h1;
    size_t room = room_of(s);
    ssize_t n = wire_read(&c->wire, w->in, room < WORKER_IN_SIZE ? room : WORKER_IN_SIZE);

    if (n > 0) {
        receive_pauses(s);
        s->x->pace.gap_ms = 0;
        receive_begins(s);
        stream_note_turn(s);
        w->slot->counts.bytes_in += (uint64_t)n;
        size_t used = feed(s, w->in, (size_t)n);
        if (used < (size_t)n)
            strbuf_add(&s->x->in, w->in + used, (size_t)n - used);
    } else if (n == 0) {
        refuse_body(s, 400, "the connection ended within the request");
    } else if (errno != EAGAIN && errno != EINTR) {
        conn_drop(c);
        return false;
    }
    return true;
}

bool __attribute__((noinline)) receive_kept(struct stream *s)
{
    struct conn *c = conn_of(s);

    feed_kept(s);
    if (s->x->in.len == 0 && c->wire.has_pending && receive_is_on(s) && room_of(s) > 0)
        return read_body(c);
    return true;
}

void receive_bytes(struct conn *c)
{
    struct stream *s = &c->h1;

    if (!read_body(c) || s->phase != STREAM_RECEIVING)
        return;
    wake_stop(s);
    stream_resume(s);
}

/* ---- waiting ----------------------------------------------------------------------------- */

void receive_begins(struct stream *s)
{
    s->x->pace.since_ms = worker_client_ms(worker_of_stream(s));
}

void receive_pauses(struct stream *s)
{
    struct body_pace *pace = &s->x->pace;
    uint64_t now_ms = worker_client_ms(worker_of_stream(s));

    pace->gap_ms += now_ms - pace->since_ms;
    pace->took_ms += now_ms - pace->since_ms;
    pace->since_ms = now_ms;
}

static bool is_late(const struct stream *s)
{
    const struct config *cfg = worker_of_stream(s)->config;

    return s->x->pace.gap_ms >= cfg->body_timeout_ms ||
           timers_is_trickle(request_body_len(&s->env->request), s->x->pace.took_ms,
                             cfg->body_timeout_ms, cfg->body_min_rate);
}

/* RFC 9110 10.1.1: it is not sent once a final answer has begun. */
static bool owes_continue(const struct stream *s)
{
    const struct request *r = &s->env->request;

    return r->expects_continue && r->ahead->is_awaited && s->env->response.phase == RESPONSE_OPEN;
}

/* Bytes found win: a client is judged only by what the kernel does not hold for the worker already.
 */
static enum flushed judge(struct stream *s)
{
    if (!read_body(conn_of(s)))
        return FLUSHED_FAILED;
    if (request_in_body(&s->env->request) && is_late(s))
        refuse_body(s, 408, "the body did not come in time");
    return stream_flush(s);
}

/* Not inlined, as few bodies are read as they come; nor are the others that stream.c calls. */
enum flushed __attribute__((noinline)) receive_wait(struct stream *s)
{
    struct conn *c = conn_of(s);
    bool has_room = room_of(s) > 0;

    if (has_room && (s->x->in.len > 0 || c->wire.has_pending))
        return stream_wait_turn(s);
    if (owes_continue(s)) {
        read_add_continue(s);
        return stream_flush(s);
    }
    if (has_room && is_late(s))
        return judge(s);
    send_return_buffer(s);
    conn_set(c, CONN_OPEN, has_room ? STREAM_RECEIVING : STREAM_PAUSED);
    return FLUSHED_SOME;
}

enum stream_phase __attribute__((noinline)) receive_phase_sending(struct stream *s)
{
    feed_kept(s);
    if (!receive_is_on(s) || s->x->in.len > 0 || room_of(s) == 0)
        return STREAM_SENDING;
    if (!is_late(s))
        return STREAM_DUPLEX;
    refuse_body(s, 408, "the body did not come in time");
    return STREAM_SENDING;
}

void receive_timed_out(struct conn *c)
{
    receive_pauses(&c->h1); /* receive_wait finds that it is late, unless bytes are found */
    receive_bytes(c);
}

bool receive_give_way(struct conn *c, const char *reason)
{
    struct stream *s = &c->h1;
    uint64_t came = request_body_len(&s->env->request);

    receive_bytes(c);
    if (c->state != CONN_OPEN || s->phase != STREAM_RECEIVING ||
        request_body_len(&s->env->request) != came || s->env->response.phase != RESPONSE_OPEN)
        return false;
    refuse_body(s, 408, reason);
    wake_stop(s);
    stream_resume(s);
    return true;
}
