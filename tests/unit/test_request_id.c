/* SPDX-License-Identifier: MIT
 *
 * The request's id: which one of a proxy's fields counts, and where it stands in the answer.
 */
#include "http_case.h"

#include <stdio.h>

#define MADE "00c0ffee12345678" /* of HTTP_CASE_ID */

static void open_case(struct http_case *c, struct forwarded_rules *rules,
                      enum forwarded_trust trust)
{
    const struct forwarded_settings settings = {.request_id_header = "X-Request-Id"};

    http_case_open(c);
    forwarded_rules_init(rules, &settings);
    c->context.forwarded = *rules;
    c->peer.trust = trust;
    environ_reset(&c->env);
    environ_init(&c->env, &c->context, &c->peer, HTTP_CASE_ID);
}

static void expect_id(const char *fields, enum forwarded_trust trust, const char *want)
{
    struct forwarded_rules rules;
    struct http_case c;
    char raw[1024];

    open_case(&c, &rules, trust);
    (void)snprintf(raw, sizeof(raw), "GET / HTTP/1.1\r\nHost: h\r\n%s\r\n", fields);
    http_case_feed(&c, raw);
    assert_string_equal(gcorn_get(&c.env, "gcorn.request_id"), want);
    http_case_close(&c);
    forwarded_rules_release(&rules);
}

static void test_request_id_of_a_trusted_proxy_counts(void **state)
{
    (void)state;
    expect_id("X-Request-Id: abc-DEF_1.2~3:4;5=6+7/8@9\r\n", FORWARDED_ALL,
              "abc-DEF_1.2~3:4;5=6+7/8@9");
    expect_id("x-request-ID: a\r\n", FORWARDED_ALL, "a");
    expect_id("X-Request-Id: first\r\nX-Request-Id: second\r\n", FORWARDED_ALL, "first");
    expect_id("X-Request-Id: not valid\r\nX-Request-Id: second\r\n", FORWARDED_ALL, "second");
}

static void test_request_id_that_is_not_valid_is_ignored(void **state)
{
    char field[FORWARDED_ID_MAX + 32];

    (void)state;
    expect_id("", FORWARDED_ALL, MADE);
    expect_id("X-Request-Id: abc\r\n", FORWARDED_NOTHING, MADE);
    expect_id("X-Request-Id:\r\n", FORWARDED_ALL, MADE);
    expect_id("X-Request-Id: a b\r\n", FORWARDED_ALL, MADE);
    expect_id("X-Request-Id: \"a\"\r\n", FORWARDED_ALL, MADE);
    expect_id("X-Request-Id: \xc3\xa4\r\n", FORWARDED_ALL, MADE);
    expect_id("X-Request-If: abc\r\n", FORWARDED_ALL, MADE);
    (void)snprintf(field, sizeof(field), "X-Request-Id: %0*d\r\n", FORWARDED_ID_MAX + 1, 7);
    expect_id(field, FORWARDED_ALL, MADE);
    (void)snprintf(field, sizeof(field), "X-Request-Id: %0*d\r\n", FORWARDED_ID_MAX, 7);
    field[sizeof("X-Request-Id: ") - 1 + FORWARDED_ID_MAX] = '\0';
    const char *longest = field + sizeof("X-Request-Id: ") - 1;
    char raw[sizeof(field) + 2];
    (void)snprintf(raw, sizeof(raw), "%s\r\n", field);
    expect_id(raw, FORWARDED_ALL, longest);
}

static struct gcorn_body *hello(struct gcorn_environ *env,
                                struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", gcorn_get_ptr(env, "t.headers"));
    return gcorn_body_text(env, "hi");
}

static void expect_answer(const struct gcorn_header *headers, const char *want)
{
    struct http_answer a;
    struct http_case c;

    http_case_open(&c);
    c.context.id_field = "X-Id";
    http_case_feed(&c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    gcorn_set_ptr(&c.env, "t.headers", (void *)(uintptr_t)headers);
    response_run(&c.env, hello);
    http_case_collect(&c, &a);
    assert_string_equal(a.bytes.data, want);
    http_answer_release(&a);
    http_case_close(&c);
}

#define HEAD "HTTP/1.1 200 OK\r\nServer: gcorn\r\nDate: " HTTP_CASE_DATE "\r\n"

static void test_request_id_is_in_the_answer_once(void **state)
{
    static const struct gcorn_header other[] = {{"X-Idle", "1"}, {"X-I", "2"}, {NULL, NULL}},
                                     own[] = {{"A", "1"}, {"x-ID", "mine"}, {NULL, NULL}};

    (void)state;
    expect_answer(NULL, HEAD "X-Id: " MADE "\r\nContent-Length: 2\r\n\r\nhi");
    expect_answer(other,
                  HEAD "X-Id: " MADE "\r\nX-Idle: 1\r\nX-I: 2\r\nContent-Length: 2\r\n\r\nhi");
    expect_answer(own, HEAD "A: 1\r\nx-ID: mine\r\nContent-Length: 2\r\n\r\nhi");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_id_of_a_trusted_proxy_counts),
        cmocka_unit_test(test_request_id_that_is_not_valid_is_ignored),
        cmocka_unit_test(test_request_id_is_in_the_answer_once),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
