/* SPDX-License-Identifier: MIT
 *
 * UTF-8: every character and none other (RFC 3629).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/utf8.h"
#include "base/util.h"

static void test_text_is_valid_as_a_whole(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\x80", "\xc0\x80", "\xc3",         "a\xe2\x82",        "\xed\xa0\x80", "\xf4\x90\x80\x80",
        "\xf8", "\xff",     "\xe0\x80\x80", "\xf0\x80\x80\x80",
    };

    assert_true(utf8_is_valid(""));
    assert_true(utf8_is_valid("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_is_valid(bad[i]));
}

static void test_whole_cuts_no_character_in_two(void **state)
{
    static const char cow[] = "a\xc3\xa9\xe2\x82\xac\xf0\x9f\x90\x84";
    static const size_t want[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10};

    (void)state;
    for (size_t len = 0; len < sizeof(cow); len++)
        assert_int_equal(utf8_whole(cow, len), want[len]);
    assert_int_equal(utf8_whole("\xa9\xa9\xa9\xa9", 4), 4); /* not UTF-8: nothing to keep whole */
}

static size_t encode(char out[4], uint32_t code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3f));
    out[0] = (char)((0xf00u >> len & 0xf0) | code);
    return len;
}

static void test_every_character_is_decoded(void **state)
{
    char bytes[5] = "";
    uint32_t code;

    (void)state;
    for (uint32_t want = 0; want <= 0x110000; want++) {
        bool is_character = want <= 0x10ffff && (want < 0xd800 || want > 0xdfff);
        size_t len = encode(bytes, want);

        assert_int_equal(utf8_decode(bytes, len, &code), is_character ? len : 0);
        if (is_character)
            assert_int_equal(code, want);
        assert_int_equal(utf8_decode(bytes, len - 1, &code), 0); /* cut: none, whatever follows */
    }
}

static void test_overlong_forms_are_refused(void **state)
{
    static const char *const overlong[] = {"\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf",
                                           "\xf0\x8f\xbf\xbf"};
    uint32_t code;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(overlong); i++)
        assert_int_equal(utf8_decode(overlong[i], strlen(overlong[i]), &code), 0);
    assert_int_equal(utf8_decode("\xe2\x82x", 3, &code), 0); /* the third byte is another's */
}

static void test_controls_are_those_of_both_sets(void **state)
{
    (void)state;
    for (uint32_t code = 0; code < 0x200; code++)
        assert_int_equal(utf8_is_control(code), code <= 0x1f || (code >= 0x7f && code <= 0x9f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_is_valid_as_a_whole),
        cmocka_unit_test(test_whole_cuts_no_character_in_two),
        cmocka_unit_test(test_every_character_is_decoded),
        cmocka_unit_test(test_overlong_forms_are_refused),
        cmocka_unit_test(test_controls_are_those_of_both_sets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
