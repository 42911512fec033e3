/* SPDX-License-Identifier: MIT
 *
 * See call_inline.h.
 */
#include "worker/call/call_inline.h"

#include "base/util.h"
#include "worker/call/call.h"
#include "worker/call/push.h"
#include "worker/call/wake.h"
#include "worker/loop/counts.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/notify_master.h"

enum {
    HEARTBEAT_MS = 1000,
    OBEY_MS = 100, /* between two looks for orders, while a call pushes */
};

enum called call_inline_start(struct worker *w, struct stream *s)
{
    struct gcorn_environ *env = s->env;
    uint64_t queued_ns = w->now_ns - s->x->arrived_ns;

    int refusal = call_refusal(s, queued_ns / 1000000);
    if (refusal != 0) {
        s->x->call.refusal = refusal;
        return CALL_REFUSED;
    }
    if (__builtin_expect(!s->was_asked, 1)) /* else it is counted */
        worker_note_run(w, queued_ns);
    call_enter(w, s, env);
    call_handler(w, env);
    w->last_call_ns = call_leave(w);
    return CALL_DONE;
}

/* s->env is NULL first: what runs or breaks from here on is no reason to answer it again. */
enum called call_inline_end(struct worker *w, struct stream *s)
{
    struct gcorn_environ *env = s->env;

    s->env = NULL;
    call_finish(w, env);
    wake_forget(s);
    return CALL_DONE;
}

/* ---- pushes ------------------------------------------------------------------------------ */

/* What the loop would do meanwhile. The clock stays as it was: the call began then. */
static void obey_master(struct worker *w, struct push *p, uint64_t now)
{
    uint64_t entered_ns = w->now_ns;

    p->obeyed_ms = now;
    commands_run(w);
    w->now_ns = entered_ns;
    atomic_store_explicit(&w->slot->loop_ms, now, memory_order_relaxed);
    if (now - p->alive_ms < HEARTBEAT_MS)
        return;
    p->alive_ms = now;
    notify_alive(w);
}

/* A call that pushes for long, and never waits, learns of a stop (gcorn_draining), too. */
void call_inline_send(struct worker *w, struct stream *s)
{
    struct push *p = s->x->push;

    stream_send_pushed(s);
    if (p->asked_ms - p->obeyed_ms >= OBEY_MS)
        obey_master(w, p, p->asked_ms);
}

/* The wait brought nothing. */
static void check_stalled(const struct worker *w, struct push *p, uint64_t now)
{
    if (p->stalled_ms == 0)
        p->stalled_ms = now;
    if (now - p->stalled_ms >= w->config->write_timeout_ms)
        push_end(p, PUSH_WRITE_TIMEOUT);
}

bool call_inline_wait_taken(struct worker *w, struct stream *s)
{
    uint64_t sent = w->slot->counts.bytes_out;
    struct push *p = s->x->push;

    wire_wait_writable(&conn_of(s)->wire, w->args->channel.down_worker, PUSH_WAIT_MS(w));
    uint64_t now = now_ms();
    obey_master(w, p, now);
    stream_send_pushed(s);
    if (w->slot->counts.bytes_out != sent)
        p->stalled_ms = 0;
    else
        check_stalled(w, p, now);
    return !w->quit_is_due;
}
