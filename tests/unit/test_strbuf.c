/* SPDX-License-Identifier: MIT
 *
 * Growing buffers: every way to add, and what stays true after each: a NUL behind, nothing lost.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"

static void test_strbuf_empty(void **state)
{
    struct strbuf b = {0};

    (void)state;
    strbuf_init(&b);
    assert_null(b.data);
    char *text = strbuf_detach(&b);
    assert_string_equal(text, "");
    free(text);
    strbuf_release(&b);
    strbuf_release(&b);
    strbuf_addstr(&b, ""); /* adds nothing, but then there is a NUL */
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    strbuf_release(&b);
}

/* Pieces of all sizes, so that each growth is met at each fill. */
static void test_strbuf_add(void **state)
{
    char piece[200];

    (void)state;
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (char)(i + 1);
    for (size_t first = 0; first < 130; first++) {
        for (size_t second = 0; second < 130; second += 7) {
            struct strbuf b = {0};

            strbuf_add(&b, piece, first);
            strbuf_add(&b, piece + 50, second);
            assert_int_equal(b.len, first + second);
            assert_true(b.cap > b.len);
            assert_memory_equal(b.data, piece, first);
            assert_memory_equal(b.data + first, piece + 50, second);
            assert_int_equal(b.data[b.len], 0);
            strbuf_release(&b);
        }
    }
}

static void test_strbuf_grow(void **state)
{
    struct strbuf b = {0};

    (void)state;
    strbuf_addstr(&b, "ab");
    for (size_t more = 1; more < 5000; more = more * 3) {
        char *room = strbuf_grow(&b, more);

        assert_ptr_equal(room, b.data + 2);
        assert_true(b.cap - b.len > more);
        memset(room, 'x', more + 1); /* all of it is ours, the NUL's place included */
        assert_int_equal(b.len, 2);
    }
    assert_memory_equal(b.data, "ab", 2);
    strbuf_release(&b);
}

static void test_strbuf_addf(void **state)
{
    (void)state;
    for (int width = 1; width < 300; width++) {
        struct strbuf b = {0};
        char want[400];

        strbuf_addstr(&b, "<");
        strbuf_addf(&b, "%0*d|%s", width, 7, "end");
        int len = snprintf(want, sizeof(want), "<%0*d|%s", width, 7, "end");
        assert_int_equal(b.len, len);
        assert_string_equal(b.data, want);
        strbuf_addf(&b, "%s", "");
        assert_int_equal(b.len, len);
        strbuf_release(&b);
    }
}

static void test_strbuf_addu(void **state)
{
    static const unsigned long long numbers[] = {
        0, 1, 9, 10, 99, 100, 12345, 4294967295, 4294967296, 9999999999999999999ull, ULLONG_MAX,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        struct strbuf b = {0};
        char want[32];

        (void)snprintf(want, sizeof(want), "%llu", numbers[i]);
        strbuf_addu(&b, numbers[i]);
        assert_string_equal(b.data, want);
        assert_int_equal(b.len, strlen(want));
        strbuf_release(&b);
    }
}

static void test_strbuf_reset_keeps_memory(void **state)
{
    struct strbuf b = {0};

    (void)state;
    strbuf_addf(&b, "%0500d", 0);
    const char *data = b.data;
    strbuf_reset(&b);
    assert_int_equal(b.len, 0);
    strbuf_addstr(&b, "x");
    assert_ptr_equal(b.data, data);
    assert_string_equal(b.data, "x");
    char *text = strbuf_detach(&b);
    assert_ptr_equal(text, data);
    assert_null(b.data);
    assert_int_equal(b.len + b.cap, 0);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_strbuf_empty), cmocka_unit_test(test_strbuf_add),
        cmocka_unit_test(test_strbuf_grow),  cmocka_unit_test(test_strbuf_addf),
        cmocka_unit_test(test_strbuf_addu),  cmocka_unit_test(test_strbuf_reset_keeps_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
