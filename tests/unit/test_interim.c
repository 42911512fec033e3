/* SPDX-License-Identifier: MIT
 *
 * Interim answers (RFC 9110 15.2, RFC 8297): which there may be, when, and their bytes. Without a
 * client's connection they leave with the head, in front of it.
 */
#include "http_case.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define GET     "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_10  "GET / HTTP/1.0\r\n\r\n"
#define KEEP_10 "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

#define COMMON "Server: gcorn\r\nDate: " HTTP_CASE_DATE "\r\n"
#define OK     "HTTP/1.1 200 OK\r\n" COMMON

static const struct gcorn_header link_fields[] = {
    {"Link", "</a.css>; rel=preload; as=style"}, {"X", ""}, {NULL, NULL}};
#define HINT "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload; as=style\r\nX: \r\n\r\n"

static struct {
    const char *status;
    const struct gcorn_header *headers;
    bool fails;  /* the handler, after its interim answer */
    int result;  /* of the last gcorn_interim */
    int error;   /* errno of it */
    int in_next; /* which call of next sends one, from 1; 0: the handler does */
    int nexts;
} app;

static void send_interim(struct gcorn_environ *env)
{
    errno = 0;
    app.result = gcorn_interim(env, app.status, app.headers);
    app.error = errno;
}

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    send_interim(env);
    (void)gcorn_start(start, "200 OK", NULL);
    return app.fails ? NULL : gcorn_body_text(env, "hello");
}

static void expect_answer(const char *request, gcorn_app *run, const char *want)
{
    struct http_case c;
    struct http_answer a;

    app.nexts = 0;
    http_case_run(&c, request, run, &a);
    strbuf_add(&a.bytes, "", 1);
    assert_string_equal(a.bytes.data, want);
    http_answer_release(&a);
    http_case_close(&c);
}

static void set_app(const char *status, const struct gcorn_header *headers)
{
    memset(&app, 0, sizeof(app));
    app.status = status;
    app.headers = headers;
}

#define HELLO OK "Content-Length: 5\r\n\r\nhello"

static void test_interim_bytes(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    expect_answer(GET, handler, HINT HELLO);
    assert_int_equal(app.result, 0);
    expect_answer(HEAD, handler, HINT OK "Content-Length: 5\r\n\r\n");
    assert_int_equal(app.result, 0);
    set_app("102 Processing", NULL);
    expect_answer(GET, handler, "HTTP/1.1 102 Processing\r\n\r\n" HELLO);
    set_app("199", NULL);
    expect_answer(GET, handler, "HTTP/1.1 199 \r\n\r\n" HELLO);
    set_app("110 ", NULL);
    expect_answer(GET, handler, "HTTP/1.1 110 \r\n\r\n" HELLO);
}

