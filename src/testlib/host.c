/* SPDX-License-Identifier: MIT
 *
 * A test as the host of an application (http/host.h): what include/gcorn.h lets the application ask
 * of its worker.
 */
#include "http/host.h"

#include <errno.h>

#include "testlib/messages.h"
#include "testlib/metrics.h"
#include "testlib/state.h"
#include "testlib/test_loop.h"
#include "worker/call/app_metrics.h"

static struct test *test_of(struct gcorn_environ *env)
{
    return (struct test *)(void *)((char *)env - offsetof(struct test, env));
}

static uint64_t test_ticket(struct gcorn_environ *env)
{
    return test_of(env)->ticket;
}

static void test_wake(uint64_t ticket)
{
    (void)pthread_mutex_lock(&testlib.lock);
    for (struct test *t = testlib.tests; t; t = t->next)
        t->is_woken = t->is_woken || t->ticket == ticket;
    (void)pthread_mutex_unlock(&testlib.lock);
    if (testlib.loop)
        ev_async_send(testlib.loop, &testlib.turn);
}

/* What a client that is still there receives of it is read when the call is over. */
static int test_send(struct gcorn_environ *env, const void *data, size_t len)
{
    struct test *t = test_of(env);
    uint64_t left = t->leave_after - env->response.body_len;

    errno = ECONNRESET;
    if (t->client_gone)
        return -1;
    bool leaves = len > 0 && len >= left;
    bool fits = framing_h1_push(env, &t->bytes, data, leaves ? (size_t)left : len);
    t->client_gone = leaves;
    errno = EINVAL;
    return fits ? 0 : -1;
}

static int test_publish_and_wake(const char *channel, const void *data, size_t len)
{
    int result = test_publish(channel, data, len);

    if (result == 0 && testlib.loop) /* another thread may have published */
        ev_async_send(testlib.loop, &testlib.turn);
    return result;
}

static void test_wake_at(struct gcorn_environ *env, uint64_t when)
{
    test_of(env)->wake_at_ms = when;
}

static uint64_t test_now(void)
{
    return atomic_load(&testlib.now_ms);
}

static bool test_client_gone(struct gcorn_environ *env)
{
    return test_of(env)->client_gone;
}

/* Into the bytes at once, as a worker's loop does; they are read when the call is over. */
static void test_interim(struct gcorn_environ *env)
{
    framing_h1_interims(env, &test_of(env)->bytes);
}

static struct ev_loop *test_loop(void)
{
    testlib_init();
    return testlib.loop;
}

static bool test_draining(void)
{
    return atomic_load(&testlib.draining);
}

static struct gcorn_timer *start_timer(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg)
{
    testlib_init(); /* timers belong to the thread that is the first to come here */
    return test_timer_start(ms, repeats, fn, arg);
}

/* Without a worker's number, threads of a pool and deadlines, for which http/host.c has answers. */
const struct host host = {
    .loop = test_loop,
    .draining = test_draining,
    .now = test_now,
    .ticket = test_ticket,
    .wake = test_wake,
    .wake_at = test_wake_at,
    .timer_start = start_timer,
    .timer_stop = test_timer_stop,
    .post = test_post,
    .thread_start = test_thread_start,
    .client_gone = test_client_gone,
    .interim = test_interim,
    .send = test_send,
    .counter = test_counter,
    .gauge = test_gauge,
    .histogram = test_histogram,
    .metric_add = metrics_add,
    .metric_set = metrics_set,
    .metric_observe = metrics_observe,
    .publish = test_publish_and_wake,
    .subscribe = test_subscribe,
    .unsubscribe = test_unsubscribe,
    .shared = test_shared,
};
