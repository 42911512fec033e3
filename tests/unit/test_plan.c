/* SPDX-License-Identifier: MIT
 *
 * The master's decisions, played through without a process: a small world carries them out, and
 * each test says how many serve at every step.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <string.h>

#include "base/util.h"
#include "master/proc/plan.h"

enum { PLACES = 16, NOW = 1000000 };

static struct worker_proc procs[PLACES];
static struct backoff backoffs[PLACES + 1];
static struct plan plan;

static int init(void **state)
{
    (void)state;
    memset(procs, 0, sizeof(procs));
    memset(backoffs, 0, sizeof(backoffs));
    for (size_t i = 0; i < PLACES; i++)
        procs[i].deadline_ms = NO_DEADLINE;
    plan = (struct plan){
        .procs = procs, .proc_count = PLACES, .workers = 4, .generation = 1, .backoffs = backoffs};
    return 0;
}

/* ---- the world --------------------------------------------------------------------------------
 */

static unsigned count(enum proc_phase phase, unsigned generation)
{
    unsigned n = 0;

    for (size_t i = 0; i < PLACES; i++)
        n += procs[i].phase == phase && (generation == 0 || procs[i].generation == generation);
    return n;
}

/* Carries out all that can be done now. How many were started. */
static unsigned act_at(uint64_t now)
{
    unsigned number, generation, started = 0;
    int place;

    while ((place = plan_retire(&plan)) != PLAN_NONE) {
        assert_true(procs[place].phase == PROC_READY || procs[place].phase == PROC_BOOTING);
        procs[place].phase = PROC_RETIRING;
    }
    while (plan_spawn(&plan, now, &number, &generation)) {
        place = plan_free_place(&plan);
        assert_true(place != PLAN_NONE);
        assert_int_equal(procs[place].phase, PROC_EMPTY);
        procs[place] = (struct worker_proc){.phase = PROC_BOOTING,
                                            .number = number,
                                            .generation = generation,
                                            .deadline_ms = NO_DEADLINE};
        assert_true(++started <= PLACES);
        assert_int_equal(plan_retire(&plan), PLAN_NONE); /* not what was just started */
    }
    return started;
}

static unsigned act(void)
{
    return act_at(NOW);
}

static void all_become_ready(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (procs[i].phase == PROC_BOOTING)
            procs[i].phase = PROC_READY;
    }
}

static void all_retired_end(void)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (procs[i].phase == PROC_RETIRING)
            procs[i].phase = PROC_EMPTY;
    }
}

static void settle(void)
{
    do {
        all_become_ready();
        all_retired_end();
    } while (act() > 0 || count(PROC_RETIRING, 0) > 0);
}

/* Each number once, READY, of this generation, and nobody else. */
static void expect_settled(unsigned workers, unsigned generation)
{
    unsigned seen = 0, processes = workers + plan.has_admin;

    assert_int_equal(plan_alive(&plan), processes);
    assert_int_equal(count(PROC_READY, generation), processes);
    for (size_t i = 0; i < PLACES; i++) {
        if (procs[i].phase == PROC_READY)
            seen |= 1u << procs[i].number;
    }
    assert_int_equal(seen, ((1u << workers) - 1) | (unsigned)plan.has_admin << PLACES);
}

static struct worker_proc *find(unsigned number, unsigned generation)
{
    for (size_t i = 0; i < PLACES; i++) {
        if (procs[i].phase != PROC_EMPTY && procs[i].number == number &&
            procs[i].generation == generation)
            return &procs[i];
    }
    return NULL;
}

/* ---- start, replace, stop ----------------------------------------------------------------------
 */

static void test_plan_start(void **state)
{
    (void)state;
    assert_int_equal(plan_alive(&plan), 0);
    assert_int_equal(plan_retire(&plan), PLAN_NONE);
    assert_int_equal(act(), 4); /* all at once */
    assert_int_equal(count(PROC_BOOTING, 1), 4);
    assert_int_equal(act(), 0);
    settle();
    expect_settled(4, 1);
}

static void test_plan_replaces_dead(void **state)
{
    (void)state;
    settle();
    find(2, 1)->phase = PROC_EMPTY;
    assert_int_equal(act(), 1);
    assert_int_equal(find(2, 1)->phase, PROC_BOOTING);
    /* one that is being killed or retires serves no more: its replacement does not wait for it */
    find(1, 1)->phase = PROC_ABORTED;
    find(3, 1)->phase = PROC_RETIRING;
    assert_int_equal(act(), 2);
    assert_int_equal(plan_alive(&plan), 6);
}

static void test_plan_replaces_dead_before_canary(void **state)
{
    unsigned number, generation;

    (void)state;
    settle();
    plan.candidate = 2;
    find(2, 1)->phase = PROC_EMPTY;
    assert_true(plan_spawn(&plan, NOW, &number, &generation));
    assert_int_equal(number, 2);
    assert_int_equal(generation, 1);
    backoffs[2].not_before_ms = NOW + 1; /* it crashes: the reload may mend that */
    assert_true(plan_spawn(&plan, NOW, &number, &generation));
    assert_int_equal(generation, 2);
    plan.canary.not_before_ms = NOW + 2;
    assert_false(plan_spawn(&plan, NOW, &number, &generation));
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 1);
    backoffs[2].not_before_ms = 0;
    assert_int_equal(act(), 1);
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 2);
}

