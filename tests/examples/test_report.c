/* SPDX-License-Identifier: MIT
 *
 * examples/report: a report that is written as it is computed, and clients that leave.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <gcorn_test.h>

gcorn_app handler;

static size_t lines(const struct gcorn_test *t)
{
    size_t count = 0;

    for (const char *p = t->body; (p = strchr(p, '\n')); p++)
        count++;
    return count;
}

static void test_report_is_pushed_row_by_row(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /?rows=3&step=10 HTTP/1.1", NULL, 0);

    (void)state;
    assert_int_equal(t->status, 200);
    assert_true(t->complete);
    assert_string_equal(t->body, "from,to,primes,total\n0,9,4,4\n10,19,4,8\n20,29,2,10\n");
    assert_int_equal(t->pushed, t->len);
    assert_string_equal(gcorn_headers_get(t->headers, "Transfer-Encoding"), "chunked");
    gcorn_test_close(t);
}

static void test_old_client_gets_the_same_bytes(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET / HTTP/1.0", NULL, 0);

    (void)state;
    assert_true(t->complete);
    assert_int_equal(lines(t), 101);
    assert_string_equal(gcorn_headers_get(t->headers, "Connection"), "close");
    gcorn_test_close(t);
}

static void test_head_computes_and_sends_no_row(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "HEAD / HTTP/1.1", NULL, 0);

    (void)state;
    assert_true(t->complete);
    assert_int_equal(t->status, 200);
    assert_int_equal(t->len + t->pushed, 0);
    gcorn_test_close(t);
}

static void test_client_that_leaves_ends_the_report(void **state)
{
    (void)state;
    for (size_t after = 0; after < 60; after += 7) {
        gcorn_test_leave_after(after);
        struct gcorn_test *t = gcorn_test_request(handler, "GET /?rows=1000 HTTP/1.1", NULL, 0);

        assert_int_equal(t->status, 200);
        assert_false(t->complete || t->broken || t->waits);
        assert_int_equal(t->len, after);
        assert_int_equal(t->pushed, after);
        gcorn_test_close(t);
    }
    struct gcorn_test *t = gcorn_test_request(handler, "GET / HTTP/1.1", NULL, 0);
    assert_true(t->complete); /* the next one stays */
    gcorn_test_close(t);
}

static void test_numbers_that_are_wrong_are_refused(void **state)
{
    static const char *const queries[] = {"rows=0", "rows=x", "rows=-1", "step=", "step=1000001"};

    (void)state;
    for (size_t i = 0; i < sizeof(queries) / sizeof(queries[0]); i++) {
        char line[64] = "GET /?";

        strcat(strcat(line, queries[i]), " HTTP/1.1");
        struct gcorn_test *t = gcorn_test_request(handler, line, NULL, 0);
        assert_int_equal(t->status, 400);
        assert_int_equal(t->pushed, 0);
        gcorn_test_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_is_pushed_row_by_row),
        cmocka_unit_test(test_old_client_gets_the_same_bytes),
        cmocka_unit_test(test_head_computes_and_sends_no_row),
        cmocka_unit_test(test_client_that_leaves_ends_the_report),
        cmocka_unit_test(test_numbers_that_are_wrong_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
