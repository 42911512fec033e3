/* SPDX-License-Identifier: MIT
 *
 * Slots: what a slot that is claimed again keeps of the worker before (nothing), what the master
 * reads from the calls in it, and how requests that end are counted.
 */
#include "in_child.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/error.h"
#include "base/util.h"
#include "system/ipc/scoreboard.h"

static int open_scoreboard(void **state)
{
    struct error err;

    *state = scoreboard_new(4, &err);
    return *state ? 0 : -1;
}

static int close_scoreboard(void **state)
{
    scoreboard_free(*state);
    return 0;
}

/* ---- a slot, taken again ----------------------------------------------------------------- */

static bool is_zero(const void *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((const char *)p)[i] != 0)
            return false;
    }
    return true;
}

/* Whatever a worker may have left: each of its parts in use, to the last call and metric. */
static void test_claimed_slot_has_nothing_of_the_worker_before(void **state)
{
    struct slot *s = scoreboard_slot(*state, 1);

    memset(s, 0xff, sizeof(*s));
    s->call_count = SLOT_CALLS;
    atomic_store(&s->metric_count, SLOT_METRICS);
    atomic_store(&s->crash.stage, CRASH_RETURNED);
    assert_ptr_equal(scoreboard_claim(*state, 1), s);
    assert_true(is_zero(s, offsetof(struct slot, log)));
    assert_int_equal(s->call_count, 0);
    assert_true(is_zero(s->calls, sizeof(s->calls)));
    assert_int_equal(atomic_load(&s->metric_count), 0);
    assert_true(is_zero(s->metrics, sizeof(s->metrics)));
    assert_true(is_zero(&s->crash, sizeof(s->crash)));
    assert_int_equal(atomic_load(&s->full_since_ms), 0);
}

static void test_broken_counts_of_a_slot_do_not_lead_past_its_end(void **state)
{
    struct slot *s = scoreboard_slot(*state, 1), *neighbour = scoreboard_slot(*state, 2);

    neighbour->pid = 77;
    s->call_count = UINT32_MAX;
    atomic_store(&s->metric_count, UINT32_MAX);
    slot_reset(s);
    assert_int_equal(neighbour->pid, 77);
    assert_int_equal(s->call_count, 0);
    assert_int_equal(atomic_load(&s->metric_count), 0);
}

/* What was never used takes no memory by being reset. */
static void test_reset_touches_only_what_was_written(void **state)
{
    struct slot *s = scoreboard_slot(*state, 3);
    struct rusage before, after;

    slot_reset(s);
    s->pid = 1;
    assert_int_equal(getrusage(RUSAGE_SELF, &before), 0);
    for (int i = 0; i < 10; i++)
        slot_reset(s);
    assert_int_equal(getrusage(RUSAGE_SELF, &after), 0);
    assert_true(after.ru_minflt - before.ru_minflt <= 2); /* not the 20 pages of a whole slot */
}

static void test_used_slots_grow_as_they_are_claimed(void **state)
{
    assert_int_equal(scoreboard_used(*state), 0);
    (void)scoreboard_claim(*state, 2);
    assert_int_equal(scoreboard_used(*state), 3);
    (void)scoreboard_claim(*state, 0);
    assert_int_equal(scoreboard_used(*state), 3);
    assert_int_equal(scoreboard_count(*state), 4);
}

static void test_zone_is_the_masters(void **state)
{
    scoreboard_set_zone(*state, -7200);
    assert_int_equal(scoreboard_zone(*state), -7200);
}

static struct slot *written;

static void write_guarded(void *scoreboard)
{
    (void)signal(SIGSEGV, SIG_DFL); /* cmocka's would run the rest of the tests here */
    CHECK(scoreboard_guard(scoreboard, scoreboard_slot(scoreboard, 1)) == 0);
    scoreboard_slot(scoreboard, 1)->pid = 5;
    atomic_store(&scoreboard_hints(scoreboard)->slow_until_ms, 5);
    written->pid = 6;
}

