/* SPDX-License-Identifier: MIT
 *
 * gcorn_test - libgcorn-test: src/http as a server runs it, with a test in the server's place. See
 * include/gcorn_test.h, which is its header. What the answer's client would get is collected as
 * bytes and read again, so that a test sees what a client sees.
 */
#include "gcorn_test.h"

#include <assert.h>
#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/environ.h"
#include "http/exchange.h"
#include "http/host.h"

struct test {
    struct gcorn_test public; /* first: a test is what its caller sees of it */
    struct test *next;
    struct gcorn_environ env;
    struct strbuf bytes; /* as they leave for the client */
    struct strbuf body;
    size_t decoded; /* of bytes */
    struct gcorn_header *headers;
    char *head; /* what they point into */
    bool ended;
    bool client_gone; /* before it ended */
    uint64_t ticket;
    uint64_t wake_at_ms;
    bool is_woken; /* under the lock */
};

enum { CLOCK_START_MS = 1000000 };

static struct {
    struct http_context context;
    struct http_peer peer;
    struct ev_loop *loop;
    struct ev_async turn;
    struct test *tests; /* all that are not closed */
    uint64_t ticket_count;
    _Atomic uint64_t now_ms;
    _Atomic bool draining;
    /* Guards what gcorn_wake reads and changes, from any thread: the list, and is_woken of each
     * test. */
    pthread_mutex_t lock;
} self = {.now_ms = CLOCK_START_MS, .lock = PTHREAD_MUTEX_INITIALIZER};

static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    (void)loop;
    (void)async;
    (void)revents; /* it was needed to wake the loop, no more */
}

static void init(void)
{
    static const struct http_local local = {"127.0.0.1", "80", "http"};
    const char *tmp = getenv("TMPDIR");

    if (self.loop)
        return;
    self.loop = ev_loop_new(EVFLAG_NOENV);
    assert(self.loop);
    ev_async_init(&self.turn, on_turn);
    ev_async_start(self.loop, &self.turn);
    self.context = (struct http_context){
        .limits = {
            .head = {.line_max = 4094, .field_max = 8190, .fields_max = 100, .head_max = 64 * 1024},
            .body_max = UINT64_C(1) << 40,
            .chunk_ext_max = 4096,
            .body_mem_max = 64 * 1024,
            .body_dir = tmp && *tmp != '\0' ? tmp : "/tmp"}};
    self.peer =
        (struct http_peer){.local = &local, .remote_addr = "127.0.0.1", .remote_port = "49152"};
}

/* ---- the answer, as its client reads it --------------------------------------------------- */

static void read_head(struct test *t, size_t len)
{
    size_t count = 0;
    char *line;

    t->head = xmalloc(len + 1);
    memcpy(t->head, t->bytes.data, len);
    t->head[len] = '\0';
    for (const char *p = t->head; (p = strstr(p, "\r\n")); p += 2)
        count++;
    t->headers = xcalloc(count + 1, sizeof(*t->headers));
    t->public.status = atoi(t->head + strlen("HTTP/1.1 "));
    t->public.headers = t->headers;
    count = 0;
    line = strstr(t->head, "\r\n") + 2;
    for (char *end; (end = strstr(line, "\r\n")) && end > line; line = end + 2) {
        char *colon = strstr(line, ": ");

        assert(colon); /* as the server has written it */
        *colon = *end = '\0';
        t->headers[count].name = line;
        t->headers[count++].value = colon + 2;
    }
}

/* One chunk that is there whole. */
static bool read_chunk(struct test *t)
{
    if (t->bytes.len - t->decoded >= 2 && t->bytes.data[t->decoded] == '\r')
        t->decoded += 2; /* the end of the one before */
    const char *from = t->bytes.data + t->decoded;
    size_t left = t->bytes.len - t->decoded;
    const char *line_end = left > 0 ? memchr(from, '\n', left) : NULL;
    if (!line_end)
        return false;
    size_t size = strtoul(from, NULL, 16), head = (size_t)(line_end + 1 - from);
    if (left < head + size || size == 0)
        return false;
    strbuf_add(&t->body, from + head, size);
    t->decoded += head + size;
    return true;
}

static void read_bytes(struct test *t)
{
    const char *end = t->headers || !t->bytes.data ? NULL : strstr(t->bytes.data, "\r\n\r\n");

    if (end) {
        t->decoded = (size_t)(end + 4 - t->bytes.data);
        read_head(t, t->decoded);
    }
    if (t->headers && t->env.h1.framing == FRAMING_CHUNKED) {
        while (read_chunk(t))
            continue;
    } else if (t->headers) {
        strbuf_add(&t->body, t->bytes.data + t->decoded, t->bytes.len - t->decoded);
        t->decoded = t->bytes.len;
    }
    t->public.body = t->body.data ? t->body.data : "";
    t->public.len = t->body.len;
}

/* ---- running ------------------------------------------------------------------------------ */

/* The request is over: what a worker does then. */
static void end_request(struct test *t)
{
    if (t->ended)
        return;
    t->ended = true;
    t->public.waits = false;
    environ_reset(&t->env);
}

static void add_bytes(void *state, const char *data, size_t len)
{
    strbuf_add(&((struct test *)state)->bytes, data, len);
}

