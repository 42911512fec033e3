/* SPDX-License-Identifier: MIT
 *
 * JSON strings: whatever comes in, what comes out is valid and harmless on a terminal.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include <stdio.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/util.h"

static void test_json_strings(void **state)
{
    static const struct {
        const char *text;
        const char *want;
    } rows[] = {
        {"", "\"\""},
        {"GET /a", "\"GET /a\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\t\x1b[2J\x01", "\"\\u000a\\u0009\\u001b[2J\\u0001\""},
        {"\x7f\xc2\x80\xc2\x9f\xc2\xa0", "\"\\u007f\\u0080\\u009f\xc2\xa0\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"\xff", "\"\\ufffd\""},
        {"a\x80z", "\"a\\ufffdz\""},
        {"\xc3", "\"\\ufffd\""},                                  /* cut */
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},                       /* cut */
        {"\xc3(", "\"\\ufffd(\""},                                /* no continuation */
        {"\xc0\xaf", "\"\\ufffd\\ufffd\""},                       /* overlong */
        {"\xe0\x80\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* overlong */
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},            /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""}, /* past U+10FFFF */
        {"\xf4\x8f\xbf\xbf", "\"\xf4\x8f\xbf\xbf\""},
        {"\xef\xbf\xbf", "\"\xef\xbf\xbf\""},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct strbuf out = {0};

        json_add_string(&out, rows[i].text);
        assert_string_equal(out.data, rows[i].want);
        strbuf_release(&out);
    }
}

static void test_json_bytes(void **state)
{
    struct strbuf out = {0};

    (void)state;
    json_add_bytes(&out, "a\0b", 3);
    json_add_bytes(&out, "\xc3\xa9", 1); /* the second byte is not ours */
    json_add_string(&out, NULL);
    assert_string_equal(out.data, "\"a\\u0000b\"\"\\ufffd\"null");
    strbuf_release(&out);
}

/* Every pair of bytes: no control byte, no bare quote inside, and the text ends. */
static void test_json_all_pairs(void **state)
{
    struct strbuf out = {0};

    (void)state;
    for (unsigned pair = 0; pair < 0x10000; pair++) {
        char text[2] = {(char)(pair >> 8), (char)pair};

        strbuf_reset(&out);
        json_add_bytes(&out, text, sizeof(text));
        assert_true(out.len >= 3 && out.data[0] == '"' && out.data[out.len - 1] == '"');
        for (size_t i = 1; i < out.len - 1; i++) {
            unsigned char c = (unsigned char)out.data[i];

            assert_true(c >= 0x20 && c != 0x7f && c != '"');
            i += c == '\\';
            assert_true(i < out.len - 1);
        }
    }
    strbuf_release(&out);
}

/* Cut before the character that does not fit, whatever escaping makes of it. */
static void test_json_max(void **state)
{
    static const char text[] = "ab\n\xc3\xa9\xff\"";
    static const char *const want[] = {[2] = "",
                                       [3] = "a",
                                       [4] = "ab",
                                       [10] = "ab\\u000a",
                                       [12] = "ab\\u000a\xc3\xa9",
                                       [18] = "ab\\u000a\xc3\xa9\\ufffd",
                                       [20] = "ab\\u000a\xc3\xa9\\ufffd\\\""};
    const char *now = "";
    char quoted[40];
    struct strbuf out = {0};

    (void)state;
    for (size_t max = 2; max <= 40; max++) {
        now = max <= 20 && want[max] ? want[max] : now;
        (void)snprintf(quoted, sizeof(quoted), "\"%s\"", now);
        strbuf_reset(&out);
        json_add_bytes_max(&out, text, sizeof(text) - 1, max);
        assert_string_equal(out.data, quoted);
        assert_true(out.len <= max);
    }
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_strings),
        cmocka_unit_test(test_json_bytes),
        cmocka_unit_test(test_json_all_pairs),
        cmocka_unit_test(test_json_max),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
