/* SPDX-License-Identifier: MIT
 *
 * examples/clock: streams, and a timer by the test's clock.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <gcorn_test.h>

gcorn_app handler;

static size_t events(const struct gcorn_test *t)
{
    size_t count = 0;

    for (const char *p = t->body; (p = strstr(p, "data: ")); p++)
        count++;
    return count;
}

static void test_clock_ticks(void **state)
{
    struct gcorn_test *streams[3];

    (void)state;
    assert_int_equal(gcorn_test_worker_start(), 0);
    for (size_t i = 0; i < 3; i++) {
        streams[i] = gcorn_test_request(handler, "GET /events HTTP/1.1", NULL, 0);
        assert_true(streams[i]->waits);
        assert_int_equal(streams[i]->status, 200);
        assert_int_equal(events(streams[i]), 1);
    }
    gcorn_test_advance(999);
    assert_int_equal(events(streams[0]), 1);
    gcorn_test_advance(1);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(events(streams[i]), 2);
    gcorn_test_advance(3000); /* the clock stops at each tick */
    assert_int_equal(events(streams[0]), 5);
    gcorn_test_close(streams[1]);
    gcorn_test_worker_stop();
    assert_true(streams[0]->complete && streams[2]->complete);
    gcorn_test_close(streams[0]);
    gcorn_test_close(streams[2]);
}

static void test_clock_old_client(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /events HTTP/1.0", NULL, 0);

    (void)state;
    assert_int_equal(events(t), 1);
    assert_string_equal(gcorn_headers_get(t->headers, "Connection"), "close");
    gcorn_test_close(t);
    t = gcorn_test_request(handler, "HEAD /events HTTP/1.1", NULL, 0);
    assert_true(t->complete);
    assert_int_equal(t->len, 0);
    gcorn_test_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clock_ticks),
        cmocka_unit_test(test_clock_old_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