static void test_plan_stop(void **state)
{
    (void)state;
    settle();
    find(0, 1)->phase = PROC_EMPTY;
    (void)act(); /* one boots */
    plan.stopping = true;
    assert_int_equal(act(), 0);
    assert_int_equal(count(PROC_RETIRING, 0), 4);
    all_retired_end();
    assert_int_equal(act(), 0);
    assert_int_equal(plan_alive(&plan), 0);
    assert_true(plan_wake_ms(&plan, NOW) == NO_DEADLINE);
}

static void test_plan_full_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < PLACES; i++)
        procs[i].phase = PROC_ABORTED;
    assert_int_equal(plan_free_place(&plan), PLAN_NONE);
    assert_int_equal(plan_alive(&plan), PLACES);
    procs[5].phase = PROC_EMPTY;
    assert_int_equal(plan_free_place(&plan), 5);
}

/* ---- TTIN, TTOU --------------------------------------------------------------------------------
 */

static void test_plan_more_and_fewer(void **state)
{
    (void)state;
    settle();
    plan.workers = 6;
    assert_int_equal(act(), 2);
    settle();
    expect_settled(6, 1);
    plan.workers = 2;
    assert_int_equal(act(), 0);
    assert_int_equal(count(PROC_RETIRING, 0), 4);
    assert_int_equal(count(PROC_READY, 0), 2);
    settle();
    expect_settled(2, 1);
}

/* All at once ask to be recycled, and those that leave take for ever: as many leave as serve, then
 * the oldest are hurried, one for one that waits. */
static void test_plan_recycling_waits_for_room(void **state)
{
    (void)state;
    settle();
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < PLACES; i++)
            procs[i].recycle = procs[i].phase == PROC_READY;
        for (int step = 0; step < 8; step++) {
            (void)act();
            all_become_ready();
        }
        assert_true(count(PROC_READY, 1) >= 4);
        assert_int_equal(count(PROC_RETIRING, 1), 4);
        assert_int_equal(plan_alive(&plan), 8);
    }
    int place = plan_hurry(&plan);
    assert_true(place != PLAN_NONE);
    procs[place].phase = PROC_HURRIED;
    assert_int_equal(plan_hurry(&plan), PLAN_NONE); /* one is enough */
    procs[place].phase = PROC_EMPTY;
    assert_int_equal(act(), 1);
    assert_int_equal(plan_hurry(&plan), PLAN_NONE); /* the replacement boots */
}

/* ---- a new generation --------------------------------------------------------------------------
 */

static void test_plan_has_rolled(void **state)
{
    (void)state;
    assert_false(plan_has_rolled(&plan)); /* nobody is there yet */
    settle();
    assert_true(plan_has_rolled(&plan));
    find(2, 1)->recycle = true; /* a worker of the right generation all the same */
    assert_true(plan_has_rolled(&plan));
    settle();
    plan.candidate = 2;
    (void)act();
    assert_true(plan_has_rolled(&plan)); /* a canary changes nothing */
    all_become_ready();
    plan.generation = 2;
    plan.candidate = 0;
    for (int steps = 0; !plan_has_rolled(&plan); steps++) {
        assert_true(steps < PLACES);
        assert_true(count(PROC_READY, 2) < 4 || count(PROC_READY, 1) > 0);
        all_become_ready();
        (void)act();
    }
    assert_int_equal(count(PROC_READY, 2), 4);
    assert_int_equal(count(PROC_READY, 1), 0); /* retiring; it does not wait for their ends */
    assert_true(count(PROC_RETIRING, 1) > 0);
    find(1, 2)->phase = PROC_EMPTY;
    assert_false(plan_has_rolled(&plan));
}

/* One by one, and never fewer than four that serve. */
static void test_plan_roll(void **state)
{
    unsigned rounds = 0;

    (void)state;
    settle();
    plan.generation = 2;
    for (;;) {
        unsigned started = act();

        assert_true(started <= 1);
        assert_true(count(PROC_BOOTING, 0) <= 1);
        assert_true(count(PROC_READY, 0) >= 4);
        if (started == 0)
            break;
        rounds++;
        all_become_ready();
    }
    assert_int_equal(rounds, 4);
    assert_int_equal(count(PROC_RETIRING, 1), 4);
    settle();
    expect_settled(4, 2);
}

/* The old one goes only when its replacement serves; a replacement that dies leaves it alone. */
static void test_plan_roll_fails(void **state)
{
    (void)state;
    settle();
    plan.generation = 2;
    assert_int_equal(act(), 1);
    assert_int_equal(count(PROC_READY, 1), 4);
    find(0, 2)->phase = PROC_EMPTY;
    backoffs[0].not_before_ms = NOW + 100;
    /* meanwhile the next number is tried, one at a time */
    assert_int_equal(act(), 1);
    assert_non_null(find(1, 2));
    assert_null(find(0, 2));
    assert_int_equal(count(PROC_READY, 1), 4);
    assert_int_equal(act_at(NOW + 100), 0); /* still one at a time */
    all_become_ready();
    assert_int_equal(act_at(NOW + 100), 1);
    assert_non_null(find(0, 2));
    assert_int_equal(count(PROC_RETIRING, 1), 1);
}

