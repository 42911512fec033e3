/* SPDX-License-Identifier: MIT
 *
 * See conn.h. `env` is there from a request's first byte to its answer's last.
 */
#include "worker/conn/conn.h"

#include <assert.h>
#include <errno.h>

#include "worker/call/forked.h"
#include "worker/call/push.h"
#include "worker/call/wake.h"
#include "worker/conn/admission.h"
#include "worker/conn/linger.h"
#include "worker/conn/peer.h"
#include "worker/conn/read.h"
#include "worker/conn/receive.h"
#include "worker/conn/stream.h"
#include "worker/loop/clock.h"
#include "worker/loop/pools.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

/* ---- state ------------------------------------------------------------------------------- */

/* What a connection waits for. In all other states: for no event, and as long as it takes. */
static const struct interest {
    uint8_t events;
    bool is_timed;
    uint8_t timer;
} interests[CONN_STATES][STREAM_PHASES] = {
    [CONN_OPEN] = {[STREAM_NONE] = {EV_READ, true, TIMER_KEEPALIVE},
                   [STREAM_HEAD] = {EV_READ, true, TIMER_HEADER},
                   [STREAM_BODY] = {EV_READ, true, TIMER_BODY},
                   [STREAM_SENDING] = {EV_WRITE, true, TIMER_WRITE},
                   [STREAM_DUPLEX] = {EV_READ | EV_WRITE, true, TIMER_WRITE},
                   [STREAM_PUSHING] = {EV_WRITE, true, TIMER_WRITE},
                   [STREAM_WAITING] = {EV_READ, false, 0},
                   [STREAM_RECEIVING] = {EV_READ, true, TIMER_BODY}},
    [CONN_LINGER] = {[STREAM_NONE] = {EV_READ, true, TIMER_LINGER}},
};

#define TO(state)  (1u << (state))
#define ANY_PHASE  (TO(STREAM_PHASES) - 1)
#define WHILE_LENT (TO(STREAM_CALLING) | TO(STREAM_PUSHING) | TO(STREAM_READY) | TO(STREAM_NONE))

/* Which state, and which phase, may follow which. */
static const uint16_t next_states[CONN_STATES] = {
    [CONN_FREE] = TO(CONN_OPEN),
    [CONN_OPEN] = TO(CONN_OPEN) | TO(CONN_LINGER) | TO(CONN_CLOSED),
    [CONN_LINGER] = TO(CONN_CLOSED),
    [CONN_CLOSED] = TO(CONN_CLOSED) | TO(CONN_FREE),
};
static const uint16_t next_phases[STREAM_PHASES] = {
    [STREAM_NONE] = ANY_PHASE,
    [STREAM_HEAD] = ANY_PHASE,
    [STREAM_READY] = ANY_PHASE,
    [STREAM_CALLING] = WHILE_LENT,
    [STREAM_SENDING] = ANY_PHASE,
    [STREAM_PUSHING] = WHILE_LENT,
    [STREAM_BODY] = ANY_PHASE,
    [STREAM_DUPLEX] = ANY_PHASE,
    [STREAM_RECEIVING] = ANY_PHASE,
    [STREAM_WAITING] = ANY_PHASE,
    [STREAM_PAUSED] = ANY_PHASE & ~TO(STREAM_WAITING),
};

static bool may_follow(const struct conn *c, enum conn_state state, enum stream_phase phase)
{
    return (next_states[c->state] & TO(state)) && (next_phases[c->h1.phase] & TO(phase));
}

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

void conn_watch_again(struct conn *c)
{
    watch(c, interests[c->state][c->h1.phase].events);
}

/* The stream is in a list of those that are in its phase, and goes on to another one. */
static void __attribute__((noinline)) leave_list(struct stream *s, enum stream_phase next)
{
    struct worker *w = worker_of(conn_of(s));

    if (s->phase == STREAM_BODY) {
        if (next != STREAM_BODY)
            admission_body_ends(w, s);
        return;
    }
    if (s->phase == STREAM_DUPLEX || s->phase == STREAM_RECEIVING)
        receive_pauses(s);
    if (stream_is_waiting(s)) {
        assert(w->waiting_count > 0);
        w->slot->waiting = --w->waiting_count;
        wake_stop(s);
    }
}