/* What has come of the exchange. */
static void show(struct test *t, enum exchange_end end)
{
    t->public.waits = end == EXCHANGE_WAITS;
    t->public.broken = end == EXCHANGE_BROKEN;
    t->public.complete = end == EXCHANGE_WHOLE;
    read_bytes(t);
    if (!t->public.waits)
        end_request(t);
}

static void go_on(struct test *t)
{
    const struct exchange_sink sink = {.write = add_bytes, .state = t};

    show(t, exchange_go_on(&t->env, &sink));
}

/* Is the request due? Then it is not any more. */
static bool take_wake(struct test *t)
{
    (void)pthread_mutex_lock(&self.lock);
    bool is_due = t->is_woken || (t->wake_at_ms != 0 && t->wake_at_ms <= gcorn_now());
    t->is_woken = false;
    (void)pthread_mutex_unlock(&self.lock);
    if (is_due && t->wake_at_ms <= gcorn_now())
        t->wake_at_ms = 0;
    return is_due;
}

/* Every request that is due, once. Closing one is the test's, so the list stays as it is. */
static bool run_due(void)
{
    bool any = false;

    for (struct test *t = self.tests; t; t = t->next) {
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

/* The parser takes a request that stops too early for one whose rest is still to come. */
static void feed(struct test *t, const char *head, const void *body, size_t len)
{
    struct request *r = &t->env.request;
    struct strbuf bytes = {0};

    add_head(&bytes, head, len);
    (void)request_feed(r, bytes.data, bytes.len);
    strbuf_release(&bytes);
    for (size_t used = 0; used < len && r->state < REQUEST_DONE;)
        used += request_feed(r, (const char *)body + used, len - used);
}

struct gcorn_test *gcorn_test_request(gcorn_app *app, const char *head, const void *body,
                                      size_t len)
{
    struct test *t = xcalloc(1, sizeof(*t));
    const struct exchange_sink sink = {.write = add_bytes, .state = t};

    init();
    http_context_set_date(&self.context, time(NULL));
    environ_init(&t->env, &self.context, &self.peer, ++self.ticket_count);
    t->public.body = "";
    t->ticket = self.ticket_count;
    (void)pthread_mutex_lock(&self.lock);
    t->next = self.tests;
    self.tests = t;
    (void)pthread_mutex_unlock(&self.lock);
    feed(t, head, body, len);
    t->env.h1.close = !t->env.request.keep_alive;
    show(t, exchange_run(&t->env, app, &sink));
    return &t->public;
}

static void on_time_over(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    *(bool *)timer->data = true;
}

bool gcorn_test_wait(struct gcorn_test *test, unsigned ms)
{
    const struct test *t = (const struct test *)(const void *)test;
    size_t len = t->body.len;
    struct ev_timer timer;
    bool time_is_over = ms == 0;

    ev_timer_init(&timer, on_time_over, ms / 1000.0, 0);
    timer.data = &time_is_over;
    ev_now_update(self.loop);
    if (ms > 0)
        ev_timer_start(self.loop, &timer);
    (void)run_due();
    while (test->waits && t->body.len == len && !time_is_over) {
        (void)ev_run(self.loop, EVRUN_ONCE);
        (void)run_due();
    }
    ev_timer_stop(self.loop, &timer);
    return !test->waits || t->body.len > len;
}

void gcorn_test_advance(uint64_t ms)
{
    atomic_fetch_add(&self.now_ms, ms);
    (void)run_due();
}

void gcorn_test_drain(bool draining)
{
    atomic_store(&self.draining, draining);
    for (struct test *t = self.tests; t && draining; t = t->next)
        gcorn_wake(t->ticket);
    (void)run_due();
}

void gcorn_test_close(struct gcorn_test *test)
{
    struct test *t = (struct test *)(void *)test, **at = &self.tests;

    if (!t)
        return;
    if (!t->ended) {
        t->client_gone = true;
        response_abandon(&t->env);
    }
    end_request(t);
    (void)pthread_mutex_lock(&self.lock);
    while (*at != t)
        at = &(*at)->next;
    *at = t->next;
    (void)pthread_mutex_unlock(&self.lock);
    environ_release(&t->env);
    strbuf_release(&t->bytes);
    strbuf_release(&t->body);
    free(t->headers);
    free(t->head);
    free(t);
}

/* ---- the host ----------------------------------------------------------------------------- */

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
    (void)pthread_mutex_lock(&self.lock);
    for (struct test *t = self.tests; t; t = t->next)
        t->is_woken = t->is_woken || t->ticket == ticket;
    (void)pthread_mutex_unlock(&self.lock);
    if (self.loop)
        ev_async_send(self.loop, &self.turn);
}

static void test_wake_at(struct gcorn_environ *env, uint64_t when)
{
    test_of(env)->wake_at_ms = when;
}

static uint64_t test_now(void)
{
    return atomic_load(&self.now_ms);
}

static bool test_client_gone(struct gcorn_environ *env)
{
    return test_of(env)->client_gone;
}

static struct ev_loop *test_loop(void)
{
    init();
    return self.loop;
}

static bool test_draining(void)
{
    return atomic_load(&self.draining);
}

/* Without slots, threads, deadlines and metrics, for which http/host.c has answers. */
const struct host host = {
    .loop = test_loop,
    .draining = test_draining,
    .now = test_now,
    .ticket = test_ticket,
    .wake = test_wake,
    .wake_at = test_wake_at,
    .client_gone = test_client_gone,
};