/* Those that do not serve anyway are replaced at once. */
static void test_plan_roll_while_booting(void **state)
{
    (void)state;
    settle();
    find(3, 1)->phase = PROC_EMPTY;
    (void)act(); /* number 3 of generation 1 boots */
    plan.generation = 2;
    assert_int_equal(act(), 2); /* 0 rolls; 3, which served nobody, starts too */
    assert_int_equal(find(3, 1)->phase, PROC_RETIRING);
    assert_int_equal(find(3, 2)->phase, PROC_BOOTING);
    assert_int_equal(find(0, 2)->phase, PROC_BOOTING);
    settle();
    expect_settled(4, 2);
}

/* Fewer workers and new ones at once: the surplus serves until all new ones do. */
static void test_plan_roll_to_fewer(void **state)
{
    (void)state;
    settle();
    plan.generation = 2;
    plan.workers = 2;
    while (act() > 0) {
        assert_true(count(PROC_READY, 0) >= 4);
        assert_int_equal(count(PROC_RETIRING, 1), count(PROC_READY, 2));
        all_become_ready();
    }
    assert_int_equal(count(PROC_RETIRING, 1), 4);
    settle();
    expect_settled(2, 2);
}

static void test_plan_roll_to_more(void **state)
{
    (void)state;
    settle();
    plan.generation = 2;
    plan.workers = 6;
    assert_int_equal(act(), 3); /* 0 rolls, 4 and 5 are missing */
    assert_int_equal(count(PROC_READY, 1), 4);
    settle();
    expect_settled(6, 2);
}

/* A third generation overtakes the second. */
static void test_plan_roll_twice(void **state)
{
    (void)state;
    settle();
    plan.generation = 2;
    (void)act();
    all_become_ready();
    (void)act(); /* 0 is of generation 2 and serves, 1 of generation 2 boots */
    plan.generation = 3;
    (void)act();
    assert_true(count(PROC_READY, 0) >= 4);
    assert_int_equal(count(PROC_BOOTING, 2), 0); /* it is told to finish, nobody needs it */
    settle();
    expect_settled(4, 3);
}

/* ---- the canary --------------------------------------------------------------------------------
 */

static void test_plan_canary(void **state)
{
    unsigned number = 9, generation = 9;

    (void)state;
    settle();
    plan.candidate = 2;
    assert_true(plan_spawn(&plan, NOW, &number, &generation));
    assert_int_equal(number, 0);
    assert_int_equal(generation, 2);
    assert_int_equal(act(), 1); /* it alone */
    all_become_ready();
    assert_int_equal(act(), 0); /* which replaces nobody yet */
    assert_int_equal(count(PROC_RETIRING, 0), 0);
    assert_int_equal(count(PROC_READY, 1), 4);
    /* the others are looked after meanwhile */
    find(2, 1)->phase = PROC_EMPTY;
    assert_int_equal(act(), 1);
    assert_int_equal(find(2, 1)->phase, PROC_BOOTING);
    find(0, 1)->phase = PROC_EMPTY; /* also the one of the canary's number */
    assert_int_equal(act(), 1);
    settle();
    assert_int_equal(count(PROC_READY, 1), 4);
    /* taken: it is the first of the new ones */
    plan.generation = 2;
    plan.candidate = 0;
    assert_int_equal(act(), 1);
    assert_int_equal(find(0, 1)->phase, PROC_RETIRING);
    assert_int_equal(find(1, 2)->phase, PROC_BOOTING);
    settle();
    expect_settled(4, 2);
}

static void test_plan_canary_dropped(void **state)
{
    (void)state;
    settle();
    plan.candidate = 2;
    (void)act();
    plan.candidate = 0; /* its time is over */
    assert_int_equal(act(), 0);
    assert_int_equal(find(0, 2)->phase, PROC_RETIRING);
    assert_int_equal(count(PROC_READY, 1), 4);
    settle();
    expect_settled(4, 1);
}

static void test_plan_canary_stop(void **state)
{
    (void)state;
    settle();
    plan.candidate = 2;
    (void)act();
    plan.stopping = true;
    assert_int_equal(act(), 0);
    assert_int_equal(count(PROC_RETIRING, 0), 5);
}

/* ---- the admin process -------------------------------------------------------------------------
 */

static int init_with_admin(void **state)
{
    (void)init(state);
    plan.has_admin = true;
    return 0;
}

static unsigned count_workers(enum proc_phase phase)
{
    unsigned n = 0;

    for (size_t i = 0; i < PLACES; i++)
        n += procs[i].phase == phase && !plan_is_admin(&plan, &procs[i]);
    return n;
}

