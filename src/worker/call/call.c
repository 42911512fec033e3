/* SPDX-License-Identifier: MIT
 *
 * See call.h.
 */
#include "worker/call/call.h"

#include <string.h>

#include "base/util.h"
#include "worker/call/forked.h"
#include "worker/loop/pools.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/notify_master.h"

#define OPEN_ROW(id, name, runs_threads, open, help) [WORKER_CLASS_##id] = open,
static void (*const open_class[])(struct worker *w) = {WORKER_CLASSES(OPEN_ROW)};

void call_open(struct worker *w)
{
    w->http.limits.holds_body = w->app.on_head != NULL; /* first: the class may copy it */
    /* what is built in never blocks, so it needs no class */
    open_class[w->args->builtin ? WORKER_CLASS_SYNC : config_worker_class(w->config)](w);
}

/* The usual class: w->calls stays NULL, see call_inline.h. */
void call_inline_open(struct worker *w)
{
    w->calls = NULL;
}

void call_stop(struct worker *w)
{
    if (w->calls)
        w->calls->stop(w);
    w->calls = NULL;
}

bool call_is_busy(const struct worker *w)
{
    return w->calls && w->calls->is_busy(w);
}

unsigned call_thread_count(const struct worker *w)
{
    return w->calls ? w->calls->thread_count(w) : 0;
}

unsigned call_count(const struct worker *w)
{
    return w->calls ? w->calls->thread_count(w) : 1;
}

pid_t call_thread_id(const struct worker *w, unsigned i)
{
    return i < call_thread_count(w) ? w->calls->thread_id(w, i) : w->pid;
}

const struct stream *call_serving(const struct worker *w, unsigned i)
{
    if (!w->calls)
        return w->serving;
    return i < call_thread_count(w) ? w->calls->serving(w, i) : NULL;
}

/* What has waited too long is not run: an overloaded server would otherwise work for clients that
 * have given up, and be late for the others too. */
int call_refusal(const struct stream *s, uint64_t queued_ms)
{
    const struct config *cfg = worker_of(conn_of(s))->config;

    if (cfg->skip_gone_after_ms > 0 && queued_ms > cfg->skip_gone_after_ms &&
        wire_peer_gone(&conn_of(s)->wire))
        return 499;
    return cfg->queue_timeout_ms > 0 && queued_ms > cfg->queue_timeout_ms ? 503 : 0;
}

/* ---- on the loop's thread ---------------------------------------------------------------- */

static void note_request(struct slot_call *call, const struct gcorn_environ *env)
{
    const struct request *r = &env->request;

    call->request_id = env->id;
    call->target_len = (uint32_t)r->target.len;
    slot_set_text(call->method, sizeof(call->method), r->method, r->method_len);
    slot_set_text(call->target, sizeof(call->target), r->target.p, r->target.len);
    const char *client = environ_remote_addr(env);
    if (client == env->peer->remote_addr) /* of a fixed size: in a few moves */
        memcpy(call->peer, client, sizeof(env->peer->remote_addr));
    else
        slot_set_text(call->peer, sizeof(call->peer), client, strlen(client));
    const char *given = environ_given_id(env);
    call->given_id[0] = '\0';
    if (given)
        slot_set_text(call->given_id, sizeof(call->given_id), given, strlen(given));
}

/* Part of call_enter rather than called by it. */
static inline void __attribute__((always_inline))
show_call(struct slot_call *call, const struct stream *s, const struct gcorn_environ *env,
          uint64_t started_ms)
{
    call->answers = s != NULL;
    if (call->request_id != env->id)
        note_request(call, env);
    slot_call_begin(call, started_ms);
}

void call_show(struct slot_call *call, const struct stream *s, const struct gcorn_environ *env,
               uint64_t started_ms)
{
    show_call(call, s, env, started_ms);
}

