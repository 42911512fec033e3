/* SPDX-License-Identifier: MIT
 *
 * See request.h and gcorn_test.h.
 */
#include "testlib/request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/util.h"
#include "http/exchange.h"
#include "testlib/answer.h"
#include "testlib/hooks.h"
#include "testlib/messages.h"
#include "testlib/receive.h"
#include "testlib/state.h"
#include "testlib/test_loop.h"

/* The request is over: what a worker does then. */
static void end_request(struct test *t)
{
    if (t->ended)
        return;
    t->ended = true;
    t->public.waits = false;
    response_close(&t->env);
    hooks_after_request(t);
    environ_reset(&t->env);
}

static void add_bytes(void *state, const char *data, size_t len)
{
    strbuf_add(&((struct test *)state)->bytes, data, len);
}

/* What has come of the exchange. */
void request_show(struct test *t, enum exchange_end end)
{
    t->public.waits = end == EXCHANGE_WAITS;
    t->public.broken = end == EXCHANGE_BROKEN;
    t->public.complete = end == EXCHANGE_WHOLE;
    answer_read(t);
    if (t->public.broken)
        t->env.response.ended = "application";
    if (end == EXCHANGE_GONE) {
        t->env.response.ended = "client gone";
        response_abandon(&t->env);
    }
    if (!t->public.waits)
        end_request(t);
}

void request_go_on_answer(struct test *t)
{
    const struct exchange_sink sink = {.write = add_bytes, .state = t};

    request_show(t, exchange_go_on(&t->env, &sink));
}

void request_read_answer(struct test *t)
{
    answer_read(t);
}

static void go_on(struct test *t)
{
    request_go_on_answer(t);
    receive_kept(t);
    receive_pause(t);
}

/* Is the request due? Then it is not any more. */
static bool take_wake(struct test *t)
{
    (void)pthread_mutex_lock(&testlib.lock);
    bool is_due = t->is_woken || (t->wake_at_ms != 0 && t->wake_at_ms <= gcorn_now());
    t->is_woken = false;
    (void)pthread_mutex_unlock(&testlib.lock);
    if (is_due && t->wake_at_ms <= gcorn_now())
        t->wake_at_ms = 0;
    return is_due;
}

/* Every request that is due, once. Closing one is the test's, so the list stays as it is. */
bool testlib_run_due(void)
{
    bool any = test_run_posts();

    any = test_deliver_messages() || any;
    any = test_run_timers() || any;
    for (struct test *t = testlib.tests; t; t = t->next) {
        if (t->public.waits && take_wake(t)) {
            go_on(t);
            any = true;
        }
    }
    return any;
}

static bool has_field(const char *head, const char *name)
{
    for (const char *line = strchr(head, '\n'); line; line = strchr(line + 1, '\n')) {
        if (ascii_same_n(line + 1, name, strlen(name)))
            return true;
    }
    return false;
}

static void add_head(struct strbuf *out, const char *head, size_t len)
{
    bool has_length = has_field(head, "Content-Length:") || has_field(head, "Transfer-Encoding:");

    for (const char *line = head; *line != '\0'; line += *line == '\n') {
        size_t line_len = strcspn(line, "\r\n");

        strbuf_add(out, line, line_len);
        strbuf_addstr(out, "\r\n");
        line += line_len;
        line += *line == '\r';
    }
    if (!has_field(head, "Host:"))
        strbuf_addstr(out, "Host: localhost\r\n");
    if (!has_length && len > 0)
        strbuf_addf(out, "Content-Length: %zu\r\n", len);
    strbuf_addstr(out, "\r\n");
}

static struct test *new_test(gcorn_app *app, bool is_https, const char *port)
{
    struct test *t = xcalloc(1, sizeof(*t));

    testlib_init();
    (void)snprintf(t->port, sizeof(t->port), "%s", port);
    t->local = (struct http_local){"127.0.0.1", t->port, is_https ? "https" : "http"};
    t->peer =
        (struct http_peer){.local = &t->local, .remote_addr = "127.0.0.1", .remote_port = "49152"};
    t->ticket = ++testlib.ticket_count;
    environ_init(&t->env, &testlib.context, &t->peer, t->ticket);
    t->app = app;
    t->leave_after = testlib.leaves ? testlib.leave_after : UINT64_MAX;
    testlib.leaves = false;
    t->public.body = "";
    (void)pthread_mutex_lock(&testlib.lock);
    t->next = testlib.tests;
    testlib.tests = t;
    (void)pthread_mutex_unlock(&testlib.lock);
    return t;
}