static void test_plan_admin_starts(void **state)
{
    (void)state;
    assert_int_equal(act(), 5);
    assert_non_null(find(PLACES, 1));
    settle();
    expect_settled(4, 1);
    find(PLACES, 1)->phase = PROC_EMPTY; /* it died */
    backoffs[PLACES].not_before_ms = NOW + 100;
    assert_int_equal(act(), 0);
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 100);
    assert_int_equal(act_at(NOW + 100), 1);
    settle();
    expect_settled(4, 1);
}

static void test_plan_admin_is_no_worker(void **state)
{
    (void)state;
    settle();
    plan.workers = 1;
    (void)act();
    assert_int_equal(count_workers(PROC_READY), 1);
    assert_int_equal(count(PROC_READY, 0), 2);
    settle();
    expect_settled(1, 1);
    /* as it leaves, workers need not wait for it, nor be hurried */
    find(PLACES, 1)->phase = PROC_RETIRING;
    find(0, 1)->recycle = true;
    assert_int_equal(plan_hurry(&plan), PLAN_NONE);
    assert_int_equal(act(), 2);
    assert_int_equal(plan_hurry(&plan), PLAN_NONE);
    assert_int_equal(plan_most_workers(&plan), (PLACES - 2) / 2);
}

/* A canary is a worker; the admin process is replaced in the roll, by one that is READY, and the
 * roll is over when it is. */
static void test_plan_admin_rolls(void **state)
{
    (void)state;
    settle();
    plan.candidate = 2;
    assert_int_equal(act(), 1);
    assert_null(find(PLACES, 2));
    all_become_ready();
    plan.generation = 2;
    plan.candidate = 0;
    while (act() > 0) {
        assert_int_equal(count(PROC_BOOTING, 0), 1);
        assert_true(count_workers(PROC_READY) >= 4);
        assert_false(plan_has_rolled(&plan));
        struct worker_proc *old = find(PLACES, 1), *fresh = find(PLACES, 2);
        if (old && old->phase == PROC_READY)
            assert_true(!fresh || fresh->phase == PROC_BOOTING);
        else
            assert_true(fresh && fresh->phase == PROC_READY);
        all_become_ready();
    }
    assert_true(plan_has_rolled(&plan));
    settle();
    expect_settled(4, 2);
}

static void test_plan_admin_comes_and_goes(void **state)
{
    (void)state;
    plan.has_admin = false;
    settle();
    plan.generation = 2;
    plan.has_admin = true;
    settle();
    expect_settled(4, 2);
    plan.generation = 3;
    plan.has_admin = false;
    (void)act();
    assert_int_equal(find(PLACES, 2)->phase, PROC_READY);
    settle();
    expect_settled(4, 3);
}

static void test_plan_admin_stops_last(void **state)
{
    (void)state;
    settle();
    find(2, 1)->phase = PROC_ABORTED;
    plan.stopping = true;
    (void)act();
    assert_int_equal(count(PROC_RETIRING, 0), 3);
    assert_int_equal(find(PLACES, 1)->phase, PROC_READY);
    all_retired_end();
    (void)act();
    assert_int_equal(find(PLACES, 1)->phase, PROC_READY); /* one is yet to die */
    find(2, 1)->phase = PROC_EMPTY;
    assert_int_equal(act(), 0);
    assert_int_equal(find(PLACES, 1)->phase, PROC_RETIRING);
    all_retired_end();
    assert_int_equal(act(), 0);
    assert_int_equal(plan_alive(&plan), 0);
}

/* ---- backoff -----------------------------------------------------------------------------------
 */

static void test_plan_backoff_boot(void **state)
{
    struct backoff b = {0};
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 40; i++) {
        plan_note_death(&b, 0, NOW);
        assert_true(b.not_before_ms > NOW);
        uint64_t delay = b.not_before_ms - NOW;
        if (i < 5)
            assert_int_equal(delay, 100u << i);
        assert_true(delay >= last && delay <= 30000);
        last = delay;
    }
    assert_int_equal(last, 30000);
    assert_int_equal(b.failures, 40);
    plan_note_death(&b, 10000, NOW); /* it lived long */
    assert_int_equal(b.failures, 0);
    assert_int_equal(b.not_before_ms, 0);
}

static void test_plan_backoff_crash(void **state)
{
    struct backoff b = {0};
    uint64_t last = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        plan_note_death(&b, 1, NOW);
        assert_int_equal(b.not_before_ms, 0); /* replaced at once */
    }
    for (int i = 0; i < 20; i++) {
        plan_note_death(&b, 9999, NOW);
        uint64_t delay = b.not_before_ms - NOW;
        assert_true(delay >= 10 && delay >= last && delay <= 500);
        last = delay;
    }
    assert_int_equal(last, 500);
}

