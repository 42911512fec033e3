/* SPDX-License-Identifier: MIT
 *
 * Deadlines of connections: against a plain table that is searched from end to end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "worker/loop/timers.h"

enum { COUNT = 40 };

static struct timers timers;
static struct timer each[COUNT];

static int init(void **state)
{
    (void)state;
    timers = (struct timers){.length_ms = {10, 20, 30, 40, 50, 60}};
    timers_init(&timers);
    for (int i = 0; i < COUNT; i++)
        timer_init(&each[i]);
    return 0;
}

static void test_timers_empty(void **state)
{
    (void)state;
    for (int kind = 0; kind < TIMER_KINDS; kind++)
        assert_null(timers_first(&timers, (enum timer_kind)kind));
    assert_null(timers_late(&timers, UINT64_MAX));
    assert_true(timers_next_ms(&timers) == UINT64_MAX);
    timer_clear(&each[0]); /* one that was never set */
    assert_int_equal(each[0].kind, TIMER_NONE);
}

static void test_timers_set(void **state)
{
    (void)state;
    timer_set(&timers, &each[0], TIMER_WRITE, 100);
    assert_int_equal(each[0].deadline_ms, 130);
    assert_int_equal(each[0].kind, TIMER_WRITE);
    assert_ptr_equal(timers_first(&timers, TIMER_WRITE), &each[0]);
    assert_null(timers_first(&timers, TIMER_BODY));
    assert_int_equal(timers_next_ms(&timers), 130);
    assert_null(timers_late(&timers, 129));
    assert_ptr_equal(timers_late(&timers, 130), &each[0]);
    assert_ptr_equal(timers_late(&timers, 131), &each[0]); /* still set */

    timer_set(&timers, &each[1], TIMER_HEADER, 115); /* set later, due earlier */
    assert_int_equal(timers_next_ms(&timers), 125);
    assert_ptr_equal(timers_late(&timers, 125), &each[1]);

    timer_set(&timers, &each[1], TIMER_KEEPALIVE, 120); /* of another kind now */
    assert_null(timers_first(&timers, TIMER_HEADER));
    assert_int_equal(timers_next_ms(&timers), 130);
    timer_clear(&each[0]);
    assert_int_equal(each[0].kind, TIMER_NONE);
    assert_null(timers_first(&timers, TIMER_WRITE));
    assert_int_equal(timers_next_ms(&timers), 160);
    timer_clear(&each[0]); /* twice */
    timer_clear(&each[1]);
    assert_true(timers_next_ms(&timers) == UINT64_MAX);
}

static void test_timers_order(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        timer_set(&timers, &each[i], TIMER_BODY, (uint64_t)i);
    assert_ptr_equal(timers_first(&timers, TIMER_BODY), &each[0]);
    timer_set(&timers, &each[0], TIMER_BODY, 5); /* anew: to the end */
    assert_ptr_equal(timers_first(&timers, TIMER_BODY), &each[1]);
    timer_clear(&each[2]); /* from the middle */
    timer_clear(&each[1]);
    assert_ptr_equal(timers_first(&timers, TIMER_BODY), &each[0]);
    assert_int_equal(timers_next_ms(&timers), 25);
}

static uint64_t soonest(void)
{
    uint64_t soonest_ms = UINT64_MAX;

    for (int i = 0; i < COUNT; i++) {
        if (each[i].kind != TIMER_NONE && each[i].deadline_ms < soonest_ms)
            soonest_ms = each[i].deadline_ms;
    }
    return soonest_ms;
}

static void test_timers_random(void **state)
{
    unsigned seed = 7;
    uint64_t now = 0;

    (void)state;
    for (int step = 0; step < 20000; step++) {
        struct timer *t = &each[rand_r(&seed) % COUNT];
        struct timer *late;

        now += (uint64_t)(rand_r(&seed) % 3);
        if (rand_r(&seed) % 4 == 0)
            timer_clear(t);
        else
            timer_set(&timers, t, (enum timer_kind)(rand_r(&seed) % TIMER_KINDS), now);
        assert_true(timers_next_ms(&timers) == soonest());
        assert_int_equal(timers_late(&timers, now) != NULL, soonest() <= now);
        while (step % 5 == 0 && (late = timers_late(&timers, now)) != NULL) {
            assert_true(late->deadline_ms <= now);
            timer_clear(late);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_timers_empty, init),
        cmocka_unit_test_setup(test_timers_set, init),
        cmocka_unit_test_setup(test_timers_order, init),
        cmocka_unit_test_setup(test_timers_random, init),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