static void test_guarded_worker_writes_its_own_slot_alone(void **state)
{
    written = scoreboard_slot(*state, 1);
    assert_int_equal(in_child(write_guarded, *state), 0);
    assert_int_equal(scoreboard_slot(*state, 1)->pid, 6);
    assert_int_equal(atomic_load(&scoreboard_hints(*state)->slow_until_ms), 5);
    written = scoreboard_slot(*state, 2);
    int status = in_child(write_guarded, *state);
    assert_true(WIFSIGNALED(status) || WEXITSTATUS(status) != 0); /* a sanitizer exits */
    assert_int_equal(scoreboard_slot(*state, 2)->pid, 0);
}

/* ---- calls ------------------------------------------------------------------------------- */

static void test_calls_that_run_are_told_from_the_others(void **state)
{
    struct slot *s = scoreboard_slot(*state, 0);

    assert_int_equal(slot_call_count(s), 1); /* the sync class says nothing */
    s->call_count = 3;
    assert_ptr_equal(slot_oldest_call(s), &s->calls[0]);
    assert_int_equal(slot_busy_since_ms(s), 0);
    slot_call_begin(&s->calls[0], 300);
    slot_call_begin(&s->calls[2], 100);
    assert_int_equal(slot_running_calls(s), 2);
    assert_ptr_equal(slot_oldest_call(s), &s->calls[2]);
    assert_int_equal(slot_busy_since_ms(s), 0); /* one thread is free */
    slot_call_begin(&s->calls[1], 200);
    assert_int_equal(slot_busy_since_ms(s), 300); /* since the latest began */
    slot_call_end(&s->calls[2]);
    assert_int_equal(slot_running_calls(s), 2);
    assert_ptr_equal(slot_oldest_call(s), &s->calls[1]);
    atomic_store(&s->calls[1].started_ms, 1); /* a stray write */
    assert_ptr_equal(slot_oldest_call(s), &s->calls[0]);
    assert_int_equal(slot_running_calls(s), 1);
}

static void test_request_has_the_id_that_was_given_or_made(void **state)
{
    struct slot *s = scoreboard_slot(*state, 0);
    char id[SLOT_GIVEN_ID_SIZE], name[SLOT_FILE_NAME_SIZE];

    s->pid = 4711;
    s->calls[0].request_id = UINT64_C(0xc0ffee);
    assert_int_equal(slot_get_request_id(&s->calls[0], id, sizeof(id)), 16);
    assert_string_equal(id, "0000000000c0ffee");
    slot_file_name(s, &s->calls[0], name);
    assert_string_equal(name, "0000004711-0000000000c0ffee.http");
    slot_set_text(s->calls[0].given_id, sizeof(s->calls[0].given_id), "given", 5);
    assert_int_equal(slot_get_request_id(&s->calls[0], id, sizeof(id)), 5);
    assert_string_equal(id, "given");
    slot_file_name(s, &s->calls[0], name); /* a file's name is never the client's */
    assert_string_equal(name, "0000004711-0000000000c0ffee.http");
}

/* ---- counts ------------------------------------------------------------------------------ */

static void test_requests_are_counted_by_how_they_end(void **state)
{
    struct slot_counts *c = &scoreboard_slot(*state, 0)->counts;

    slot_counts_end(c, 200, ENDED_WHOLE, 2);
    slot_counts_end(c, 200, ENDED_CRASH, 1);
    slot_counts_end(c, 500, ENDED_CRASH, 1);
    slot_counts_end(c, 200, ENDED_CRASH, 3);
    slot_counts_end(c, 0, ENDED_CLIENT_GONE, 1);
    slot_counts_end(c, 600, ENDED_WHOLE, 1); /* no status */
    assert_int_equal(c->by_status[200 - SLOT_STATUS_MIN], 2);
    assert_int_equal(c->ends[SLOT_ENDED_KINDS].status, 200);
    assert_int_equal(c->ends[SLOT_ENDED_KINDS].count, 4);
    assert_int_equal(c->ends[SLOT_ENDED_KINDS + 1].status, 500);
    assert_int_equal(c->ends[ENDED_CLIENT_GONE].count, 1);
    assert_int_equal(c->ends[ENDED_WHOLE].count, 1);
    assert_int_equal(slot_requests(c), 9);
}