static void test_client_of_http_1_0_gets_none(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    expect_answer(GET_10, handler, OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(app.result, -1);
    assert_int_equal(app.error, ENOTSUP);
    expect_answer(KEEP_10, handler, OK "Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(app.error, ENOTSUP);
}

/* What is refused changes nothing of the answer. */
static void test_invalid_interim_leaves_answer(void **state)
{
    static const struct {
        const char *status;
        struct gcorn_header headers[3];
    } bad[] = {
        {NULL, {{"A", "b"}}},
        {"", {{"A", "b"}}},
        {"100 Continue", {{"A", "b"}}},
        {"101 Switching Protocols", {{"A", "b"}}},
        {"200 OK", {{"A", "b"}}},
        {"10 Early", {{"A", "b"}}},
        {"1033 Early", {{"A", "b"}}},
        {"103Early", {{"A", "b"}}},
        {"103 Early\r\n", {{"A", "b"}}},
        {"10a Early", {{"A", "b"}}},
        {"103 Early Hints", {{"A", "b\r\nC: d"}}},
        {"103 Early Hints", {{"A", NULL}}},
        {"103 Early Hints", {{"A b", "c"}}},
        {"103 Early Hints", {{"", "c"}}},
        {"103 Early Hints", {{"A", "b"}, {"Content-Length", "0"}}},
        {"103 Early Hints", {{"Transfer-Encoding", "chunked"}}},
        {"103 Early Hints", {{"Connection", "close"}}},
        {"103 Early Hints", {{"Upgrade", "h2c"}}},
        {"103 Early Hints", {{"Trailer", "X"}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        set_app(bad[i].status, bad[i].headers);
        expect_answer(GET, handler, HELLO);
        if (app.result != -1 || app.error != EINVAL)
            fail_msg("%s, %s: %d", bad[i].status ? bad[i].status : "NULL", bad[i].headers[0].name,
                     app.result);
    }
}

static void test_failed_handler_is_500_after_interim(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    app.fails = true;
    expect_answer(GET, handler,
                  HINT "HTTP/1.1 500 Internal Server Error\r\n" COMMON
                       "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\n\r\n"
                       "500 Internal Server Error\n");
}

/* ---- when it may be sent --------------------------------------------------------------------- */

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)state;
    if (++app.nexts == app.in_next)
        send_interim(env);
    *chunk = "ab";
    return app.nexts <= 2 ? 2 : 0;
}

static struct gcorn_body *iterator(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    if (app.in_next == 0)
        send_interim(env);
    return gcorn_body_iter(env, next, NULL, NULL);
}

#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n2\r\nab\r\n0\r\n\r\n"

static void test_interim_after_start_and_in_first_next(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    expect_answer(GET, iterator, HINT CHUNKED);
    app.in_next = 1;
    expect_answer(GET, iterator, HINT CHUNKED);
    assert_int_equal(app.result, 0);
}

static void test_interim_after_first_byte_is_too_late(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    for (app.in_next = 2; app.in_next <= 3; app.in_next++) {
        expect_answer(GET, iterator, CHUNKED);
        assert_int_equal(app.result, -1);
        assert_int_equal(app.error, EALREADY);
    }
}

static void interim_late(void *arg)
{
    send_interim(arg);
}

static struct gcorn_body *defers(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    gcorn_defer(env, interim_late, env);
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_text(env, "hello");
}

static void test_interim_after_request_is_too_late(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    expect_answer(GET, defers, HELLO);
    assert_int_equal(app.result, -1);
    assert_int_equal(app.error, EALREADY);
}

/* ---- how much -------------------------------------------------------------------------------- */

static struct gcorn_body *fills_up(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static char value[1000 + 1];
    const struct gcorn_header fields[] = {{"A", value}, {NULL, NULL}};
    int sent = 0;

    memset(value, 'v', sizeof(value) - 1);
    while (gcorn_interim(env, "103 Early Hints", fields) == 0)
        sent++;
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(sent, 64 * 1024 / (1000 + 5 + 15));
    app.status = "103";
    send_interim(env); /* for a small one there is room */
    return handler(env, start);
}

static void test_interims_of_request_are_bounded(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    set_app("103", NULL);
    http_case_run(&c, GET, fills_up, &a);
    assert_int_equal(app.result, 0);
    assert_in_range(a.bytes.len, 64 * 1024, 68 * 1024);
    http_answer_release(&a);
    http_case_close(&c);
}

/* The head of the answer before is kept for the next one: it is not taken in the place of an interim
 * answer, nor is that kept with it. */
static void test_kept_head_and_interims(void **state)
{
    static const struct gcorn_header *const headers[] = {NULL, link_fields, NULL, link_fields};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct http_answer a;

        set_app(headers[i] ? "103 Early Hints" : "100", headers[i]);
        http_case_feed(&c, GET);
        response_run(&c.env, handler);
        http_case_collect(&c, &a);
        strbuf_add(&a.bytes, "", 1);
        assert_string_equal(a.bytes.data, headers[i] ? HINT HELLO : HELLO);
        http_answer_release(&a);
        environ_reset(&c.env);
        environ_init(&c.env, &c.context, &c.peer, HTTP_CASE_ID);
    }
    http_case_close(&c);
}

/* ---- middleware ------------------------------------------------------------------------------ */

struct counter {
    int starts;
    struct gcorn_start_response *outer;
};

static int count_starts(void *state, const char *status, const struct gcorn_header *headers)
{
    struct counter *counter = state;

    counter->starts++;
    return gcorn_start(counter->outer, status, headers);
}

static struct gcorn_body *wrapped(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct counter *counter = gcorn_alloc(env, sizeof(*counter));

    counter->outer = start;
    struct gcorn_body *body = handler(env, gcorn_start_wrap(env, count_starts, counter));
    assert_int_equal(counter->starts, 1); /* of the answer alone */
    return body;
}

static void test_middleware_does_not_see_interim(void **state)
{
    (void)state;
    set_app("103 Early Hints", link_fields);
    expect_answer(GET, wrapped, HINT HELLO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_interim_bytes),
        cmocka_unit_test(test_client_of_http_1_0_gets_none),
        cmocka_unit_test(test_invalid_interim_leaves_answer),
        cmocka_unit_test(test_failed_handler_is_500_after_interim),
        cmocka_unit_test(test_interim_after_start_and_in_first_next),
        cmocka_unit_test(test_interim_after_first_byte_is_too_late),
        cmocka_unit_test(test_interim_after_request_is_too_late),
        cmocka_unit_test(test_interims_of_request_are_bounded),
        cmocka_unit_test(test_kept_head_and_interims),
        cmocka_unit_test(test_middleware_does_not_see_interim),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
