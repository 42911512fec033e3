/* SPDX-License-Identifier: MIT
 *
 * Durations, sizes and UTF-8 as settings texts: what is read, what is not, and that what is written
 * reads as the same.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "settings/text.h"

static void test_text_durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
    } good[] = {
        {"0", 0},        {"30", 30000},  {"30s", 30000}, {"500ms", 500},         {"2m", 120000},
        {"1h", 3600000}, {"1.5s", 1500}, {"0.25", 250},  {"1.001s", 1001},       {"0.5h", 1800000},
        {"1M", 60000},   {"0s", 0},      {"007s", 7000}, {"8760h", 31536000000},
    };
    static const char *const bad[] = {
        "",
        "s",
        "-1",
        "+1",
        "1d",
        "1 s",
        " 1",
        "1s ",
        "1.",
        ".5",
        "1.5.5s",
        "1e3",
        "ms",
        "1.5ms",
        "0.0001",
        "0x10",
        "abc",
        "99999999999999999999",
        "0.00000000000000000000001s",
    };
    uint64_t ms;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(text_parse_duration(good[i].text, &ms), 0);
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (text_parse_duration(bad[i], &ms) == 0)
            fail_msg("taken: \"%s\"", bad[i]);
    }
}

static void test_text_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t size;
    } good[] = {
        {"0", 0},           {"8190", 8190},   {"64KiB", 65536},    {"64k", 65536},
        {"16MiB", 1 << 24}, {"16m", 1 << 24}, {"1GiB", 1 << 30},   {"1G", 1 << 30},
        {"10kB", 10000},    {"1MB", 1000000}, {"2GB", 2000000000}, {"10B", 10},
        {"1.5KiB", 1536},   {"0.5k", 512},    {"64kib", 65536},    {"1099511627776", 1ull << 40},
    };
    static const char *const bad[] = {
        "", "KiB", "-1", "1TiB", "1.5", "0.3KiB", "1 KiB", "17179869184GiB", "x"};
    uint64_t size;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(text_parse_size(good[i].text, &size), 0);
        assert_int_equal(size, good[i].size);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (text_parse_size(bad[i], &size) == 0)
            fail_msg("taken: \"%s\"", bad[i]);
    }
}

/* What is written is what was meant, and reads as the same. */
static void test_text_round_trips(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *duration, *size;
    } cases[] = {
        {0, "0", "0"},
        {1, "1ms", "1"},
        {1000, "1s", "1000"},
        {1024, "1024ms", "1KiB"},
        {60000, "60s", "60000"},
        {90000, "90s", "90000"},
        {120000, "2m", "120000"},
        {3600000, "1h", "3600000"},
        {1 << 20, "1048576ms", "1MiB"},
        {(1 << 20) + 1024, "1049600ms", "1025KiB"},
        {(1ull << 40) - 1, NULL, "1099511627775"},
        {1ull << 40, NULL, "1024GiB"},
    };
    struct strbuf out = {0};
    uint64_t value;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        strbuf_reset(&out);
        text_add_size(&out, cases[i].value);
        assert_string_equal(out.data, cases[i].size);
        assert_int_equal(text_parse_size(out.data, &value), 0);
        assert_int_equal(value, cases[i].value);
        if (!cases[i].duration)
            continue;
        strbuf_reset(&out);
        text_add_duration(&out, cases[i].value);
        assert_string_equal(out.data, cases[i].duration);
        assert_int_equal(text_parse_duration(out.data, &value), 0);
        assert_int_equal(value, cases[i].value);
    }
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text_durations),
        cmocka_unit_test(test_text_sizes),
        cmocka_unit_test(test_text_round_trips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
