/* SPDX-License-Identifier: MIT
 *
 * The application's own numbers: made once by name, kept in the slot, begun anew in a slot that is
 * taken again.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "gcorn.h"
#include "system/ipc/scoreboard.h"
#include "worker/call/app_metrics.h"

static int open_slot(void **state)
{
    struct slot *slot = *state = xcalloc(1, sizeof(*slot));

    metrics_init(slot);
    return 0;
}

static int close_slot(void **state)
{
    metrics_init(NULL);
    free(*state);
    return 0;
}

static double value_of(const struct slot *slot, unsigned i)
{
    return atomic_load(&slot->metrics[i].value);
}

static void test_counter_counts_up_alone(void **state)
{
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_counter("hits_total{kind=\"a\"}", "Hits.");

    gcorn_metric_add(m, 2);
    gcorn_metric_add(m, 0.5);
    gcorn_metric_add(m, -1);
    gcorn_metric_set(m, 100);
    gcorn_metric_observe(m, 1);
    assert_true(value_of(slot, 0) == 2.5);
    assert_int_equal(atomic_load(&slot->metric_count), 1);
    assert_int_equal(slot->metrics[0].type, SLOT_COUNTER);
    assert_string_equal(slot->metrics[0].name, "hits_total{kind=\"a\"}");
    assert_string_equal(slot->metrics[0].help, "Hits.");
}

static void test_gauge_is_set_and_moves_both_ways(void **state)
{
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_gauge("depth", NULL, GCORN_GAUGE_SUM);

    gcorn_metric_set(m, 7);
    gcorn_metric_add(m, -3);
    gcorn_metric_observe(m, 1);
    assert_true(value_of(slot, 0) == 4);
    assert_string_equal(slot->metrics[0].help, "");
}

/* The kind is part of the type. */
static void test_gauge_has_one_kind(void **state)
{
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_gauge("depth", NULL, GCORN_GAUGE_MAX);

    assert_ptr_equal(gcorn_gauge("depth", NULL, GCORN_GAUGE_MAX), m);
    assert_null(gcorn_gauge("depth", NULL, GCORN_GAUGE_LAST));
    assert_int_equal(errno, EINVAL);
    assert_null(gcorn_gauge("depth{a=\"b\"}", NULL, GCORN_GAUGE_SUM));
    assert_null(gcorn_gauge("other", NULL, (enum gcorn_gauge_kind)3));
    assert_int_equal(errno, EINVAL);
    assert_int_equal(atomic_load(&slot->metrics[0].set_ns), 0);
    gcorn_metric_set(m, 3);
    gcorn_metric_add(m, 1);
    assert_true(value_of(slot, 0) == 4);
    assert_true(atomic_load(&slot->metrics[0].set_ns) > 0);
}

static void test_histogram_has_buckets_with_their_bounds(void **state)
{
    static const double bounds[] = {1, 2.5}, values[] = {0.5, 1, 2, 2.5, 3, -INFINITY, NAN};
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_histogram("took_seconds", "Took.", bounds, 2);

    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        gcorn_metric_observe(m, values[i]);
    gcorn_metric_add(m, 5);
    gcorn_metric_set(m, 5);
    assert_int_equal(slot->metrics[0].bound_count, 2);
    assert_true(slot->metrics[0].bounds[1] == 2.5);
    assert_int_equal(atomic_load(&slot->metrics[0].buckets[0]), 2); /* a bound is its bucket's */
    assert_int_equal(atomic_load(&slot->metrics[0].buckets[1]), 2);
    assert_int_equal(atomic_load(&slot->metrics[0].buckets[2]), 1);
    assert_true(value_of(slot, 0) == 9);
}

static void test_name_is_one_metric(void **state)
{
    static const double bounds[] = {1}, others[] = {2};
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_counter("a", "first");

    assert_ptr_equal(gcorn_counter("a", "second"), m);
    assert_null(gcorn_gauge("a", "first", GCORN_GAUGE_SUM));
    assert_int_equal(errno, EINVAL);
    assert_ptr_not_equal(gcorn_counter("b", NULL), m);
    assert_non_null(gcorn_histogram("h", NULL, bounds, 1));
    assert_null(gcorn_histogram("h", NULL, others, 1));
    assert_null(gcorn_counter("h_sum", NULL)); /* a sample of the histogram's */
    assert_int_equal(atomic_load(&slot->metric_count), 3);
}

