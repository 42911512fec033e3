/* SPDX-License-Identifier: MIT
 *
 * A worker as the host of an application (http/host.h): what include/gcorn.h lets the application
 * ask of its worker, and tell it. Answers that wait are in wake.c, metrics in app_metrics.c.
 *
 * There may be no worker: --check-config loads an application without one, and its constructors may
 * call these; nor does a child that the application forks have one.
 */
#include "http/host.h"

#include <stdatomic.h>

#include "base/util.h"
#include "worker/call/app_metrics.h"
#include "worker/call/call.h"
#include "worker/call/push.h"
#include "worker/call/wake.h"
#include "worker/callback/app_threads.h"
#include "worker/callback/app_timers.h"
#include "worker/callback/posts.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/messages/messages.h"

static unsigned host_slot(void)
{
    const struct worker *w = worker_this();

    return w ? w->args->number : 0;
}

static struct ev_loop *host_loop(void)
{
    const struct worker *w = worker_this();

    return w ? w->loop : NULL;
}

static unsigned host_threads(void)
{
    const struct worker *w = worker_this();
    unsigned threads = w ? config_threads(w->config) : 0;

    return threads > 0 ? threads : 1;
}

static bool host_client_gone(struct gcorn_environ *env)
{
    const struct worker *w = worker_this();
    const struct stream *s = w ? stream_of(env) : NULL;

    return s && wire_peer_gone(&conn_of(s)->wire);
}

/* Only of the call that runs: it is forgotten when that ends. */
static void host_extend_deadline(struct gcorn_environ *env, unsigned ms)
{
    struct worker *w = worker_this();
    const struct stream *s = w ? stream_of(env) : NULL;

    if (!w)
        return;
    struct slot_call *call = &w->slot->calls[s && s->x ? s->x->call.slot_index : 0];
    uint64_t until_ms = now_ms() + ms;
    if (until_ms > atomic_load(&call->until_ms))
        atomic_store(&call->until_ms, until_ms);
}

static void host_interim(struct gcorn_environ *env)
{
    struct worker *w = worker_this();
    struct stream *s = w ? stream_of(env) : NULL;

    if (!s || s->env != env)
        return; /* it is no client's */
    if (w->calls)
        w->calls->interim(w, s);
    else
        send_interims(s);
}

static bool host_draining(void)
{
    const struct worker *w = worker_this();

    return w && w->draining;
}

const struct host host = {
    .slot = host_slot,
    .loop = host_loop,
    .threads = host_threads,
    .draining = host_draining,
    .ticket = wake_ticket,
    .wake = wake_request,
    .wake_at = wake_set_alarm,
    .timer_start = app_timer_start,
    .timer_stop = app_timer_stop,
    .post = post_to_loop,
    .thread_start = app_thread_start,
    .client_gone = host_client_gone,
    .extend_deadline = host_extend_deadline,
    .interim = host_interim,
    .send = push_send,
    .counter = metrics_counter,
    .gauge = metrics_gauge,
    .histogram = metrics_histogram,
    .metric_add = metrics_add,
    .metric_set = metrics_set,
    .metric_observe = metrics_observe,
    .publish = messages_publish,
    .subscribe = messages_subscribe,
    .unsubscribe = messages_unsubscribe,
    .shared = messages_shared,
};
