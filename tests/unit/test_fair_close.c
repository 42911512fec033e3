/* SPDX-License-Identifier: MIT
 *
 * When a worker lets its keep-alive connections go, and when it keeps them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "system/ipc/scoreboard.h"
#include "worker/conn/fair_close.h"

enum { NOW = 1000000, ONE = 1, TWO = 2 };

static void test_fair_quick_calls_keep(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        fair_close_note_call(&f, i % 2 + 1, FAIR_CLOSE_SLOW_MS, NOW + i);
    assert_false(fair_close_is_due(&f, NOW + 100));
}

static void test_fair_one_client_is_kept(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    for (uint64_t i = 0; i < 100; i++)
        fair_close_note_call(&f, ONE, 500, NOW + 500 * i);
    fair_close_note_wait(&f, ONE, 500, NOW + 60000); /* behind its own call */
    assert_false(fair_close_is_due(&f, NOW + 60000));
}

static void test_fair_slow_call_among_several(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    fair_close_note_call(&f, ONE, 1, NOW);
    fair_close_note_call(&f, TWO, FAIR_CLOSE_SLOW_MS + 1, NOW + 20);
    assert_true(fair_close_is_due(&f, NOW + 20));
    assert_true(fair_close_is_due(&f, NOW + 20 + FAIR_CLOSE_MEMORY_MS - 1));
    assert_false(fair_close_is_due(&f, NOW + 20 + FAIR_CLOSE_MEMORY_MS));
}

static void test_fair_forgets_the_others(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    fair_close_note_call(&f, ONE, 1, NOW);
    fair_close_note_call(&f, TWO, 1, NOW + 1);
    fair_close_note_call(&f, TWO, 100, NOW + 1 + FAIR_CLOSE_MEMORY_MS);
    assert_false(fair_close_is_due(&f, NOW + 2 + FAIR_CLOSE_MEMORY_MS));
}

static void test_fair_wait_behind_another(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    fair_close_note_call(&f, ONE, 100, NOW);
    fair_close_note_wait(&f, TWO, FAIR_CLOSE_SLOW_MS, NOW);
    assert_false(fair_close_is_due(&f, NOW));
    fair_close_note_wait(&f, TWO, FAIR_CLOSE_SLOW_MS + 1, NOW);
    assert_true(fair_close_is_due(&f, NOW));
}

static void test_fair_disabled(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = false, .hints = &hints};

    (void)state;
    fair_close_note_call(&f, ONE, 1, NOW);
    fair_close_note_call(&f, TWO, 100, NOW);
    fair_close_note_wait(&f, ONE, 100, NOW);
    assert_false(fair_close_is_due(&f, NOW));
}

static void test_fair_is_known_to_siblings(void **state)
{
    struct shared_hints hints = {0};
    struct fair_close f = {.enabled = true, .hints = &hints}, sibling = f;

    (void)state;
    fair_close_note_call(&f, ONE, 1, NOW);
    fair_close_note_call(&f, TWO, 100, NOW);
    assert_true(fair_close_is_due(&sibling, NOW));
}

/* What a broken worker leaves there costs no connection its keep-alive for ever. */
static void test_fair_stray_write_does_not_last(void **state)
{
    struct shared_hints hints = {.shared_until_ms = UINT64_MAX, .slow_until_ms = UINT64_MAX};
    struct fair_close f = {.enabled = true, .hints = &hints};

    (void)state;
    assert_false(fair_close_is_due(&f, NOW));
    fair_close_note_call(&f, ONE, 1, NOW);
    fair_close_note_call(&f, TWO, 100, NOW);
    assert_true(fair_close_is_due(&f, NOW));
    assert_false(fair_close_is_due(&f, NOW + FAIR_CLOSE_MEMORY_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fair_quick_calls_keep),
        cmocka_unit_test(test_fair_one_client_is_kept),
        cmocka_unit_test(test_fair_slow_call_among_several),
        cmocka_unit_test(test_fair_forgets_the_others),
        cmocka_unit_test(test_fair_wait_behind_another),
        cmocka_unit_test(test_fair_disabled),
        cmocka_unit_test(test_fair_is_known_to_siblings),
        cmocka_unit_test(test_fair_stray_write_does_not_last),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
