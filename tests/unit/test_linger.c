/* SPDX-License-Identifier: MIT
 *
 * How long a client is read that has had its last answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/conn/linger.h"

enum { NOW = 1000000, RATE = 256, PIECE = 65536 };

static void test_linger_upload_in_pace_has_30_s(void **state)
{
    struct lingering l = {0};
    uint64_t at = 0;

    (void)state;
    linger_begin(&l, 0, NOW);
    for (; at + LINGER_GAP_MS <= LINGER_MAX_MS; at += 100)
        assert_int_equal(linger_note(&l, PIECE, RATE, NOW + at), LINGER_RENEW);
    for (; at <= LINGER_MAX_MS; at += 100)
        assert_int_equal(linger_note(&l, PIECE, RATE, NOW + at), LINGER_LAST);
}

/* A byte a second: over as soon as the grace is, and what those bytes are worth at that rate. */
static void test_linger_trickle_ends_after_grace(void **state)
{
    struct lingering l = {0};

    (void)state;
    linger_begin(&l, 0, NOW);
    for (uint64_t at = 1000; at <= LINGER_GRACE_MS; at += 1000)
        assert_int_equal(linger_note(&l, 1, RATE, NOW + at), LINGER_RENEW);
    assert_int_equal(linger_note(&l, 1, RATE, NOW + LINGER_GRACE_MS + 1000), LINGER_OVER);
}

static void test_linger_any_rate_still_ends(void **state)
{
    struct lingering l = {0};

    (void)state;
    linger_begin(&l, 0, NOW);
    assert_int_equal(linger_note(&l, 1, 0, NOW + 28000), LINGER_RENEW);
    assert_int_equal(linger_note(&l, 1, 0, NOW + 28001), LINGER_LAST);
}

static void test_linger_ends_with_announced_length(void **state)
{
    struct lingering l = {.announced = 3 * PIECE};

    (void)state;
    linger_begin(&l, PIECE, NOW);
    assert_int_equal(linger_note(&l, PIECE, RATE, NOW), LINGER_RENEW);
    assert_int_equal(linger_note(&l, PIECE, RATE, NOW), LINGER_WHOLE);
}

/* The client has pipelined another request: a close would reset the connection. */
static void test_linger_goes_on_past_announced_length(void **state)
{
    struct lingering l = {.announced = PIECE};

    (void)state;
    linger_begin(&l, 0, NOW);
    assert_int_equal(linger_note(&l, PIECE + 1, RATE, NOW), LINGER_RENEW);
    assert_int_equal(linger_note(&l, PIECE, RATE, NOW), LINGER_RENEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linger_upload_in_pace_has_30_s),
        cmocka_unit_test(test_linger_trickle_ends_after_grace),
        cmocka_unit_test(test_linger_any_rate_still_ends),
        cmocka_unit_test(test_linger_ends_with_announced_length),
        cmocka_unit_test(test_linger_goes_on_past_announced_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