static void test_ends_without_room_keep_their_kind(void **state)
{
    struct slot_counts *c = &scoreboard_slot(*state, 0)->counts;

    for (int status = 200; status < 200 + SLOT_ENDS; status++)
        slot_counts_end(c, status, ENDED_TIMEOUT, 1);
    assert_int_equal(c->ends[ENDED_TIMEOUT].count, SLOT_ENDED_KINDS); /* as many had no room */
    assert_int_equal(c->ends[ENDED_TIMEOUT].ended, ENDED_TIMEOUT);
    assert_int_equal(slot_requests(c), SLOT_ENDS);
}

static void test_sums_leave_out_what_is_no_count(void **state)
{
    struct slot_counts *from = &scoreboard_slot(*state, 0)->counts, sum = {.begun = 1};

    from->begun = 5;
    from->connections = UINT64_MAX;
    from->bytes_in = 7;
    from->bytes_out = 8;
    from->fair_closes = 9;
    from->shed = 10;
    from->gone = 11;
    from->log_lines_lost = 12;
    from->published = 13;
    from->delivered = 14;
    from->messages_lost = 15;
    from->durations.sum_us = 9;
    slot_times_add(&from->queued, 3);
    slot_counts_end(from, 404, ENDED_WHOLE, 2);
    slot_counts_end(from, 500, ENDED_CRASH, 3);
    from->ends[SLOT_ENDS - 1] = (struct slot_end){.status = 500, .ended = 999, .count = 1};
    slot_counts_add(&sum, from);
    slot_counts_add(&sum, from);
    assert_int_equal(sum.begun, 11);
    assert_int_equal(sum.connections, 0);
    assert_int_equal(sum.bytes_in, 14);
    assert_int_equal(sum.bytes_out, 16);
    assert_int_equal(sum.fair_closes, 18);
    assert_int_equal(sum.shed, 20);
    assert_int_equal(sum.gone, 22);
    assert_int_equal(sum.log_lines_lost, 24);
    assert_int_equal(sum.published, 26);
    assert_int_equal(sum.delivered, 28);
    assert_int_equal(sum.messages_lost, 30);
    assert_int_equal(sum.durations.sum_us, 18);
    assert_int_equal(sum.queued.count[2], 2);
    assert_int_equal(sum.queued.sum_us, 6);
    assert_int_equal(sum.by_status[404 - SLOT_STATUS_MIN], 4);
    assert_int_equal(slot_requests(&sum), 10);
}

static void test_requests_in_flight_are_begun_and_not_ended(void **state)
{
    struct slot_counts *c = &scoreboard_slot(*state, 0)->counts;

    c->begun = 3;
    slot_counts_end(c, 200, ENDED_WHOLE, 1);
    assert_int_equal(slot_in_flight(c), 2);
    slot_counts_end(c, 200, ENDED_WHOLE, 5);
    assert_int_equal(slot_in_flight(c), 0); /* nonsense */
    c->begun = 10000000;
    assert_int_equal(slot_in_flight(c), 0);
}

static void test_words_for_an_end_lead_back_to_it(void **state)
{
    (void)state;
    for (int ended = ENDED_CLIENT_GONE; ended < SLOT_ENDED_KINDS; ended++)
        assert_int_equal(slot_ended_of(slot_ended_name((enum slot_ended)ended)), ended);
    assert_int_equal(slot_ended_of(NULL), ENDED_WHOLE);
    assert_int_equal(slot_ended_of("no such word"), ENDED_OTHER);
}

static void die_by(void *where)
{
    (void)signal(SIGSEGV, SIG_DFL); /* sanitizers have a handler */
    *(volatile char *)where = 1;
}

