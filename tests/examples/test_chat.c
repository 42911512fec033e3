/* SPDX-License-Identifier: MIT
 *
 * examples/chat: requests that wait for each other, and the clock, without a server.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <gcorn_test.h>

gcorn_app handler;

static int start_worker(void **state)
{
    (void)state;
    return gcorn_test_worker_start();
}

static void say(const char *text)
{
    struct gcorn_test *t = gcorn_test_request(handler, "POST / HTTP/1.1", text, strlen(text));

    assert_int_equal(t->status, 201);
    assert_true(t->complete);
    gcorn_test_close(t);
}

static struct gcorn_test *listen_after(const char *head)
{
    struct gcorn_test *t = gcorn_test_request(handler, head, NULL, 0);

    assert_true(t->waits);
    assert_int_equal(t->status, 0);
    return t;
}

static void test_chat_wakes(void **state)
{
    struct gcorn_test *a = listen_after("GET / HTTP/1.1");
    struct gcorn_test *b = listen_after("GET / HTTP/1.1");
    struct gcorn_test *gone = listen_after("GET / HTTP/1.1");

    (void)state;
    assert_false(gcorn_test_wait(a, 0));
    gcorn_test_close(gone);
    say("hello");
    assert_true(a->waits); /* never from within gcorn_wake */
    assert_true(gcorn_test_wait(a, 0));
    assert_true(a->complete && b->complete);
    assert_int_equal(a->status, 200);
    assert_string_equal(a->body, "1 hello\n");
    assert_string_equal(b->body, "1 hello\n");
    assert_string_equal(gcorn_headers_get(a->headers, "cache-control"), "no-store");
    gcorn_test_close(a);
    gcorn_test_close(b);
}

static void test_chat_patience(void **state)
{
    struct gcorn_test *t = listen_after("GET / HTTP/1.1");

    (void)state;
    gcorn_test_advance(24999);
    assert_true(t->waits);
    gcorn_test_advance(1);
    assert_int_equal(t->status, 204);
    gcorn_test_close(t);
}

static void test_chat_drains(void **state)
{
    struct gcorn_test *t = listen_after("GET / HTTP/1.1");

    (void)state;
    gcorn_test_drain(true);
    assert_int_equal(t->status, 204);
    gcorn_test_close(t);
    gcorn_test_drain(false);
}

static void test_chat_refuses(void **state)
{
    static const struct {
        const char *head, *body;
        int status;
    } rows[] = {
        {"POST / HTTP/1.1", "two\nlines", 422},
        {"POST / HTTP/1.1", "", 422},
        {"DELETE / HTTP/1.1", "", 405},
        {"GET / HTTP/3.0", "", 505},
        {"GET /%00 HTTP/1.1", "", 400},
        {"POST / HTTP/1.1\nContent-Length: 9", "short", 400},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct gcorn_test *t =
            gcorn_test_request(handler, rows[i].head, rows[i].body, strlen(rows[i].body));

        assert_int_equal(t->status, rows[i].status);
        assert_true(t->complete);
        gcorn_test_close(t);
    }
    gcorn_test_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chat_wakes),
        cmocka_unit_test(test_chat_patience),
        cmocka_unit_test(test_chat_drains),
        cmocka_unit_test(test_chat_refuses),
    };

    return cmocka_run_group_tests(tests, start_worker, NULL);
}
