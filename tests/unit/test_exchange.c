/* SPDX-License-Identifier: MIT
 *
 * exchange: one request and its answer without a connection, to the end, until it waits, refused.
 */
#include "http_case.h"

#include <errno.h>

#include "http/exchange.h"

#define GET "GET /p HTTP/1.1\r\nHost: h\r\n\r\n"

/* Where answers go; waits says how often the application may be asked again. */
struct taken {
    struct strbuf bytes;
    int waits, waited;
};

static void take(void *state, const char *data, size_t len)
{
    struct taken *t = state;

    strbuf_add(&t->bytes, data, len);
}

static bool wait_some(void *state, struct gcorn_environ *env)
{
    struct taken *t = state;

    assert_true(env->response.waits);
    t->waited++;
    return t->waits-- > 0;
}

/* "one", nothing for now, "two", and then the end or a failure. */
static ssize_t one_two(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *turn = state;

    (void)env;
    switch ((*turn)++) {
    case 0: *chunk = "one"; return 3;
    case 1: return GCORN_AGAIN;
    case 2: *chunk = "two"; return 3;
    default: return gcorn_get_ptr(env, "t.fails") ? -1 : 0;
    }
}

static struct gcorn_body *counts_to_two(struct gcorn_environ *env,
                                        struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_iter(env, one_two, NULL, gcorn_alloc(env, sizeof(int)));
}

static void expect_end(const struct taken *t, const char *end)
{
    assert_true(t->bytes.len > strlen(end));
    assert_string_equal(t->bytes.data + t->bytes.len - strlen(end), end);
}

