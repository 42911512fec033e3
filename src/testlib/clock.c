/* SPDX-License-Identifier: MIT
 *
 * The time of a test (gcorn_test.h): it passes when the test says so. The wall clock is the
 * monotonic one and an offset, so one call advances both.
 */
#include "testlib/state.h"
#include "testlib/test_loop.h"

int64_t gcorn_test_time(void)
{
    testlib_init();
    return testlib_wall_ms() / 1000;
}

void gcorn_test_set_time(int64_t unix_s)
{
    testlib_init();
    testlib.wall_offset_ms = unix_s * 1000 - (int64_t)atomic_load(&testlib.now_ms);
    testlib_set_date();
}

/* To a time that is not before now. */
static void set_now(uint64_t now)
{
    if (now > gcorn_now())
        atomic_store(&testlib.now_ms, now);
    testlib_set_date();
}

void gcorn_test_advance(uint64_t ms)
{
    uint64_t turn_ms = gcorn_now(), until_ms = turn_ms + ms;

    testlib_init();
    while (turn_ms <= until_ms && test_timer_next_ms() <= until_ms) {
        set_now(test_timer_next_ms() > turn_ms ? test_timer_next_ms() : turn_ms);
        (void)testlib_run_due();
        turn_ms = gcorn_now() + 1; /* time passes also for a timer of 0 ms that sets itself again */
    }
    set_now(until_ms);
    (void)testlib_run_due();
}
