/* SPDX-License-Identifier: MIT
 *
 * See call.h.
 */
#include "worker/call/call.h"

#include <string.h>

#include "base/util.h"
#include "worker/call/forked.h"
#include "worker/crash/crash.h"
#include "worker/worker.h"

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

/* Part of worker_call_begin rather than called by it. */
static inline void __attribute__((always_inline))
show_call(struct slot_call *call, const struct conn *c, const struct gcorn_environ *env,
          uint64_t started_ms)
{
    call->answers = c != NULL;
    if (call->request_id != env->id)
        note_request(call, env);
    slot_call_begin(call, started_ms);
}

void worker_show_call(struct slot_call *call, const struct conn *c, const struct gcorn_environ *env,
                      uint64_t started_ms)
{
    show_call(call, c, env, started_ms);
}

void worker_call_begin(struct worker *w, struct conn *c, const struct gcorn_environ *env)
{
    w->serving = c;
    w->slot->state = SLOT_CALLING;
    show_call(&w->slot->calls[0], c, env, w->now_ns / 1000000);
}

uint64_t worker_call_end(struct worker *w)
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

bool worker_environ_has_code(const struct worker *w, const struct gcorn_environ *env)
{
    return (w->app.on_post_request && env->was_run) || environ_has_code(env);
}

void worker_count_environ(struct worker *w, const struct gcorn_environ *env)
{
    if (env->was_run && ++w->run_count == w->recycle_at)
        (void)tell_leave(w, "max_requests");
}

void worker_end_environ(const struct worker *w, struct gcorn_environ *env)
{
    response_close(env);
    if (w->app.on_post_request && env->was_run)
        w->app.on_post_request(env);
    environ_reset(env);
}

/* Not inlined, as the clock's locals would cost every request a stack check. */
static void __attribute__((noinline)) end_in_call(struct worker *w, struct gcorn_environ *env)
{
    worker_call_begin(w, NULL, env);
    worker_end_environ(w, env);
    (void)worker_call_end(w);
}

void worker_give_environ(struct worker *w, struct gcorn_environ *env)
{
    worker_count_environ(w, env);
    if (worker_environ_has_code(w, env))
        end_in_call(w, env);
    else
        environ_reset(env);
    worker_keep_environ(w, env);
}
