/* SPDX-License-Identifier: MIT
 *
 * The scan of a head: the vector code against its portable twin, and where a head ends, byte by
 * byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "http/request/scan.h"

static const struct scan_limits limits = {
    .line_max = 100, .field_max = 100, .fields_max = 10, .head_max = 1000};

static unsigned random_state = 1;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % n;
}

/* ---- scan_control -----------------------------------------------------------------------------
 */

static void test_control_bytes(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        size_t want = (c < 0x20 && c != '\t') || c == 0x7f ? 0 : 1;
        char byte = (char)c;

        assert_int_equal(scan_control_portable(&byte, 1), want);
        assert_int_equal(scan_control(&byte, 1), want);
        assert_int_equal(scan_has_control(&byte, 1), scan_control_portable(&byte, 1) < (1));
    }
    assert_int_equal(scan_control("", 0), 0);
    assert_false(scan_has_control("", 0));
    assert_int_equal(scan_control_portable("\n", 0), 0);
}

/* Each byte value at each place of a piece of several vectors, at each alignment. */
static void test_control_every_place(void **state)
{
    char room[16 + 50];

    (void)state;
    for (size_t shift = 0; shift < 16; shift++) {
        for (size_t at = 0; at < 50; at++) {
            for (int c = 0; c < 256; c++) {
                memset(room, 'x', sizeof(room));
                room[shift + at] = (char)c;
                size_t want = (c < 0x20 && c != '\t') || c == 0x7f ? at : 50;
                if (scan_control(room + shift, 50) != want)
                    fail_msg("byte %#x at %zu, shift %zu: %zu", c, at, shift,
                             scan_control(room + shift, 50));
            }
        }
    }
}

/* In buffers of just the size, so that a read past the end is found. */
static void test_control_random(void **state)
{
    (void)state;
    for (size_t len = 0; len < 200; len++) {
        for (int i = 0; i < 40; i++) {
            size_t shift = random_below(16);
            char *room = malloc(shift + len + 1);
            char *p = room + shift;
            unsigned rare = 1 + random_below(300);

            for (size_t k = 0; k < len; k++)
                p[k] = (char)(random_below(rare) ? 0x20 + random_below(0x5f) : random_below(256));
            char *exact = malloc(len ? len : 1);
            memcpy(exact, p, len);
            size_t want = scan_control_portable(exact, len);
            assert_int_equal(scan_control(p, len), want);
            assert_int_equal(scan_has_control(p, len), scan_control_portable(p, len) < (len));
            assert_int_equal(scan_control(exact, len), want);
            assert_int_equal(scan_has_control(exact, len),
                             scan_control_portable(exact, len) < (len));
            free(exact);
            free(room);
        }
    }
}

/* ---- scan_head --------------------------------------------------------------------------------
 */

/* Scans in pieces of `step` bytes. */
static int scan_in(struct scan *s, const char *text, size_t len, size_t step, bool trailers,
                   size_t *used)
{
    const char *reason = NULL;
    int status = 0;

    scan_init(s, trailers);
    *used = 0;
    while (*used < len && status == 0 && s->place != SCAN_END) {
        size_t n = step < len - *used ? step : len - *used, now;

        status = 0;
        now = *used == 0 && !trailers ? scan_whole(s, &limits, text, n) : 0;
        if (now == 0)
            status = scan_head(s, &limits, text + *used, n, &now, &reason);
        assert_true(now <= n);
        assert_true(status != 0 || now == n || s->place == SCAN_END);
        assert_true((status != 0) == (reason != NULL));
        *used += now;
    }
    return status;
}

struct row {
    const char *text;
    int status;
    bool trailers;
    size_t used, skipped, lines; /* when complete */
};

