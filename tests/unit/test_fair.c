/* SPDX-License-Identifier: MIT
 *
 * fair_close: when answers say Connection: close.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "worker/fair.h"

enum { START = 1000, SLOW = FAIR_WAIT_MS + 1 };

static void test_fair_short_waits(void **state)
{
    struct fair f = {.enabled = true};

    (void)state;
    assert_false(fair_lets_go(&f, 0));
    fair_note_wait(&f, 0, START);
    fair_note_wait(&f, FAIR_WAIT_MS, START); /* just not long */
    assert_false(fair_lets_go(&f, START));
}

static void test_fair_long_wait(void **state)
{
    struct fair f = {.enabled = true};

    (void)state;
    fair_note_wait(&f, SLOW, START);
    assert_true(fair_lets_go(&f, START));
    assert_true(fair_lets_go(&f, START + FAIR_MEMORY_MS - 1));
    assert_false(fair_lets_go(&f, START + FAIR_MEMORY_MS));
    /* a wait meanwhile renews the memory but does not lengthen it, a short one does nothing */
    fair_note_wait(&f, SLOW, START + FAIR_MEMORY_MS - 1);
    fair_note_wait(&f, 0, START + FAIR_MEMORY_MS - 1);
    assert_true(fair_lets_go(&f, START + 2 * FAIR_MEMORY_MS - 2));
    assert_false(fair_lets_go(&f, START + 2 * FAIR_MEMORY_MS - 1));
}

/* Kept anew and made to wait at once: each time twice as long, up to the maximum. */
static void test_fair_waits_again(void **state)
{
    struct fair f = {.enabled = true};
    uint64_t now = START, memory = FAIR_MEMORY_MS;

    (void)state;
    for (int i = 0; i < 8; i++) {
        fair_note_wait(&f, SLOW, now);
        assert_true(fair_lets_go(&f, now + memory - 1));
        assert_false(fair_lets_go(&f, now + memory));
        now += memory;
        memory = memory * 2 > FAIR_MEMORY_MAX_MS ? FAIR_MEMORY_MAX_MS : memory * 2;
    }
    assert_int_equal(memory, FAIR_MEMORY_MAX_MS);
}

/* A wait long after the last one begins anew. */
static void test_fair_forgets(void **state)
{
    struct fair f = {.enabled = true};

    (void)state;
    fair_note_wait(&f, SLOW, START);
    fair_note_wait(&f, SLOW, START + FAIR_MEMORY_MS); /* 2 x FAIR_MEMORY_MS now */
    uint64_t end = START + 3 * FAIR_MEMORY_MS;
    assert_true(fair_lets_go(&f, end - 1));
    assert_false(fair_lets_go(&f, end));
    uint64_t later = end + 2 * FAIR_MEMORY_MS + 1;
    fair_note_wait(&f, SLOW, later);
    assert_true(fair_lets_go(&f, later + FAIR_MEMORY_MS - 1));
    assert_false(fair_lets_go(&f, later + FAIR_MEMORY_MS));
}

static void test_fair_disabled(void **state)
{
    struct fair f = {.enabled = false};

    (void)state;
    fair_note_wait(&f, 1000, START);
    assert_false(fair_lets_go(&f, START));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fair_short_waits), cmocka_unit_test(test_fair_long_wait),
        cmocka_unit_test(test_fair_waits_again), cmocka_unit_test(test_fair_forgets),
        cmocka_unit_test(test_fair_disabled),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