static void __attribute__((noinline)) enter_list(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));

    if (s->phase == STREAM_DUPLEX || s->phase == STREAM_RECEIVING)
        receive_begins(s);
    if (stream_is_waiting(s)) {
        w->slot->waiting = ++w->waiting_count;
        wake_wait(s);
    }
}

static void set_timer(struct conn *c, const struct interest *interest)
{
    if (interest->is_timed)
        worker_set_timer(worker_of(c), c, (enum timer_kind)interest->timer);
    else
        timer_clear(&c->timer);
}

/* A head's timer runs from its first byte on, which may have come with the end of the request
 * before; every other timer begins again with each progress. */
void conn_renew(struct conn *c)
{
    const struct stream *s = &c->h1;

    if (s->phase == STREAM_HEAD && !s->has_answered)
        return;
    if (c->wire.wants_write)
        conn_watch_again(c);
    set_timer(c, &interests[c->state][s->phase]);
}

void conn_change(struct conn *c, enum conn_state state, enum stream_phase phase)
{
    const struct interest *interest = &interests[state][phase];
    struct stream *s = &c->h1;

    assert(may_follow(c, state, phase));
    if (s->phase >= STREAM_BODY)
        leave_list(s, phase);
    c->state = (uint8_t)state;
    s->phase = (uint8_t)phase;
    if (phase > STREAM_BODY)
        enter_list(s);
    watch(c, interest->events);
    set_timer(c, interest);
}

/* ---- the end ----------------------------------------------------------------------------- */

void conn_free(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct stream *s = &c->h1;

    conn_set(c, CONN_FREE, STREAM_NONE);
    if (s->x) {
        strbuf_release(&s->x->in);
        strbuf_release(&s->x->early);
        strbuf_release(&s->x->out);
        *s->x = (struct exchange){0};
        worker_give_exchange(w, s->x);
        s->x = NULL;
    }
    peer_close(&c->peer);
    worker_give_conn(w, c);
}

void conn_drop(struct conn *c)
{
    conn_set(c, CONN_CLOSED, STREAM_NONE);
    forked_forget_fd(c->wire.fd);
    wire_close(&c->wire);
    if (stream_abandon(&c->h1) == FLUSHED_ALL)
        conn_free(c);
}

void conn_finish(struct conn *c)
{
    struct exchange *x = c->h1.x;
    bool is_done = c->wire.peer_ended && x->in.len == 0;

    if (x->unwanted > 0)
        x->lingering.announced = x->unwanted;
    x->unwanted = 0;
    linger_begin(&x->lingering, x->in.len, worker_client_ms(worker_of(c)));
    strbuf_release(&x->in);
    if (is_done || wire_shutdown(&c->wire) < 0)
        conn_drop(c);
    else
        conn_set(c, CONN_LINGER, STREAM_NONE);
}

static void read_lingering(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct lingering *l = &c->h1.x->lingering;
    ssize_t n = wire_read(&c->wire, w->in, WORKER_IN_SIZE);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        conn_drop(c);
        return;
    }
    w->slot->counts.bytes_in += (uint64_t)n;
    switch (linger_note(l, (size_t)n, w->config->body_min_rate, worker_client_ms(w))) {
    case LINGER_RENEW: worker_set_timer(w, c, TIMER_LINGER); break;
    case LINGER_WHOLE: worker_set_timer(w, c, TIMER_LINGER_WHOLE); break;
    case LINGER_LAST: break;
    case LINGER_OVER: conn_drop(c); break;
    }
}

/* No request is under way. A client that still owes the rest of an answered one, and may not have
 * read its answer, is not reset. */
static void end_idle(struct conn *c)
{
    struct exchange *x = c->h1.x;

    if (!x || x->unwanted == 0) {
        conn_drop(c);
        return;
    }
    conn_finish(c);
}

/* ---- events ------------------------------------------------------------------------------ */

/* When many clients can take more at once, those that are late in the pass come first in the next.
 */
static void go_on_in_turn(struct stream *s)
{
    stream_note_turn(s);
    if (worker_pass_is_long(worker_of(conn_of(s))))
        (void)stream_wait_turn(s);
    else
        stream_resume(s);
}

