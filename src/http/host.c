/* SPDX-License-Identifier: MIT
 *
 * See host.h.
 */
#include "http/host.h"

#include <errno.h>

#include "base/util.h"
#include "http/environ.h"
#include "http/exchange.h"
#include "http/subscriptions.h"

unsigned gcorn_worker_number(void)
{
    return host.slot ? host.slot() : 0;
}

struct ev_loop *gcorn_loop(void)
{
    return host.loop ? host.loop() : NULL;
}

unsigned gcorn_threads(void)
{
    return host.threads ? host.threads() : 1;
}

bool gcorn_draining(void)
{
    return host.draining && host.draining();
}

uint64_t gcorn_now(void)
{
    return host.now ? host.now() : now_ms();
}

uint64_t gcorn_now_us(void)
{
    return host.now ? host.now() * 1000 : now_ns() / 1000;
}

/* ---- the loop ---------------------------------------------------------------------------- */

/* True: a function that is to be called is there, and a time above 0 where one is needed. */
static bool is_callable(gcorn_call_fn *fn, bool has_time)
{
    if (!fn || !has_time)
        errno = EINVAL;
    return fn && has_time;
}

struct gcorn_timer *gcorn_timer_once(uint64_t after_ms, gcorn_call_fn *fn, void *arg)
{
    return is_callable(fn, true) ? host.timer_start(after_ms, false, fn, arg) : NULL;
}

struct gcorn_timer *gcorn_timer_every(uint64_t every_ms, gcorn_call_fn *fn, void *arg)
{
    return is_callable(fn, every_ms > 0) ? host.timer_start(every_ms, true, fn, arg) : NULL;
}

void gcorn_timer_stop(struct gcorn_timer *timer)
{
    if (timer)
        host.timer_stop(timer);
}

int gcorn_post(gcorn_call_fn *fn, void *arg)
{
    return is_callable(fn, true) ? host.post(fn, arg) : -1;
}

int gcorn_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg)
{
    return is_callable(run, true) ? host.thread_start(name, run, stop, arg) : -1;
}

/* ---- requests that wait ------------------------------------------------------------------ */

static const uint64_t no_ticket = UINT64_MAX; /* of a request that nothing can wake */

uint64_t gcorn_ticket(struct gcorn_environ *env)
{
    uint64_t ticket = host.ticket ? host.ticket(env) : 0;

    return ticket != 0 ? ticket : no_ticket;
}

void gcorn_wake(uint64_t ticket)
{
    if (ticket != 0 && ticket != no_ticket && host.wake)
        host.wake(ticket);
}

void gcorn_wake_at(struct gcorn_environ *env, uint64_t when)
{
    if (host.wake_at)
        host.wake_at(env, when > 0 ? when : 1);
}

bool gcorn_client_gone(struct gcorn_environ *env)
{
    return host.client_gone && host.client_gone(env);
}

void gcorn_extend_deadline(struct gcorn_environ *env, unsigned ms)
{
    if (host.extend_deadline)
        host.extend_deadline(env, ms);
}

/* ---- pushes ------------------------------------------------------------------------------ */

int gcorn_send(struct gcorn_environ *env, const void *data, size_t len)
{
    const struct response *r = &env->response;

    errno = EINVAL;
    if (!response_takes_pushes(r))
        return -1;
    if (!r->started || r->refused)
        return response_spoil(env, "gcorn_send: the answer was not started (gcorn_start)");
    if (!data && len > 0)
        return response_spoil(env, "gcorn_send: data is NULL");
    if (env->sink)
        return exchange_push(env, data, len);
    errno = ENOTSUP;
    return host.send ? host.send(env, data, len) : -1;
}

/* ---- metrics ----------------------------------------------------------------------------- */

struct gcorn_metric *gcorn_counter(const char *name, const char *help)
{
    if (host.counter)
        return host.counter(name, help);
    errno = ENOTSUP;
    return NULL;
}

struct gcorn_metric *gcorn_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind)
{
    if (host.gauge)
        return host.gauge(name, help, kind);
    errno = ENOTSUP;
    return NULL;
}

struct gcorn_metric *gcorn_histogram(const char *name, const char *help, const double *bounds,
                                     size_t count)
{
    if (host.histogram)
        return host.histogram(name, help, bounds, count);
    errno = ENOTSUP;
    return NULL;
}

void gcorn_metric_add(struct gcorn_metric *metric, double amount)
{
    if (metric)
        host.metric_add(metric, amount);
}

void gcorn_metric_set(struct gcorn_metric *metric, double value)
{
    if (metric)
        host.metric_set(metric, value);
}

void gcorn_metric_observe(struct gcorn_metric *metric, double value)
{
    if (metric)
        host.metric_observe(metric, value);
}

/* ---- workers together -------------------------------------------------------------------- */

static int refuse(int reason)
{
    errno = reason;
    return -1;
}

int gcorn_publish(const char *channel, const void *data, size_t len)
{
    if (!channel_is_valid(channel) || (!data && len > 0))
        return refuse(EINVAL);
    return host.publish ? host.publish(channel, data ? data : "", len) : refuse(ENOTSUP);
}

struct gcorn_subscription *gcorn_subscribe(const char *channel, gcorn_message_fn *fn, void *arg)
{
    if (channel_is_valid(channel) && fn && host.subscribe)
        return host.subscribe(channel, fn, arg);
    errno = host.subscribe ? EINVAL : ENOTSUP;
    return NULL;
}

void gcorn_unsubscribe(struct gcorn_subscription *subscription)
{
    if (subscription && host.unsubscribe)
        host.unsubscribe(subscription);
}

void *gcorn_shared(const char *name, size_t size, bool *fresh)
{
    bool ignored;

    if (host.shared)
        return host.shared(name, size, fresh ? fresh : &ignored);
    errno = ENOTSUP;
    return NULL;
}