/* Each kind of failure has a count of its own, and a boot that ends well clears that of boots. */
static void test_plan_backoff_counts_kinds_apart(void **state)
{
    struct backoff b = {0};

    (void)state;
    for (int i = 0; i < 10; i++)
        plan_note_death(&b, 5, NOW);
    plan_note_death(&b, 0, NOW);
    assert_int_equal(b.not_before_ms, NOW + 100); /* the first boot that failed */
    plan_note_death(&b, 0, NOW);
    assert_int_equal(b.not_before_ms, NOW + 200);
    plan_note_death(&b, 5, NOW);
    assert_int_equal(b.failures, 0);
    assert_int_equal(b.not_before_ms, NOW + 500); /* the eleventh crash */
}

static void test_plan_kill_in_boot_is_no_failure(void **state)
{
    struct backoff b = {0};

    (void)state;
    for (int i = 0; i < 10; i++)
        plan_note_death(&b, 5, NOW);
    b.not_before_ms = NOW; /* that wait is over: the next one boots */
    for (int i = 0; i < 3; i++) {
        plan_note_kill(&b, NOW);
        assert_int_equal(b.not_before_ms, NOW); /* replaced at once */
    }
    for (int i = 0; i < 20; i++) {
        plan_note_kill(&b, NOW); /* out of memory, again and again */
        assert_true(b.not_before_ms > NOW && b.not_before_ms <= NOW + 500);
    }
    assert_int_equal(b.failures, 0);
}

static void test_plan_backoff_waits(void **state)
{
    (void)state;
    settle();
    find(1, 1)->phase = PROC_EMPTY;
    backoffs[1].not_before_ms = NOW + 100;
    assert_int_equal(act(), 0);
    assert_int_equal(act_at(NOW + 99), 0);
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 100);
    assert_int_equal(act_at(NOW + 100), 1);
    assert_true(plan_wake_ms(&plan, NOW) == NO_DEADLINE); /* it boots: nothing to wait for */
}

static void test_plan_wake(void **state)
{
    (void)state;
    assert_true(plan_wake_ms(&plan, NOW) == NO_DEADLINE);
    settle();
    procs[1].deadline_ms = NOW + 70;
    procs[2].deadline_ms = NOW + 50;
    procs[9].deadline_ms = NOW + 10; /* of nobody */
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 50);
    find(3, 1)->phase = PROC_EMPTY;
    backoffs[3].not_before_ms = NOW + 20;
    backoffs[7].not_before_ms = NOW + 5; /* of a number that is not wanted */
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 20);
    assert_int_equal(plan_wake_ms(&plan, NOW + 20), NOW + 50);
    plan.stopping = true;
    assert_int_equal(plan_wake_ms(&plan, NOW), NOW + 50);
}

/* ---- health -----------------------------------------------------------------------------------
 */

static void test_plan_health(void **state)
{
    static const struct {
        uint64_t heard, call, loop, from, timeout, heartbeat;
        enum health want;
    } rows[] = {
        /* in a call: only its length counts */
        {0, NOW, 0, 0, 30, 10, HEALTH_FINE},
        {0, NOW - 30, 0, 0, 30, 10, HEALTH_FINE},
        {0, NOW - 31, 0, 0, 30, 10, HEALTH_CALL_TOO_LONG},
        {NOW, NOW - 31, NOW, 0, 30, 10, HEALTH_CALL_TOO_LONG},
        /* a heartbeat since: its slot was overwritten */
        {NOW - 1000, NOW - 1250, 0, 0, 30, 10, HEALTH_CALL_TOO_LONG},
        {NOW - 1000, NOW - 1251, 0, 0, 30, 10, HEALTH_FINE},
        {NOW - 3000, NOW - 9000, 0, 0, 30, 10, HEALTH_FINE},
        {NOW - 3001, NOW - 9000, 0, 0, 30, 10, HEALTH_CALL_TOO_LONG}, /* one that was read late */
        {NOW + 5, 1, 0, 0, 30, 10, HEALTH_FINE},
        {0, NOW - 999, 0, 0, 0, 10, HEALTH_FINE},        /* no limit */
        {0, NOW + 5, 0, 0, 30, 10, HEALTH_FINE},         /* read after the clock was */
        {0, NOW - 31, 0, NOW - 30, 30, 10, HEALTH_FINE}, /* the master was away */
        {0, NOW - 99, 0, NOW - 31, 30, 10, HEALTH_CALL_TOO_LONG},
        /* between calls: the latest sign of life */
        {NOW - 10, 0, 0, 0, 30, 10, HEALTH_FINE},
        {NOW - 11, 0, 0, 0, 30, 10, HEALTH_UNRESPONSIVE},
        {NOW - 99, 0, NOW - 10, 0, 30, 10, HEALTH_FINE},
        {NOW - 99, 0, NOW - 11, 0, 30, 10, HEALTH_UNRESPONSIVE},
        {NOW - 99, 0, NOW - 99, NOW - 10, 30, 10, HEALTH_FINE},
        {NOW - 99, 0, NOW - 99, NOW - 11, 30, 10, HEALTH_UNRESPONSIVE},
        {NOW + 5, 0, 0, 0, 30, 10, HEALTH_FINE},
        {NOW - 999, 0, 0, 0, 30, 0, HEALTH_FINE}, /* no heartbeat wanted */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct worker_proc proc = {.phase = PROC_READY, .heard_ms = rows[i].heard};
        struct health_sample sample = {.call_started_ms = rows[i].call,
                                       .loop_ms = rows[i].loop,
                                       .counted_from_ms = rows[i].from,
                                       .timeout_ms = rows[i].timeout,
                                       .heartbeat_ms = rows[i].heartbeat};

        if (plan_check_health(&proc, &sample, NOW) != rows[i].want)
            fail_msg("row %zu: %d", i, plan_check_health(&proc, &sample, NOW));
    }
}