static void test_scan_head(void **state)
{
    static const struct row rows[] = {
        {"GET / HTTP/1.1\r\n\r\nrest", 0, false, 18, 0, 1},
        {"x\r\nA: b\r\nC\r\n\r\nrest", 0, false, 14, 0, 3},
        {"\r\n\r\nx\r\nA: b\r\n\r\n\r\n", 0, false, 15, 4, 2},
        {"x\r\nA:\tb\x80\r\n\r\n", 0, false, 12, 0, 2},
        {"\r\nrest", 0, true, 2, 0, 0},
        {"A: b\r\nC: d\r\n\r\nrest", 0, true, 14, 0, 2},
        {"x\n", 400, false, 0, 0, 0},
        {"\n", 400, false, 0, 0, 0},
        {"\rx", 400, false, 0, 0, 0},
        {"x\rx", 400, false, 0, 0, 0},
        {"x\r\n\n", 400, false, 0, 0, 0},
        {"x\r\n\rx", 400, false, 0, 0, 0},
        {"x\r\n A: b\r\n\r\n", 400, false, 0, 0, 0},
        {"x\r\nA: b\r\n\tc\r\n\r\n", 400, false, 0, 0, 0},
        {"x\r\n: b\r\n\r\n", 400, false, 0, 0, 0},
        {"x\r\nA: \x7f\r\n\r\n", 400, false, 0, 0, 0},
        {" A: b\r\n\r\n", 400, true, 0, 0, 0},
        {":\r\n\r\n", 400, true, 0, 0, 0},
        {"\n", 400, true, 0, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t len = strlen(rows[i].text);

        for (size_t step = 1; step <= len; step++) {
            struct scan s;
            size_t used;
            int status = scan_in(&s, rows[i].text, len, step, rows[i].trailers, &used);

            if (status != rows[i].status)
                fail_msg("%s: %d, not %d", rows[i].text, status, rows[i].status);
            if (status != 0)
                continue;
            assert_int_equal(s.place, SCAN_END);
            assert_int_equal(used, rows[i].used);
            assert_int_equal(s.skipped, rows[i].skipped);
            assert_int_equal(s.len, rows[i].used - rows[i].skipped);
            assert_int_equal(s.lines, rows[i].lines);
        }
    }
}

/* Heads with a few bytes changed: whole and byte by byte they are judged by different code. */
static void test_scan_whole_or_cut(void **state)
{
    static const char strange[] = "\r\n\r\n\t :\x7fx";
    size_t complete = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        char text[300];
        size_t len = 0, used, used_cut;
        struct scan whole, cut;

        while (len < sizeof(text) - 90) {
            size_t line = 1 + random_below(80);

            memset(text + len, 'a', line);
            memcpy(text + len + line, "\r\n", 2);
            len += line + 2;
        }
        memcpy(text + len, "\r\nbody\n", 8);
        len += 8;
        for (unsigned changes = random_below(4); changes > 0; changes--)
            text[random_below((unsigned)len)] = strange[random_below(sizeof(strange) - 1)];
        char *exact = malloc(len);
        memcpy(exact, text, len);
        int status = scan_in(&whole, exact, len, len, false, &used);
        assert_int_equal(scan_in(&cut, exact, len, 1, false, &used_cut), status);
        free(exact);
        if (status != 0)
            continue;
        complete += whole.place == SCAN_END;
        assert_int_equal(used, used_cut);
        assert_int_equal(whole.place, cut.place);
        assert_int_equal(whole.len, cut.len);
        assert_int_equal(whole.lines, cut.lines);
        assert_int_equal(whole.skipped, cut.skipped);
        assert_int_equal(whole.ends[0], cut.ends[0]);
    }
    assert_true(complete > 1000);
}

static void test_scan_nothing(void **state)
{
    const char *reason;
    struct scan s;
    size_t used = 7;

    (void)state;
    scan_init(&s, false);
    assert_int_equal(scan_head(&s, &limits, "", 0, &used, &reason), 0);
    assert_int_equal(used, 0);
    assert_int_equal(s.place, SCAN_BEFORE);
    assert_int_equal(s.len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control_bytes),     cmocka_unit_test(test_control_every_place),
        cmocka_unit_test(test_control_random),    cmocka_unit_test(test_scan_head),
        cmocka_unit_test(test_scan_whole_or_cut), cmocka_unit_test(test_scan_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
