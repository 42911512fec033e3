/* SPDX-License-Identifier: MIT
 *
 * exchange: one request and its answer without a connection, to the end, until it waits, refused.
 */
#include "http_case.h"

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
    const struct exchange_sink sink = {take, wait_some, &t};
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
        const struct exchange_sink sink = {take, gives_up ? wait_some : NULL, &t};
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
    const struct exchange_sink sink = {take, wait_some, &t};
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
    const struct exchange_sink sink = {NULL, NULL, NULL};
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
        const struct exchange_sink sink = {take, wait_some, &t};
        struct http_case c;

        http_case_open(&c);
        (void)request_feed(&c.env.request, cases[i].raw, strlen(cases[i].raw));
        assert_int_equal(exchange_run(&c.env, must_not_run, &sink), EXCHANGE_WHOLE);
        assert_memory_equal(t.bytes.data, cases[i].status, strlen(cases[i].status));
        strbuf_release(&t.bytes);
        http_case_close(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exchange_runs_to_the_end),
        cmocka_unit_test(test_exchange_that_waits_goes_on),
        cmocka_unit_test(test_exchange_with_a_failing_body_is_broken),
        cmocka_unit_test(test_exchange_without_sink_functions_runs),
        cmocka_unit_test(test_exchange_without_a_whole_request_is_refused),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
