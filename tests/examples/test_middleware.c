/* SPDX-License-Identifier: MIT
 *
 * examples/middleware: the checksum after a body. The system tests have the rest.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <zlib.h>

#include <gcorn_test.h>

gcorn_app handler;

static const char *sum_of(const struct gcorn_test *t)
{
    static char text[16];

    (void)snprintf(text, sizeof(text), "%08lx",
                   crc32_z(0, (const Bytef *)(const void *)t->body, t->len));
    return text;
}

static void test_checksum_is_that_of_the_body(void **state)
{
    static const char *const requests[] = {"GET /numbers HTTP/1.1\nTE: trailers",
                                           "GET / HTTP/1.1\nTE: trailers",
                                           "GET / HTTP/1.1\nTE: trailers\nAccept-Encoding: gzip"};

    (void)state;
    for (size_t i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
        struct gcorn_test *t = gcorn_test_request(handler, requests[i], NULL, 0);

        assert_true(t->complete && t->len > 0);
        assert_string_equal(gcorn_headers_get(t->trailers, "X-CRC32"), sum_of(t));
        assert_null(t->trailers[1].name);
        gcorn_test_close(t);
    }
}

static void test_client_that_does_not_ask_gets_none(void **state)
{
    struct gcorn_test *t = gcorn_test_request(handler, "GET /numbers HTTP/1.1", NULL, 0);

    (void)state;
    assert_true(t->complete && t->len > 0);
    assert_null(t->trailers[0].name);
    gcorn_test_close(t);
    t = gcorn_test_request(handler, "HEAD /numbers HTTP/1.1\nTE: trailers", NULL, 0);
    assert_null(t->trailers[0].name);
    gcorn_test_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum_is_that_of_the_body),
        cmocka_unit_test(test_client_that_does_not_ask_gets_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
