/* SPDX-License-Identifier: MIT
 *
 * What the loop knows about the time that a client's bytes have waited for it.
 */
#include "worker_case.h"

enum { MS = 1000000 };

/* A pass that begins pause_ns after the last look at the clock, after a pass of last_pass_ns. */
static void begin_pass(struct worker *w, uint64_t last_pass_ns, uint64_t pause_ns)
{
    w->now_ns = now_ns() - pause_ns;
    w->last_pass_ns = last_pass_ns;
    w->pass_ns = 0;
    worker_look_at_clock(w);
}

static void test_pass_without_sleep_finds_what_had_waited(void **state)
{
    struct worker_case t;

    (void)state;
    worker_case_open(&t, NULL, 0);
    begin_pass(t.w, 5 * MS, 0);
    assert_true(t.w->may_have_queued);
    assert_true(worker_waited_ns(t.w) >= 5 * MS);
    worker_case_close(&t);
}

static void test_pass_after_a_sleep_finds_what_has_just_come(void **state)
{
    struct worker_case t;

    (void)state;
    worker_case_open(&t, NULL, 0);
    begin_pass(t.w, 5 * MS, 20 * MS);
    assert_false(t.w->may_have_queued);
    assert_true(worker_waited_ns(t.w) < 5 * MS);
    worker_case_close(&t);
}

/* A process that was not scheduled for a while looks like one that slept. */
static void test_pause_after_a_long_pass_leaves_the_question_open(void **state)
{
    struct worker_case t;

    (void)state;
    worker_case_open(&t, NULL, 0);
    begin_pass(t.w, 300 * MS, 20 * MS);
    assert_true(t.w->may_have_queued);
    assert_true(worker_waited_ns(t.w) < 300 * MS); /* nor is it taken for certain */
    worker_case_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pass_without_sleep_finds_what_had_waited),
        cmocka_unit_test(test_pass_after_a_sleep_finds_what_has_just_come),
        cmocka_unit_test(test_pause_after_a_long_pass_leaves_the_question_open),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