/* Another slot may be guarded later: the first one is then read-only. */
static void guard_twice(void *arg)
{
    struct scoreboard *sb = arg;

    CHECK(scoreboard_guard(sb, scoreboard_slot(sb, 0)) == 0);
    CHECK(scoreboard_guard(sb, scoreboard_slot(sb, 2)) == 0);
    scoreboard_slot(sb, 2)->pid = 5;
    die_by(scoreboard_slot(sb, 0));
}

static void test_second_guard_replaces_the_first(void **state)
{
    int status = in_child(guard_twice, *state);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(scoreboard_slot(*state, 2)->pid, 5);
    assert_int_equal(scoreboard_slot(*state, 0)->pid, 0);
}

static void forget(void *arg)
{
    struct scoreboard *sb = arg;

    CHECK(scoreboard_forget(sb) == 0);
    CHECK(scoreboard_slot(sb, 0)->pid == 0);
    scoreboard_slot(sb, 0)->pid = 99;
}

static void test_forgotten_scoreboard_is_private(void **state)
{
    scoreboard_slot(*state, 0)->pid = 4;
    expect_exit(forget, *state, 0);
    assert_int_equal(scoreboard_slot(*state, 0)->pid, 4);
}

static void test_broken_state_is_an_empty_one(void **state)
{
    struct slot *s = scoreboard_slot(*state, 0);

    s->state = SLOT_DRAINING;
    assert_int_equal(slot_get_state(s), SLOT_DRAINING);
    assert_string_equal(slot_state_name(slot_get_state(s)), "draining");
    s->state = SLOT_DRAINING + 1;
    assert_int_equal(slot_get_state(s), SLOT_EMPTY);
}

static void test_text_without_an_end_is_cut(void **state)
{
    char field[4] = {'a', 'b', 'c', 'd'}, out[8];

    (void)state;
    assert_int_equal(slot_get_text(field, sizeof(field), out, sizeof(out)), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(slot_get_text(field, sizeof(field), out, 3), 2);
    assert_string_equal(out, "ab");
    slot_set_text(field, sizeof(field), "longer", 6);
    assert_string_equal(field, "lon");
    slot_set_text(field, sizeof(field), "xy", 2);
    assert_string_equal(field, "xy");
}

static void test_log_is_whole_lines_without_controls(void **state)
{
    struct slot *s = scoreboard_slot(*state, 0);
    char out[64];

    memcpy(s->log, "one\n\x1b[31m\ttwo\nthree", 19);
    atomic_store(&s->log_len, 19);
    size_t len = slot_get_log(s, out, sizeof(out));
    assert_int_equal(len, strlen("one\n?[31m\ttwo\n"));
    assert_memory_equal(out, "one\n?[31m\ttwo\n", len);
    assert_int_equal(slot_get_log(s, out, 6), 4); /* what fits, and whole lines of it */
    atomic_store(&s->log_len, UINT32_MAX);
    memset(s->log, 'x', sizeof(s->log));
    assert_int_equal(slot_get_log(s, out, sizeof(out)), 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_scoreboard, close_scoreboard)
    const struct CMUnitTest tests[] = {
        CASE(test_claimed_slot_has_nothing_of_the_worker_before),
        CASE(test_broken_counts_of_a_slot_do_not_lead_past_its_end),
        CASE(test_reset_touches_only_what_was_written),
        CASE(test_used_slots_grow_as_they_are_claimed),
        CASE(test_zone_is_the_masters),
        CASE(test_guarded_worker_writes_its_own_slot_alone),
        CASE(test_calls_that_run_are_told_from_the_others),
        CASE(test_request_has_the_id_that_was_given_or_made),
        CASE(test_requests_are_counted_by_how_they_end),
        CASE(test_ends_without_room_keep_their_kind),
        CASE(test_sums_leave_out_what_is_no_count),
        CASE(test_requests_in_flight_are_begun_and_not_ended),
        CASE(test_words_for_an_end_lead_back_to_it),
        CASE(test_second_guard_replaces_the_first),
        CASE(test_forgotten_scoreboard_is_private),
        CASE(test_broken_state_is_an_empty_one),
        CASE(test_text_without_an_end_is_cut),
        CASE(test_log_is_whole_lines_without_controls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
