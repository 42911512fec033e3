/* SPDX-License-Identifier: MIT
 *
 * Chunk size lines: sizes, extensions and their budget (RFC 9112 7.1). More rows stand in
 * test_request.c; here it is the line alone, cut at every place.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/util.h"
#include "http/request/chunk.h"

enum { EXT_MAX = 4096 };

static int feed_in(struct chunk_line *c, const char *text, size_t len, size_t step, size_t *used)
{
    const char *reason = NULL;
    int status = 0;

    *used = 0;
    while (*used < len && status == 0 && c->place != CHUNK_LINE_END) {
        size_t n = step < len - *used ? step : len - *used, now;

        status = chunk_line_feed(c, EXT_MAX, text + *used, n, &now, &reason);
        assert_true(now <= n);
        assert_true((status != 0) == (reason != NULL));
        *used += now;
    }
    return status;
}

static void test_chunk_lines(void **state)
{
    static const struct {
        const char *line; /* without what follows it */
        uint64_t size;
        const char *hex;
        size_t ext_len;
    } rows[] = {
        {"0\r\n", 0, "0", 0},
        {"5\r\n", 5, "5", 0},
        {"aF\r\n", 0xaf, "aF", 0},
        {"123456789abcdef0\r\n", UINT64_C(0x123456789abcdef0), "123456789abcdef0", 0},
        {"FFFFFFFFFFFFFFFF\r\n", UINT64_MAX, "FFFFFFFFFFFFFFFF", 0},
        {"0000000000000001\r\n", 1, "1", 15},
        {"00000000000000000aF\r\n", 0xaf, "aF", 17},
        {"5;a\r\n", 5, "5", 2},
        {"5;a=b;c\r\n", 5, "5", 6},
        {"b;b=\"\\\"\"\r\n", 11, "b", 7},
        {"5 \t;a\r\n", 5, "5", 4},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].line);

        for (size_t step = 1; step <= len + 5; step++) {
            char text[80];
            struct chunk_line c;
            size_t used;

            memcpy(text, rows[i].line, len);
            memcpy(text + len, "abc\r\n", 5);
            chunk_line_init(&c);
            assert_int_equal(feed_in(&c, text, len + 5, step, &used), 0);
            assert_int_equal(c.place, CHUNK_LINE_END);
            assert_int_equal(used, len);
            assert_int_equal(c.size, rows[i].size);
            assert_int_equal(c.digits, strlen(rows[i].hex));
            assert_memory_equal(c.hex, rows[i].hex, c.digits);
            assert_int_equal(c.ext_len, rows[i].ext_len);
        }
    }
}

static void test_chunk_bad_lines(void **state)
{
    static const char *const bad[] = {
        "\r\n",
        ";a\r\n",
        "g\r\n",
        "5g\r\n",
        " 5\r\n",
        "5 \r\n",
        "5\n",
        "5\rx",
        "5;\r\n",
        "5;a=\r\n",
        "5;a \r\n",
        "5;a b\r\n",
        "5;a=b c\r\n",
        "5;a=\"b\r\n",
        "5;a=\"b\"c\r\n",
        "5;=b\r\n",
        "5,\r\n",
        "-5\r\n",
        "0x5\r\n",
        "11111111111111111\r\n", /* 17 digits */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t len = strlen(bad[i]);

        for (size_t step = 1; step <= len; step++) {
            struct chunk_line c;
            size_t used;

            chunk_line_init(&c);
            if (feed_in(&c, bad[i], len, step, &used) != 400)
                fail_msg("%s is taken", bad[i]);
        }
    }
}

/* The next line begins anew, the budget of extensions goes on. */
static void test_chunk_next(void **state)
{
    char line[64];
    struct chunk_line c;
    size_t used;

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "1;", 2);
    memcpy(line + 62, "\r\n", 2); /* 61 bytes of extension */
    chunk_line_init(&c);
    for (int i = 0; i < EXT_MAX / 61; i++) {
        assert_int_equal(feed_in(&c, line, sizeof(line), 100, &used), 0);
        assert_int_equal(c.size, 1);
        chunk_line_next(&c);
        assert_int_equal(c.place, CHUNK_SIZE);
        assert_int_equal(c.digits, 0);
        assert_int_equal(c.size, 0);
    }
    assert_int_equal(feed_in(&c, "7\r\n", 3, 1, &used), 0); /* a line without any still goes */
    chunk_line_next(&c);
    assert_int_equal(feed_in(&c, line, sizeof(line), 100, &used), 400);
}

/* Up to just the bound. */
static void test_chunk_bound(void **state)
{
    static const char line[] = "5;ab=\"c\"\r\n"; /* 7 bytes of extension */
    const char *reason;
    struct chunk_line c;
    size_t used;

    (void)state;
    chunk_line_init(&c);
    assert_int_equal(chunk_line_feed(&c, 7, line, sizeof(line) - 1, &used, &reason), 0);
    assert_int_equal(c.place, CHUNK_LINE_END);
    chunk_line_init(&c);
    assert_int_equal(chunk_line_feed(&c, 6, line, sizeof(line) - 1, &used, &reason), 400);
    chunk_line_init(&c);
    assert_int_equal(chunk_line_feed(&c, 0, "5\r\n", 3, &used, &reason), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chunk_lines),
        cmocka_unit_test(test_chunk_bad_lines),
        cmocka_unit_test(test_chunk_next),
        cmocka_unit_test(test_chunk_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
