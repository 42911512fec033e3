/* SPDX-License-Identifier: MIT
 *
 * When a worker takes the next connection, and when it leaves it to a sibling.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "system/ipc/scoreboard.h"
#include "worker/accept/accept_balance.h"

enum { SLOTS = 8, GENERATION = 3, ANY = 100 };

static struct slot *add_worker(struct scoreboard *sb, unsigned i, uint64_t connections)
{
    struct slot *s = scoreboard_claim(sb, i);

    s->generation = GENERATION;
    s->state = SLOT_IDLE;
    s->call_count = 1;
    s->connections_open = connections;
    return s;
}

static int set_up(void **state)
{
    struct error err;

    *state = scoreboard_new(SLOTS, &err);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    scoreboard_free(*state);
    return 0;
}

static void test_share_alone(void **state)
{
    const struct slot *own = add_worker(*state, 0, ANY);

    assert_true(accept_balance_limit(*state, own) == UINT64_MAX);
    assert_true(accept_balance_limit(NULL, own) == UINT64_MAX);
}

static void test_share_who_holds_fewest_takes_all(void **state)
{
    const struct slot *own = add_worker(*state, 2, ANY);

    (void)add_worker(*state, 0, ANY);
    (void)add_worker(*state, 1, ANY + 1);
    assert_true(accept_balance_limit(*state, own) == UINT64_MAX);
}

static void test_share_the_sibling_with_fewest_counts(void **state)
{
    const struct slot *own = add_worker(*state, 1, ANY);

    (void)add_worker(*state, 0, 60);
    (void)add_worker(*state, 2, 40);
    (void)add_worker(*state, 3, 50);
    assert_int_equal(accept_balance_limit(*state, own), 40 + 40 / 8 + ACCEPT_BALANCE_SLACK);
}

static void test_share_small_differences_are_none(void **state)
{
    struct slot *own = add_worker(*state, 0, ACCEPT_BALANCE_SLACK);
    struct slot *sibling = add_worker(*state, 1, 0);

    assert_true(accept_balance_limit(*state, own) >= ACCEPT_BALANCE_SLACK);
    sibling->connections_open = 80;
    own->connections_open = 80 + 80 / 8 + ACCEPT_BALANCE_SLACK;
    assert_true(accept_balance_limit(*state, own) >= own->connections_open);
    own->connections_open++;
    assert_true(accept_balance_limit(*state, own) < own->connections_open);
}

static void test_share_only_siblings_that_serve(void **state)
{
    static const enum slot_state others[] = {SLOT_EMPTY, SLOT_BOOTING, SLOT_DRAINING};
    const struct slot *own = add_worker(*state, 0, ANY);
    struct slot *sibling = add_worker(*state, 1, 0);

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        sibling->state = others[i];
        assert_true(accept_balance_limit(*state, own) == UINT64_MAX);
    }
    sibling->state = ~0u; /* a broken worker's */
    assert_true(accept_balance_limit(*state, own) == UINT64_MAX);
    sibling->state = SLOT_IDLE;
    assert_true(accept_balance_limit(*state, own) < ANY);
    sibling->generation++; /* it may listen elsewhere */
    assert_true(accept_balance_limit(*state, own) == UINT64_MAX);
}

static void test_share_a_free_thread_is_enough(void **state)
{
    const struct slot *own = add_worker(*state, 0, ANY);
    struct slot *sibling = add_worker(*state, 1, 0);

    sibling->state = SLOT_CALLING;
    sibling->call_count = 2;
    slot_call_begin(&sibling->calls[0], 1);
    assert_int_equal(accept_balance_limit(*state, own), ACCEPT_BALANCE_SLACK);
    slot_call_begin(&sibling->calls[1], 1);
    assert_int_equal(accept_balance_limit(*state, own), ACCEPT_BALANCE_BUSY_SLACK);
}

static void test_share_a_busy_sibling_counts_double(void **state)
{
    const struct slot *own = add_worker(*state, 0, ANY);
    struct slot *sibling = add_worker(*state, 1, 40);

    (void)add_worker(*state, 2, 90);
    sibling->state = SLOT_CALLING;
    assert_int_equal(accept_balance_limit(*state, own), 40 * 2 + ACCEPT_BALANCE_BUSY_SLACK);
    sibling->connections_open = 60; /* it has its share: the free one counts */
    assert_int_equal(accept_balance_limit(*state, own), 90 + 90 / 8 + ACCEPT_BALANCE_SLACK);
}

/* What was never claimed is not even looked at. */
static void test_share_slots_in_use(void **state)
{
    struct scoreboard *sb = *state;

    assert_int_equal(scoreboard_used(sb), 0);
    (void)scoreboard_claim(sb, 4);
    assert_int_equal(scoreboard_used(sb), 5);
    (void)scoreboard_claim(sb, 1);
    assert_int_equal(scoreboard_used(sb), 5);
    assert_true(accept_balance_limit(sb, add_worker(sb, 0, ANY)) == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_share_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_who_holds_fewest_takes_all, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_the_sibling_with_fewest_counts, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(test_share_small_differences_are_none, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_only_siblings_that_serve, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_a_free_thread_is_enough, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_a_busy_sibling_counts_double, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_share_slots_in_use, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
