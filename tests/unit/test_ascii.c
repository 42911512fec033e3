/* SPDX-License-Identifier: MIT
 *
 * Text of protocols and logs: letters and their case, dates against the C library's, zones.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/ascii.h"
#include "base/util.h"

static void test_case_is_that_of_ascii_letters_alone(void **state)
{
    (void)state;
    assert_true(ascii_same("Content-Length", "cONTENT-lENGTH"));
    assert_true(ascii_same("", ""));
    assert_false(ascii_same("a", ""));
    assert_false(ascii_same("", "a"));
    assert_false(ascii_same("[", "{"));
    assert_false(ascii_same("@", "`"));
    assert_false(ascii_same("\xc4", "\xe4"));  /* a letter in ISO 8859-1 */
    assert_false(ascii_same("\xc4\xb0", "i")); /* Turkish */
    assert_true(ascii_same_n("BASIC x", "basic y", 6));
    assert_false(ascii_same_n("BASIC", "BASID", 5));
    assert_true(ascii_same_n("a", "b", 0));
}

/* Each day from 1970 to 2400, at a moment of it that moves. */
static void test_dates_are_those_of_the_c_library(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 157100; day++) {
        time_t at = day * 86400 + day * 7919 % 86400;
        struct civil c;
        struct tm tm;

        civil_from_unix(&c, at);
        assert_non_null(gmtime_r(&at, &tm));
        assert_int_equal(c.year, tm.tm_year + 1900);
        assert_int_equal(c.month, tm.tm_mon + 1);
        assert_int_equal(c.day, tm.tm_mday);
        assert_int_equal(c.hour, tm.tm_hour);
        assert_int_equal(c.minute, tm.tm_min);
        assert_int_equal(c.second, tm.tm_sec);
        assert_int_equal(c.weekday, tm.tm_wday);
    }
}

static void test_times_in_each_form(void **state)
{
    static const struct {
        int32_t offset_s;
        const char *log, *clf, *iso;
    } rows[] = {
        {0, "2026-11-22 23:30:07 +0000", "[22/Nov/2026:23:30:07 +0000]",
         "2026-11-22T23:30:07.005+00:00"},
        {19800, "2026-11-23 05:00:07 +0530", "[23/Nov/2026:05:00:07 +0530]",
         "2026-11-23T05:00:07.005+05:30"},
        {-12600, "2026-11-22 20:00:07 -0330", "[22/Nov/2026:20:00:07 -0330]",
         "2026-11-22T20:00:07.005-03:30"},
        {-1800, "2026-11-22 23:00:07 -0030", "[22/Nov/2026:23:00:07 -0030]",
         "2026-11-22T23:00:07.005-00:30"},
    };
    const int64_t at = 1795390207;
    char got[TIME_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        zone_set(rows[i].offset_s);
        assert_int_equal(time_put_log(got, at), strlen(rows[i].log));
        assert_string_equal(got, rows[i].log);
        assert_int_equal(time_put_clf(got, at), strlen(rows[i].clf));
        assert_string_equal(got, rows[i].clf);
        assert_int_equal(time_put_iso(got, at * 1000 + 5), strlen(rows[i].iso));
        assert_string_equal(got, rows[i].iso);
        assert_int_equal(time_put_http(got, at), 29);
        assert_string_equal(got, "Sun, 22 Nov 2026 23:30:07 GMT");
    }
    zone_set(0);
}

static void test_numbers_have_words(void **state)
{
    (void)state;
    assert_string_equal(ascii_error(ENOENT), "No such file or directory");
    assert_string_equal(ascii_error(-1), "unknown error");
    assert_string_equal(ascii_signal(SIGSEGV), "Segmentation fault");
    assert_string_equal(ascii_signal(12345), "unknown signal");
}

static void test_hex_of_any_number_has_16_digits(void **state)
{
    uint64_t n = 1;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        char wanted[17], text[17] = {0};

        n = i < 64    ? UINT64_C(1) << i
            : i < 128 ? UINT64_MAX >> (i - 64)
                      : n * 6364136223846793005 + i;
        (void)snprintf(wanted, sizeof(wanted), "%016" PRIx64, n);
        ascii_put_hex_u64(text, n);
        assert_string_equal(text, wanted);
    }
    char zero[17] = {0};
    ascii_put_hex_u64(zero, 0);
    assert_string_equal(zero, "0000000000000000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_case_is_that_of_ascii_letters_alone),
        cmocka_unit_test(test_dates_are_those_of_the_c_library),
        cmocka_unit_test(test_times_in_each_form),
        cmocka_unit_test(test_numbers_have_words),
        cmocka_unit_test(test_hex_of_any_number_has_16_digits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