/* What its client does while the application has the request. */
static void __attribute__((noinline)) on_io_within(struct conn *c)
{
    struct stream *s = &c->h1;

    if (s->phase == STREAM_WAITING) {
        read_ahead(c);
        return;
    }
    if (s->phase == STREAM_PUSHING) {
        stream_send_pushed(s);
        return;
    }
    receive_bytes(c);
    if (s->phase == STREAM_DUPLEX)
        go_on_in_turn(s);
}

static void on_io(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct conn *c = (struct conn *)(void *)((char *)io - offsetof(struct conn, io));

    (void)loop;
    (void)revents;
    worker_look_at_clock(io->data);
    if (c->h1.phase == STREAM_SENDING)
        go_on_in_turn(&c->h1);
    else if (c->h1.phase > STREAM_BODY)
        on_io_within(c);
    else if (c->state == CONN_LINGER)
        read_lingering(c);
    else
        read_requests(c);
}

void conn_open(struct worker *w, struct wire wire, const struct http_local *local,
               const void *address)
{
    struct conn *c = worker_take_conn(w);
    struct stream *s = &c->h1;

    assert(c && c->state == CONN_FREE && s->phase == STREAM_NONE && !s->x);
    timer_init(&c->timer);
    ev_init(&c->io, on_io);
    c->io.data = w;
    c->wire = wire;
    c->closing = s->runs = s->has_answered = s->was_asked = false;
    s->env = NULL;
    c->serial = w->slot->counts.connections;
    peer_open(&c->peer, &w->peers, local, address);
    s->x = worker_lend_exchange(w);
    s->x->may_have_queued = w->may_have_queued;
    s->x->request_ns = w->now_ns;
    s->x->arrived_ns = w->now_ns - worker_waited_ns(w);
    conn_set(c, CONN_OPEN, STREAM_HEAD);
    /* Its request has mostly come by now. One that is answered and closed in the same pass is never
     * told to epoll. */
    ev_feed_event(w->loop, &c->io, EV_READ);
}

/* Is it past reading requests: does the client still owe us only that it reads, or closes? */
static bool only_ends(const struct conn *c)
{
    return c->state == CONN_LINGER || c->h1.phase == STREAM_SENDING || c->h1.phase == STREAM_DUPLEX;
}

/* Bytes found win: a client is judged only by what the kernel does not hold for the worker already.
 */
void conn_timed_out(struct conn *c)
{
    const struct stream *s = &c->h1;
    uint64_t deadline_ms = c->timer.deadline_ms;
    uint8_t state = c->state, phase = s->phase;

    if (phase == STREAM_PUSHING) {
        push_end(s->x->push, PUSH_WRITE_TIMEOUT);
        conn_set(c, CONN_OPEN, STREAM_CALLING); /* until its call is over */
        return;
    }
    if (only_ends(c)) {
        if (stream_is_answering(s))
            s->env->response.ended = "write_timeout";
        conn_drop(c);
        return;
    }
    if (s->phase == STREAM_RECEIVING) {
        receive_timed_out(c);
        return;
    }
    read_requests(c);
    if (c->state != state || s->phase != phase || c->timer.deadline_ms != deadline_ms)
        return;
    if (conn_awaits_request(c))
        end_idle(c);
    else
        read_refuse_late(c, request_in_body(&s->env->request) ? "the body did not come in time"
                                                              : "the head did not come in time");
}

static const char server_is_full[] = "the server is full, and the request was not complete";

bool conn_give_way(struct conn *c)
{
    const struct worker *w = worker_of(c);
    uint8_t state = c->state, phase = c->h1.phase;
    uint64_t requests = w->request_count;

    if (phase == STREAM_RECEIVING)
        return receive_give_way(c, server_is_full);
    if (!only_ends(c)) {
        read_requests(c);
        if (c->state != state || c->h1.phase != phase || w->request_count != requests)
            return false;
    }
    if (only_ends(c) || conn_awaits_request(c)) {
        conn_drop(c);
        return false;
    }
    read_refuse_late(c, server_is_full);
    return true;
}

bool conn_close_if_idle(struct conn *c)
{
    if (!conn_awaits_request(c))
        return false;
    read_requests(c);
    if (c->state == CONN_FREE || c->state == CONN_CLOSED)
        return true;
    if (!conn_awaits_request(c))
        return false;
    end_idle(c);
    return true;
}