/* The client sends a head; a body of len bytes is to follow, unless the head says otherwise. */
static void send_head(struct test *t, const char *head, size_t len)
{
    struct strbuf bytes = {0};

    add_head(&bytes, head, len);
    receive_bytes(t, bytes.data, bytes.len);
    strbuf_release(&bytes);
}

struct gcorn_test *request_run(gcorn_app *app, bool is_https, const char *port, const char *head,
                               const void *body, size_t len)
{
    struct test *t = new_test(app, is_https, port);

    send_head(t, head, len);
    receive_bytes(t, body, len);
    receive_end(t);
    return &t->public;
}

struct gcorn_test *gcorn_test_request(gcorn_app *app, const char *head, const void *body,
                                      size_t len)
{
    return request_run(app, false, "80", head, body, len);
}

struct gcorn_test *request_open(gcorn_app *app, bool is_https, const char *port, const char *head)
{
    struct test *t = new_test(app, is_https, port);

    send_head(t, head, 0);
    receive_pause(t);
    return &t->public;
}

struct gcorn_test *gcorn_test_open(gcorn_app *app, const char *head)
{
    return request_open(app, false, "80", head);
}

void gcorn_test_send(struct gcorn_test *test, const void *data, size_t len)
{
    struct test *t = (struct test *)(void *)test;

    if (!data)
        receive_end(t);
    else
        receive_bytes(t, data, len);
    receive_pause(t);
}

static void on_time_over(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    *(bool *)timer->data = true;
}

/* Has what the test waits for come: the end of the request or bytes of it; for NULL, any call? */
static bool has_come(const struct test *t, size_t len, bool any)
{
    return t ? !t->public.waits || t->body.len > len : any;
}

bool gcorn_test_wait(struct gcorn_test *test, unsigned ms)
{
    const struct test *t = (const struct test *)(const void *)test;
    size_t len = t ? t->body.len : 0;
    struct ev_timer timer;
    bool time_is_over = ms == 0;

    testlib_init();
    ev_timer_init(&timer, on_time_over, ms / 1000.0, 0);
    timer.data = &time_is_over;
    ev_now_update(testlib.loop);
    if (ms > 0)
        ev_timer_start(testlib.loop, &timer);
    bool any = testlib_run_due();
    while (!has_come(t, len, any) && !time_is_over) {
        (void)ev_run(testlib.loop, EVRUN_ONCE);
        any = testlib_run_due() || any;
    }
    ev_timer_stop(testlib.loop, &timer);
    return has_come(t, len, any);
}

void gcorn_test_stop_threads(void)
{
    test_stop_threads();
}

void gcorn_test_drain(bool draining)
{
    atomic_store(&testlib.draining, draining);
    for (struct test *t = testlib.tests; t && draining; t = t->next)
        gcorn_wake(t->ticket);
    (void)testlib_run_due();
}

void request_set_keeper(struct gcorn_test *test, struct gcorn_test **keeper)
{
    struct test *t = (struct test *)(void *)test;

    if (t->keeper)
        *t->keeper = NULL;
    t->keeper = keeper;
    if (keeper)
        *keeper = test;
}

void request_cut(struct test *t)
{
    if (t->ended)
        return;
    t->env.response.ended = "stopped";
    response_abandon(&t->env);
    t->public.broken = true;
    end_request(t);
}

void gcorn_test_lose(size_t count)
{
    test_lose_messages(count);
    (void)testlib_run_due();
}

void gcorn_test_leave_after(size_t len)
{
    testlib.leaves = true;
    testlib.leave_after = len;
}

void gcorn_test_close(struct gcorn_test *test)
{
    struct test *t = (struct test *)(void *)test, **at = &testlib.tests;

    if (!t)
        return;
    request_set_keeper(test, NULL);
    if (!t->ended) {
        t->client_gone = true;
        if (t->env.request.ahead)
            t->env.request.ahead->is_lost = true;
        t->env.response.ended = "client gone";
        response_abandon(&t->env);
    }
    end_request(t);
    (void)pthread_mutex_lock(&testlib.lock);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    (void)pthread_mutex_unlock(&testlib.lock);
    environ_release(&t->env);
    strbuf_release(&t->kept);
    strbuf_release(&t->bytes);
    strbuf_release(&t->body);
    answer_free(t);
    free(t);
}
