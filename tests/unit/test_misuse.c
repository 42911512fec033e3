/* SPDX-License-Identifier: MIT
 *
 * Functions of gcorn.h with arguments that no application should pass: an error for the caller, a
 * line in the log, 500 for the client, and nothing worse.
 */
#include "http_case.h"

#include <errno.h>

#define GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

static void expect_500(gcorn_app *app)
{
    static const char head[] = "HTTP/1.1 500 Internal Server Error\r\n";
    struct http_answer a;
    struct http_case c;

    http_case_run(&c, GET, app, &a);
    assert_memory_equal(a.bytes.data, head, sizeof(head) - 1);
    http_answer_release(&a);
    http_case_close(&c);
}

static struct gcorn_body *wraps_nothing(struct gcorn_environ *env,
                                        struct gcorn_start_response *start_response)
{
    (void)start_response;
    errno = 0;
    assert_int_equal(gcorn_start(gcorn_start_wrap(env, NULL, NULL), "200 OK", NULL), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_start(gcorn_start_wrap(env, NULL, NULL), NULL, NULL), -1);
    return gcorn_body_text(env, "never seen");
}

static void test_start_wrap_without_function_answers_500(void **state)
{
    (void)state;
    expect_500(wraps_nothing);
}

static struct gcorn_body *writes_null(struct gcorn_environ *env,
                                      struct gcorn_start_response *start_response)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    (void)gcorn_start(start_response, "200 OK", NULL);
    assert_int_equal(gcorn_buffer_write(body, NULL, 0), 0);
    for (int i = 0; i < 2; i++) { /* the second time without another line */
        errno = 0;
        assert_int_equal(gcorn_buffer_write(body, NULL, 1), -1);
        assert_int_equal(errno, EINVAL);
    }
    assert_int_equal(gcorn_buffer_write(body, "text", 4), -1);
    return body;
}

static void test_write_of_null_answers_500(void **state)
{
    (void)state;
    expect_500(writes_null);
}

static void test_write_to_another_body_is_refused(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    struct gcorn_body *closed = gcorn_body_buffer(&c.env);
    gcorn_body_close(closed);
    struct gcorn_body *const bodies[] = {NULL, gcorn_body_text(&c.env, "bytes"), closed};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
        errno = 0;
        assert_int_equal(gcorn_buffer_write(bodies[i], "x", 1), -1);
        assert_int_equal(errno, EINVAL);
    }
    http_case_close(&c);
}

static void count(void *arg)
{
    (*(int *)arg)++;
}

static void test_defer_without_function_defers_nothing(void **state)
{
    struct http_case c;
    int calls = 0;

    (void)state;
    http_case_open(&c);
    gcorn_defer(&c.env, NULL, &calls);
    assert_false(environ_has_code(&c.env));
    gcorn_defer(&c.env, count, &calls);
    (void)gcorn_body_text(&c.env, "has no code");
    assert_true(environ_has_code(&c.env));
    http_case_close(&c);
    assert_int_equal(calls, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start_wrap_without_function_answers_500),
        cmocka_unit_test(test_write_of_null_answers_500),
        cmocka_unit_test(test_write_to_another_body_is_refused),
        cmocka_unit_test(test_defer_without_function_defers_nothing),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