static void test_exchange_runs_to_the_end(void **state)
{
    struct taken t = {.waits = 1};
    const struct exchange_sink sink = {.write = take, .wait = wait_some, .state = &t};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    assert_int_equal(exchange_run(&c.env, counts_to_two, &sink), EXCHANGE_WHOLE);
    assert_int_equal(t.waited, 1);
    expect_end(&t, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
    strbuf_release(&t.bytes);
    http_case_close(&c);
}

/* A sink that does not wait, or gives up: it can go on later, and gets the rest. */
static void test_exchange_that_waits_goes_on(void **state)
{
    (void)state;
    for (int gives_up = 0; gives_up < 2; gives_up++) {
        struct taken t = {.waits = 0};
        const struct exchange_sink sink = {
            .write = take, .wait = gives_up ? wait_some : NULL, .state = &t};
        struct http_case c;

        http_case_open(&c);
        http_case_feed(&c, GET);
        assert_int_equal(exchange_run(&c.env, counts_to_two, &sink), EXCHANGE_WAITS);
        assert_int_equal(t.waited, gives_up);
        expect_end(&t, "\r\n\r\n3\r\none\r\n");
        assert_int_equal(exchange_go_on(&c.env, &sink), EXCHANGE_WHOLE);
        expect_end(&t, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");
        strbuf_release(&t.bytes);
        http_case_close(&c);
    }
}

static void test_exchange_with_a_failing_body_is_broken(void **state)
{
    struct taken t = {.waits = 1};
    const struct exchange_sink sink = {.write = take, .wait = wait_some, .state = &t};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    gcorn_set_ptr(&c.env, "t.fails", &t);
    assert_int_equal(exchange_run(&c.env, counts_to_two, &sink), EXCHANGE_BROKEN);
    expect_end(&t, "3\r\none\r\n3\r\ntwo\r\n");
    strbuf_release(&t.bytes);
    http_case_close(&c);
}

/* What is written nowhere is run all the same. */
static void test_exchange_without_sink_functions_runs(void **state)
{
    const struct exchange_sink sink = {.write = NULL};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    assert_int_equal(exchange_run(&c.env, counts_to_two, &sink), EXCHANGE_WAITS);
    assert_int_equal(exchange_go_on(&c.env, &sink), EXCHANGE_WHOLE);
    assert_int_equal(c.env.response.body_len, 6);
    http_case_close(&c);
}

static struct gcorn_body *must_not_run(struct gcorn_environ *env,
                                       struct gcorn_start_response *start_response)
{
    (void)env;
    (void)start_response;
    fail_msg("the application was run");
    return NULL;
}

static void test_exchange_without_a_whole_request_is_refused(void **state)
{
    static const struct {
        const char *raw, *status;
    } cases[] = {
        {"", "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/1.1\r\nHost:", "HTTP/1.1 400 Bad Request\r\n"},
        {"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nhalf",
         "HTTP/1.1 400 Bad Request\r\n"},
        {"GET / HTTP/2.0\r\n\r\n", "HTTP/1.1 505 HTTP Version Not Supported\r\n"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct taken t = {.waits = 0};
        const struct exchange_sink sink = {.write = take, .wait = wait_some, .state = &t};
        struct http_case c;

        http_case_open(&c);
        (void)request_feed(&c.env.request, cases[i].raw, strlen(cases[i].raw));
        assert_int_equal(exchange_run(&c.env, must_not_run, &sink), EXCHANGE_WHOLE);
        assert_memory_equal(t.bytes.data, cases[i].status, strlen(cases[i].status));
        strbuf_release(&t.bytes);
        http_case_close(&c);
    }
}

/* ---- pushes ------------------------------------------------------------------------------ */

static struct gcorn_body *pushes_two(struct gcorn_environ *env,
                                     struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    assert_int_equal(gcorn_send(env, NULL, 0), 0);
    assert_int_equal(gcorn_send(env, "one", 3), 0);
    assert_int_equal(gcorn_send(env, "two", 3), 0);
    assert_int_equal(gcorn_start(start_response, "500 Late", NULL), -1);
    assert_int_equal(errno, EALREADY);
    return gcorn_body_text(env, "three");
}

struct outer {
    struct gcorn_start_response *start_response;
    unsigned calls;
};

static int add_field(void *state, const char *status, const struct gcorn_header *headers)
{
    static const struct gcorn_header fields[] = {{"X-Outer", "seen"}, {NULL, NULL}};
    struct outer *outer = state;

    (void)headers;
    outer->calls++;
    return gcorn_start(outer->start_response, status, fields);
}

/* A middleware that changes the head. */
static struct gcorn_body *wraps_pushes(struct gcorn_environ *env,
                                       struct gcorn_start_response *start_response)
{
    struct outer *outer = gcorn_alloc(env, sizeof(*outer));

    outer->start_response = start_response;
    return pushes_two(env, gcorn_start_wrap(env, add_field, outer));
}

static void run_pushes(gcorn_app *app, const char *raw, struct taken *t, enum exchange_end end)
{
    const struct exchange_sink sink = {.write = take, .state = t};
    struct http_case c;

    http_case_open(&c);
    http_case_feed(&c, raw);
    assert_int_equal(exchange_run(&c.env, app, &sink), end);
    http_case_close(&c);
}

static void test_what_is_pushed_goes_before_what_is_returned(void **state)
{
    struct taken t = {.waits = 0};

    (void)state;
    run_pushes(pushes_two, GET, &t, EXCHANGE_WHOLE);
    expect_end(&t, "\r\n\r\n3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    strbuf_reset(&t.bytes);
    run_pushes(pushes_two, "GET /p HTTP/1.0\r\n\r\n", &t, EXCHANGE_WHOLE);
    expect_end(&t, "\r\n\r\nonetwothree");
    strbuf_reset(&t.bytes);
    run_pushes(pushes_two, "HEAD /p HTTP/1.1\r\nHost: h\r\n\r\n", &t, EXCHANGE_WHOLE);
    expect_end(&t, "\r\n\r\n");
    strbuf_release(&t.bytes);
}

static void test_middleware_sees_the_head_of_pushes(void **state)
{
    struct taken t = {.waits = 0};

    (void)state;
    run_pushes(wraps_pushes, GET, &t, EXCHANGE_WHOLE);
    assert_non_null(strstr(t.bytes.data, "\r\nX-Outer: seen\r\n"));
    expect_end(&t, "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n");
    strbuf_release(&t.bytes);
}

/* The head is held back, so there is none to send. */
static int hold(void *state, const char *status, const struct gcorn_header *headers)
{
    (void)state;
    (void)status;
    (void)headers;
    return 0;
}

static struct gcorn_body *pushes_too_early(struct gcorn_environ *env,
                                           struct gcorn_start_response *start_response)
{
    assert_int_equal(gcorn_start(gcorn_start_wrap(env, hold, NULL), "200 OK", NULL), 0);
    assert_int_equal(gcorn_send(env, "lost", 4), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_start(start_response, "200 OK", NULL), -1);
    return gcorn_body_text(env, "rest");
}

static void test_push_before_the_outer_start_is_500(void **state)
{
    struct taken t = {.waits = 0};

    (void)state;
    run_pushes(pushes_too_early, GET, &t, EXCHANGE_WHOLE);
    assert_memory_equal(t.bytes.data, "HTTP/1.1 500 ", 13);
    expect_end(&t, "\r\n\r\n500 Internal Server Error\n");
    strbuf_release(&t.bytes);
}

static bool left_after_one(void *state)
{
    const struct taken *t = state;

    return t->bytes.len > 3 && memmem(t->bytes.data, t->bytes.len, "one", 3);
}

static struct gcorn_body *pushes_to_nobody(struct gcorn_environ *env,
                                           struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    assert_int_equal(gcorn_send(env, "one", 3), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gcorn_send(env, "two", 3), -1);
        assert_int_equal(errno, ECONNRESET);
    }
    return gcorn_body_text(env, "three");
}

static void test_push_after_the_client_has_left_fails(void **state)
{
    struct taken t = {.waits = 0};
    const struct exchange_sink sink = {.write = take, .is_gone = left_after_one, .state = &t};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    assert_int_equal(exchange_run(&c.env, pushes_to_nobody, &sink), EXCHANGE_GONE);
    expect_end(&t, "\r\n\r\n3\r\none\r\n");
    strbuf_release(&t.bytes);
    http_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange_runs_to_the_end),
        cmocka_unit_test(test_exchange_that_waits_goes_on),
        cmocka_unit_test(test_exchange_with_a_failing_body_is_broken),
        cmocka_unit_test(test_exchange_without_sink_functions_runs),
        cmocka_unit_test(test_exchange_without_a_whole_request_is_refused),
        cmocka_unit_test(test_what_is_pushed_goes_before_what_is_returned),
        cmocka_unit_test(test_middleware_sees_the_head_of_pushes),
        cmocka_unit_test(test_push_before_the_outer_start_is_500),
        cmocka_unit_test(test_push_after_the_client_has_left_fails),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
