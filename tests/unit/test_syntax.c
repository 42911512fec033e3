/* SPDX-License-Identifier: MIT
 *
 * The small grammars: tokens, authorities, escapes, lists.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "http/request/syntax.h"

/* RFC 9110 5.6.2, written out once more. */
static void test_syntax_tchar(void **state)
{
    static const char others[] = "!#$%&'*+-.^_`|~";

    (void)state;
    for (int c = 0; c < 256; c++) {
        bool want = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                    (c != 0 && strchr(others, c));
        char byte = (char)c;

        assert_int_equal(syntax_is_tchar((char)c), want);
        assert_int_equal(syntax_token_len(&byte, 1), want);
    }
    assert_int_equal(syntax_token_len("", 0), 0);
    assert_int_equal(syntax_token_len("GET /", 3), 3);
    assert_int_equal(syntax_token_len("GET /", 5), 3);
}

static void test_syntax_is(void **state)
{
    (void)state;
    assert_true(syntax_is("CloSE", 5, "close"));
    assert_true(syntax_is("keep-alive", 10, "keep-alive"));
    assert_false(syntax_is("closf", 5, "close"));
    assert_false(syntax_is("keep\ralive", 10, "keep-alive")); /* '\r' | 0x20 is '-' */
    assert_false(syntax_is("[", 1, "{"));                     /* '[' | 0x20 is '{' */
    assert_true(syntax_is("", 0, ""));
}

/* Every byte, at every place of texts of every length that is compared in steps of its own. */
static void test_syntax_is_in_words(void **state)
{
    static const char lower[] = "az{`-@[_5z:~abcdefghy";
    char p[sizeof(lower)];

    (void)state;
    for (size_t len = 1; len < sizeof(lower); len++) {
        memcpy(p, lower, sizeof(lower));
        assert_true(syntax_is(p, len, lower));
        for (size_t at = 0; at < len; at++) {
            for (int c = 0; c < 256; c++) {
                bool is_letter = lower[at] >= 'a' && lower[at] <= 'z';
                p[at] = (char)c;
                bool same = p[at] == lower[at] || (is_letter && (c | 0x20) == lower[at] && c < 128);
                assert_int_equal(syntax_is(p, len, lower), same);
            }
            p[at] = lower[at];
        }
    }
}

static void test_syntax_trim(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a", "a"}, {" a", "a"},  {"a ", "a"},    {"\t a b \t", "a b"},
        {"", ""},   {" \t ", ""}, {"\ra", "\ra"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *p = rows[i].text;
        size_t len = strlen(p);

        syntax_trim(&p, &len);
        assert_int_equal(len, strlen(rows[i].want));
        assert_memory_equal(p, rows[i].want, len);
    }
}

/* In a buffer of just its size. */
static bool authority(const char *text, bool may_be_empty)
{
    size_t len = strlen(text);
    char *exact = malloc(len ? len : 1);

    memcpy(exact, text, len);
    bool result = syntax_is_authority(exact, len, may_be_empty);
    free(exact);
    return result;
}

static void test_syntax_authority(void **state)
{
    static const char *const good[] = {
        "h",       "example.com", "h:1",     "h:",          "h:65535",
        "[::1]",   "[::1]:80",    "1.2.3.4", "1.2.3.4:5",   "%41",
        "a%2fb:1", "[v1.a]",      "-._~",    "!$&'()*+,;=", "h:0000000000000000000000001",
    };
    static const char *const bad[] = {
        ":",      ":1",           "h:65536", "h:x",
        "h:1x",   "h: 1",         "h:1:",    "u@h",
        "h/",     "h?",           "h#",      "[",
        "[]",     "[]:1",         "[::1",    "::1",
        "]",      "[::1]1",       "[a]b:1",  "%",
        "%4",     "%4g",          "a b",     " a",
        "a ",     "\x80",         "a\"",     "a\\b",
        "[::1]:", "h:4294967297", "[%41",    "h:18446744073709551617",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (!authority(good[i], false))
            fail_msg("'%s' is refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        /* an empty port is one (RFC 3986 3.2.3) */
        if (authority(bad[i], true) != (strcmp(bad[i], "[::1]:") == 0))
            fail_msg("'%s'", bad[i]);
    }
    assert_true(authority("", true));
    assert_false(authority("", false));
}

static void test_syntax_escapes_ok(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } rows[] = {
        {"", true},      {"abc", true},  {"%41", true},    {"%aF%Fa", true}, {"a%20b%2500", true},
        {"%", false},    {"%4", false},  {"a%", false},    {"%4g", false},   {"%g4", false},
        {"%%41", false}, {"%00", false}, {"a%00b", false}, {"%41%", false},  {"%01", true},
        {"%10", true},   {"%-1", false}, {"% 1", false},   {"%0x", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);
        char *exact = malloc(len ? len : 1);

        memcpy(exact, rows[i].text, len);
        if (syntax_escapes_ok(exact, len) != rows[i].ok)
            fail_msg("'%s'", rows[i].text);
        free(exact);
    }
    assert_true(syntax_escapes_ok("%41", 3));
    assert_false(syntax_escapes_ok("%41", 2));
}

static void test_syntax_unescape(void **state)
{
    char out[64], place[] = "a%20b+%2B%ff";
    const char hex[] = "0123456789abcdefABCDEF";

    (void)state;
    assert_int_equal(syntax_unescape(out, "a%20b+%2B", 9, false), 5);
    assert_string_equal(out, "a b++");
    assert_int_equal(syntax_unescape(out, "a%20b+%2B", 9, true), 5);
    assert_string_equal(out, "a b +");
    assert_int_equal(syntax_unescape(out, "%2541", 5, false), 3); /* once only */
    assert_string_equal(out, "%41");
    assert_int_equal(syntax_unescape(out, "", 0, true), 0);
    assert_string_equal(out, "");
    assert_int_equal(syntax_unescape(place, place, strlen(place), true), 6);
    assert_string_equal(place, "a b +\xff");
    for (size_t i = 0; i < sizeof(hex) - 1; i++) {
        for (size_t j = 0; j < sizeof(hex) - 1; j++) {
            char text[] = {'%', hex[i], hex[j], '\0'};

            assert_int_equal(syntax_unescape(out, text, 3, false), 1);
            assert_int_equal((unsigned char)out[0], strtoul(text + 1, NULL, 16));
        }
    }
}

static void test_syntax_next_element(void **state)
{
    static const struct {
        const char *list;
        const char *want; /* elements, each followed by '|' */
    } rows[] = {
        {"", ""},
        {"a", "a|"},
        {"a,b", "a|b|"},
        {" a , b ", "a|b|"},
        {",", ""},
        {",,a,, ,b,", "a|b|"},
        {"a b", "a b|"},
        {"\ta\t,\tb", "a|b|"},
        {"a;q=1", "a;q=1|"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *list = rows[i].list, *element;
        size_t len = strlen(list), element_len;
        char got[64] = "";

        while (syntax_next_element(&list, &len, &element, &element_len)) {
            (void)snprintf(got + strlen(got), sizeof(got) - strlen(got), "%.*s|", (int)element_len,
                           element);
        }
        assert_string_equal(got, rows[i].want);
        assert_int_equal(len, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_syntax_tchar),       cmocka_unit_test(test_syntax_is),
        cmocka_unit_test(test_syntax_is_in_words), cmocka_unit_test(test_syntax_trim),
        cmocka_unit_test(test_syntax_authority),   cmocka_unit_test(test_syntax_escapes_ok),
        cmocka_unit_test(test_syntax_unescape),    cmocka_unit_test(test_syntax_next_element),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