static void test_names_and_bounds_that_are_none_are_refused(void **state)
{
    static const double falling[] = {2, 1};
    struct slot *slot = *state;
    char longer[200];

    memset(longer, 'a', sizeof(longer));
    longer[sizeof(slot->metrics[0].name)] = '\0';
    const char *const names[] = {NULL, "", "1a", "gcorn_a", "a{b", longer};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        errno = 0;
        assert_null(gcorn_counter(names[i], NULL));
        assert_int_equal(errno, EINVAL);
    }
    longer[sizeof(slot->metrics[0].name) - 1] = '\0';
    assert_non_null(gcorn_counter(longer, NULL));
    assert_null(gcorn_histogram("h", NULL, falling, 2));
    assert_null(gcorn_histogram("h", NULL, falling, SLOT_METRIC_BOUNDS + 1));
    assert_int_equal(atomic_load(&slot->metric_count), 1);
}

static void test_table_that_is_full_takes_no_more(void **state)
{
    struct slot *slot = *state;
    char name[16];

    for (int i = 0; i < SLOT_METRICS; i++) {
        (void)snprintf(name, sizeof(name), "m%d", i);
        assert_non_null(gcorn_counter(name, NULL));
    }
    errno = 0;
    assert_null(gcorn_counter("more", NULL));
    assert_int_equal(errno, ENOSPC);
    assert_non_null(gcorn_counter("m0", NULL)); /* those that are there are still found */
    assert_int_equal(atomic_load(&slot->metric_count), SLOT_METRICS);
}

/* What a slot holds of the worker before is no metric of this one. */
static void test_slot_taken_again_begins_with_none(void **state)
{
    struct slot *slot = *state;

    gcorn_metric_add(gcorn_counter("old", NULL), 5);
    slot_reset(slot);
    assert_int_equal(atomic_load(&slot->metric_count), 0);
    assert_true(value_of(slot, 0) == 0);
    metrics_init(slot);
    struct gcorn_metric *m = gcorn_gauge("old", NULL, GCORN_GAUGE_SUM); /* of another kind now */
    assert_non_null(m);
    gcorn_metric_add(m, 1);
    assert_int_equal(atomic_load(&slot->metric_count), 1);
    assert_true(value_of(slot, 0) == 1);
}

static void test_no_slot_has_no_metrics(void **state)
{
    (void)state;
    metrics_init(NULL);
    errno = 0;
    assert_null(gcorn_counter("a", NULL));
    assert_int_equal(errno, ENOTSUP);
    gcorn_metric_add(NULL, 1);
    gcorn_metric_set(NULL, 1);
    gcorn_metric_observe(NULL, 1);
}

/* It would stay so for good. */
static void test_sum_stays_finite(void **state)
{
    struct slot *slot = *state;
    struct gcorn_metric *m = gcorn_counter("a", NULL);

    gcorn_metric_add(m, 1);
    gcorn_metric_add(m, INFINITY);
    gcorn_metric_add(m, NAN);
    assert_true(value_of(slot, 0) == 1);
}

enum { ADDS = 20000, THREADS = 4 };

static void *add_many(void *unused)
{
    struct gcorn_metric *m = gcorn_counter("shared", NULL);

    for (int i = 0; i < ADDS; i++)
        gcorn_metric_add(m, 1);
    return unused;
}

static void test_threads_make_one_metric_and_lose_nothing(void **state)
{
    struct slot *slot = *state;
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&slot->metric_count), 1);
    assert_true(value_of(slot, 0) == ADDS * THREADS);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_slot, close_slot)
    const struct CMUnitTest tests[] = {
        CASE(test_counter_counts_up_alone),
        CASE(test_gauge_is_set_and_moves_both_ways),
        CASE(test_gauge_has_one_kind),
        CASE(test_histogram_has_buckets_with_their_bounds),
        CASE(test_name_is_one_metric),
        CASE(test_names_and_bounds_that_are_none_are_refused),
        CASE(test_table_that_is_full_takes_no_more),
        CASE(test_slot_taken_again_begins_with_none),
        CASE(test_no_slot_has_no_metrics),
        CASE(test_sum_stays_finite),
        CASE(test_threads_make_one_metric_and_lose_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