/* gcorn_extend_deadline: longer than the limit, never shorter, and not what only a broken worker
 * can have written. */
static void test_plan_health_extended(void **state)
{
    static const struct {
        uint64_t call, until;
        enum health want;
    } rows[] = {
        {NOW - 99, NOW + 1, HEALTH_FINE},
        {NOW - 99, NOW, HEALTH_CALL_TOO_LONG},
        {NOW - 10, NOW - 5, HEALTH_FINE},
        {NOW - 99, (uint64_t)NOW + UINT32_MAX, HEALTH_FINE},
        {NOW - 99, (uint64_t)NOW + UINT32_MAX + 1, HEALTH_CALL_TOO_LONG},
        {NOW - 99, UINT64_MAX, HEALTH_CALL_TOO_LONG},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct worker_proc proc = {.phase = PROC_READY};
        struct health_sample sample = {
            .call_started_ms = rows[i].call, .call_until_ms = rows[i].until, .timeout_ms = 30};

        if (plan_check_health(&proc, &sample, NOW) != rows[i].want)
            fail_msg("row %zu: %d", i, plan_check_health(&proc, &sample, NOW));
    }
}

/* gcorn_on_call_late: a call that is over its time is told, and has a while to end. */
static void test_plan_health_late(void **state)
{
    static const struct {
        uint64_t call, until, timeout;
        enum health want;
    } rows[] = {
        {NOW - 30, 0, 30, HEALTH_FINE},
        {NOW - 31, 0, 30, HEALTH_CALL_LATE},
        {NOW - 50, 0, 30, HEALTH_CALL_LATE},
        {NOW - 51, 0, 30, HEALTH_CALL_TOO_LONG},
        {NOW - 99, NOW + 1, 30, HEALTH_FINE},
        {NOW - 99, NOW, 30, HEALTH_CALL_LATE},
        {NOW - 99, NOW - 19, 30, HEALTH_CALL_LATE},
        {NOW - 99, NOW - 20, 30, HEALTH_CALL_TOO_LONG},
        {NOW - 99, UINT64_MAX, 30, HEALTH_CALL_TOO_LONG},
        {NOW - 99, 0, 0, HEALTH_FINE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct worker_proc proc = {.phase = PROC_READY};
        struct health_sample sample = {.call_started_ms = rows[i].call,
                                       .call_until_ms = rows[i].until,
                                       .timeout_ms = rows[i].timeout,
                                       .late_ms = 20};

        if (plan_check_health(&proc, &sample, NOW) != rows[i].want)
            fail_msg("row %zu: %d", i, plan_check_health(&proc, &sample, NOW));
    }
}

/* ---- ends ---------------------------------------------------------------------------------------
 */

enum { KILLED = SIGKILL, TERMED = SIGTERM, FAULT = SIGSEGV };

/* Every phase in which a process can end, by its status and by why it was told to. */
static void test_plan_end(void **state)
{
    static const struct {
        enum proc_phase phase;
        bool was_ready;
        enum worker_end end;
        int status;
        enum worker_end want;
        enum last_report report;
    } rows[] = {
        {PROC_BOOTING, false, END_UNASKED, FAULT, END_BOOT, REPORT_BOOT},
        {PROC_BOOTING, false, END_UNASKED, 0, END_BOOT, REPORT_BOOT},
        {PROC_BOOTING, false, END_KILLED, KILLED, END_KILLED, REPORT_BOOT},
        {PROC_BOOTING, false, END_KILLED, TERMED, END_SIGTERM, REPORT_BOOT},
        {PROC_BOOTING, false, END_OOM, KILLED, END_OOM, REPORT_BOOT},
        {PROC_LATE, false, END_UNASKED, FAULT, END_BOOT, REPORT_BOOT},
        {PROC_BOOT_FAILED, false, END_UNASKED, 3 << 8, END_BOOT, REPORT_NOTHING},
        {PROC_BOOT_CRASHED, false, END_UNASKED, FAULT, END_BOOT, REPORT_BOOT},
        {PROC_READY, true, END_UNASKED, FAULT, END_CRASH, REPORT_END},
        {PROC_READY, true, END_UNASKED, KILLED, END_KILLED, REPORT_END},
        {PROC_READY, true, END_OOM, KILLED, END_OOM, REPORT_END},
        {PROC_READY, true, END_UNASKED, 0, END_EXIT, REPORT_END},
        {PROC_READY, true, END_MAX_REQUESTS, 0, END_MAX_REQUESTS, REPORT_END},
        {PROC_RETIRING, true, END_RELOAD, 0, END_RELOAD, REPORT_END},
        {PROC_RETIRING, true, END_RELOAD, FAULT, END_CRASH, REPORT_END},
        {PROC_RETIRING, false, END_WITH_SERVER, 0, END_WITH_SERVER, REPORT_END},
        {PROC_HURRIED, true, END_NOT_WANTED, KILLED, END_KILLED, REPORT_END},
        {PROC_EXPLAINING, true, END_TIMEOUT, KILLED, END_TIMEOUT, REPORT_END},
        {PROC_FINISHING, true, END_TIMEOUT, 0, END_TIMEOUT, REPORT_END},
        {PROC_ABORTED, true, END_TIMEOUT, SIGABRT, END_TIMEOUT, REPORT_END},
        {PROC_ABORTED, true, END_SILENT, SIGABRT, END_SILENT, REPORT_END},
        {PROC_CRASHED, true, END_CRASH, FAULT, END_CRASH, REPORT_NOTHING},
        {PROC_CRASHED, true, END_CRASH, 5 << 8, END_EXIT, REPORT_NOTHING},
        {PROC_KILLED, true, END_TIMEOUT, KILLED, END_TIMEOUT, REPORT_END},
        {PROC_KILLED, true, END_RELOAD, KILLED, END_RELOAD, REPORT_END},
        {PROC_KILLED, true, END_CRASH, KILLED, END_CRASH, REPORT_NOTHING},
        {PROC_KILLED, false, END_UNASKED, KILLED, END_BOOT, REPORT_NOTHING},
        {PROC_KILLED, false, END_RELOAD, KILLED, END_BOOT, REPORT_NOTHING},
        {PROC_KILLED, false, END_WITH_SERVER, KILLED, END_WITH_SERVER, REPORT_NOTHING},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct worker_proc w = {
            .phase = rows[i].phase, .ready_ms = rows[i].was_ready ? NOW : 0, .end = rows[i].end};

        if (plan_end(&w, rows[i].status) != rows[i].want || plan_last_report(&w) != rows[i].report)
            fail_msg("row %zu: end %d, report %d", i, plan_end(&w, rows[i].status),
                     plan_last_report(&w));
    }
}

static void test_plan_cause_of_an_end(void **state)
{
    static const struct {
        enum proc_phase phase;
        enum worker_end end;
        bool timed_out, crashed;
    } rows[] = {
        {PROC_READY, END_UNASKED, false, false},       {PROC_RETIRING, END_TIMEOUT, false, false},
        {PROC_EXPLAINING, END_TIMEOUT, true, false},   {PROC_FINISHING, END_TIMEOUT, true, false},
        {PROC_ABORTED, END_SILENT, true, false},       {PROC_CRASHED, END_CRASH, false, true},
        {PROC_BOOT_CRASHED, END_UNASKED, false, true}, {PROC_KILLED, END_TIMEOUT, true, false},
        {PROC_KILLED, END_SILENT, true, false},        {PROC_KILLED, END_CRASH, false, true},
        {PROC_KILLED, END_RELOAD, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct worker_proc w = {.phase = rows[i].phase, .end = rows[i].end};

        assert_int_equal(plan_timed_out(&w), rows[i].timed_out);
        assert_int_equal(plan_crashed(&w), rows[i].crashed);
    }
}

/* Only a process that holds its number, and is of the generation that counts. */
static void test_plan_counts_deaths_of_those_that_hold_their_number(void **state)
{
    (void)state;
    for (enum proc_phase phase = PROC_PENDING; phase < PROC_PHASES; phase++) {
        struct worker_proc w = {.phase = phase, .number = 1, .generation = 1};

        backoffs[1] = (struct backoff){0};
        plan_count_death(&plan, &w, NOW);
        assert_int_equal(backoffs[1].failures, phase_holds_number(phase));
        w.generation = 2;
        plan_count_death(&plan, &w, NOW);
        assert_int_equal(backoffs[1].failures, phase_holds_number(phase));
    }
    struct worker_proc w = {
        .phase = PROC_READY, .number = 2, .generation = 1, .ready_ms = NOW - 9999};
    plan_count_death(&plan, &w, NOW); /* lived for long enough */
    assert_int_equal(backoffs[2].crashes, 0);
    w.ready_ms = NOW;
    plan_count_death(&plan, &w, NOW); /* within the millisecond of its READY */
    assert_int_equal(backoffs[2].crashes, 1);
    assert_int_equal(backoffs[2].failures, 0);
}

static void test_plan_advance_sets_the_deadline_of_the_phase(void **state)
{
    struct worker_proc w = {.phase = PROC_BOOTING, .deadline_ms = NOW + 5};

    (void)state;
    assert_true(plan_advance(&w, PROC_IS_READY, NO_DEADLINE));
    assert_true(w.deadline_ms == NO_DEADLINE); /* the boot's is over */
    assert_false(plan_advance(&w, PROC_IS_READY, NOW));
    assert_true(w.deadline_ms == NO_DEADLINE);
    assert_true(plan_advance(&w, PROC_IS_RETIRED, NOW + 9));
    assert_false(plan_advance(&w, PROC_IS_RETIRED, NOW + 99)); /* a second order gives no more */
    assert_true(w.deadline_ms == NOW + 9);
}

/* A reload that is tried, or counts, starts with no delay of what was before. */
static void test_plan_generations_forget_back_off(void **state)
{
    (void)state;
    plan.canary = (struct backoff){.failures = 3, .not_before_ms = NOW + 100};
    plan_try_generation(&plan, 2);
    assert_int_equal(plan.candidate, 2);
    assert_true(plan.canary.not_before_ms == 0 && plan.canary.failures == 0);
    for (size_t i = 0; i <= PLACES; i++)
        backoffs[i] = (struct backoff){.failures = 9, .not_before_ms = NOW + 30000};
    plan_take_candidate(&plan, 5, true);
    assert_int_equal(plan.generation, 2);
    assert_int_equal(plan.candidate, 0);
    assert_int_equal(plan.workers, 5);
    assert_true(plan.has_admin);
    for (size_t i = 0; i <= PLACES; i++)
        assert_true(backoffs[i].failures == 0 && backoffs[i].not_before_ms == 0);
    assert_int_equal(act(), 6);
    plan_try_generation(&plan, 3);
    plan_try_generation(&plan, 0); /* it has failed */
    assert_int_equal(plan.candidate, 0);
    assert_int_equal(plan.generation, 2);
}

/* Whatever dies, and whenever: in the end all is as it should be, and the table never overflows. */
static void test_plan_random(void **state)
{
    unsigned seed = 1;

    (void)state;
    for (int round = 0; round < 300; round++) {
        for (int step = 0; step < 20; step++) {
            seed = seed * 1103515245u + 12345u;
            struct worker_proc *w = &procs[seed >> 16 & (PLACES - 1)];

            switch (seed >> 24 & 7) {
            case 0: w->phase = PROC_EMPTY; break;
            case 1: plan.workers = 1 + (seed >> 8 & 3); break;
            case 2:
                if (plan_alive(&plan) < 5) /* as the master does: not one on top of the other */
                    plan.generation++;
                break;
            case 3: all_retired_end(); break;
            case 4: plan.has_admin = (seed >> 12 & 1) != 0; break;
            default:
                if (w->phase == PROC_BOOTING)
                    w->phase = PROC_READY;
            }
            all_retired_end();
            (void)act();
        }
        settle();
        expect_settled(plan.workers, plan.generation);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plan_start, init),
        cmocka_unit_test_setup(test_plan_replaces_dead, init),
        cmocka_unit_test_setup(test_plan_replaces_dead_before_canary, init),
        cmocka_unit_test_setup(test_plan_stop, init),
        cmocka_unit_test_setup(test_plan_full_table, init),
        cmocka_unit_test_setup(test_plan_more_and_fewer, init),
        cmocka_unit_test_setup(test_plan_has_rolled, init),
        cmocka_unit_test_setup(test_plan_recycling_waits_for_room, init),
        cmocka_unit_test_setup(test_plan_roll, init),
        cmocka_unit_test_setup(test_plan_roll_fails, init),
        cmocka_unit_test_setup(test_plan_roll_while_booting, init),
        cmocka_unit_test_setup(test_plan_roll_to_fewer, init),
        cmocka_unit_test_setup(test_plan_roll_to_more, init),
        cmocka_unit_test_setup(test_plan_roll_twice, init),
        cmocka_unit_test_setup(test_plan_canary, init),
        cmocka_unit_test_setup(test_plan_canary_dropped, init),
        cmocka_unit_test_setup(test_plan_canary_stop, init),
        cmocka_unit_test_setup(test_plan_admin_starts, init_with_admin),
        cmocka_unit_test_setup(test_plan_admin_is_no_worker, init_with_admin),
        cmocka_unit_test_setup(test_plan_admin_rolls, init_with_admin),
        cmocka_unit_test_setup(test_plan_admin_comes_and_goes, init_with_admin),
        cmocka_unit_test_setup(test_plan_admin_stops_last, init_with_admin),
        cmocka_unit_test(test_plan_backoff_boot),
        cmocka_unit_test(test_plan_backoff_crash),
        cmocka_unit_test(test_plan_backoff_counts_kinds_apart),
        cmocka_unit_test(test_plan_kill_in_boot_is_no_failure),
        cmocka_unit_test_setup(test_plan_backoff_waits, init),
        cmocka_unit_test_setup(test_plan_wake, init),
        cmocka_unit_test(test_plan_health),
        cmocka_unit_test(test_plan_health_extended),
        cmocka_unit_test(test_plan_health_late),
        cmocka_unit_test(test_plan_end),
        cmocka_unit_test(test_plan_cause_of_an_end),
        cmocka_unit_test_setup(test_plan_counts_deaths_of_those_that_hold_their_number, init),
        cmocka_unit_test(test_plan_advance_sets_the_deadline_of_the_phase),
        cmocka_unit_test_setup(test_plan_generations_forget_back_off, init),
        cmocka_unit_test_setup(test_plan_random, init),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