void call_enter(struct worker *w, struct stream *s, const struct gcorn_environ *env)
{
    w->serving = s;
    w->slot->state = SLOT_CALLING;
    show_call(&w->slot->calls[0], s, env, w->now_ns / 1000000);
}

uint64_t call_leave(struct worker *w)
{
    struct slot_call *call = &w->slot->calls[0];
    uint64_t now = now_ns(), took = now - w->now_ns;

    w->now_ns = now;
    w->calls_ns += took;
    atomic_store_explicit(&w->slot->loop_ms, now / 1000000, memory_order_relaxed);
    slot_call_end(call);
    if (atomic_load_explicit(&call->until_ms, memory_order_relaxed) != 0) {
        crash_end_recovered();
        forked_check(); /* it is set in a child that the call has forked: see set_traps */
        atomic_store_explicit(&call->until_ms, 0, memory_order_relaxed);
    }
    w->slot->state = w->draining ? SLOT_DRAINING : SLOT_IDLE;
    return took;
}

/* Not inlined: few applications have the hook. */
static void __attribute__((noinline))
ask_and_handle(const struct worker *w, struct gcorn_environ *env)
{
    if (env->response.head_step == HEAD_NOT_ASKED) {
        if (w->app.on_pre_request)
            w->app.on_pre_request(env);
        if (!response_ask(env, w->app.on_head))
            return;
    }
    response_run(env, w->app.handler);
}

void call_handler(const struct worker *w, struct gcorn_environ *env)
{
    if (__builtin_expect(w->app.on_head != NULL, 0)) {
        ask_and_handle(w, env);
        return;
    }
    if (w->app.on_pre_request)
        w->app.on_pre_request(env);
    response_run(env, w->app.handler);
}

void call_note_piece(struct stream *s)
{
    bool by_close = s->env->h1.framing == FRAMING_CLOSE;
    enum answer_stage begun = by_close ? ANSWER_BY_CLOSE : ANSWER_BEGUN;

    s->x->answer = s->env->response.phase == RESPONSE_OPEN ? ANSWER_NOT_BEGUN : begun;
}

static void make_piece(struct stream *s)
{
    s->x->whole_len = s->x->out.len;
    s->x->more = framing_h1_next(s->env, &s->x->out, &s->x->piece, &s->x->piece_len);
    call_note_piece(s);
}

/* Not inlined, as the clock's locals would cost every answer a stack check. */
static void __attribute__((noinline)) make_piece_in_call(struct worker *w, struct stream *s)
{
    call_enter(w, s, s->env);
    make_piece(s);
    (void)call_leave(w);
}

void call_make_piece(struct worker *w, struct stream *s)
{
    if (body_runs_app(s->env->response.body))
        make_piece_in_call(w, s);
    else
        make_piece(s);
}

/* ---- the end ----------------------------------------------------------------------------- */

bool call_end_runs_app(const struct worker *w, const struct gcorn_environ *env)
{
    return (w->app.on_post_request && env->was_run) || environ_has_code(env);
}

void call_count_run(struct worker *w, const struct gcorn_environ *env)
{
    if (env->was_run && ++w->run_count == w->recycle_at)
        (void)notify_leave(w, "max_requests");
}

void call_end_environ(const struct worker *w, struct gcorn_environ *env)
{
    response_close(env);
    if (w->app.on_post_request && env->was_run)
        w->app.on_post_request(env);
    environ_reset(env);
}

/* Not inlined, as the clock's locals would cost every request a stack check. */
static void __attribute__((noinline)) end_in_call(struct worker *w, struct gcorn_environ *env)
{
    call_enter(w, NULL, env);
    call_end_environ(w, env);
    (void)call_leave(w);
}

void call_finish(struct worker *w, struct gcorn_environ *env)
{
    call_count_run(w, env);
    if (call_end_runs_app(w, env))
        end_in_call(w, env);
    else
        environ_reset(env);
    worker_keep_environ(w, env);
}
