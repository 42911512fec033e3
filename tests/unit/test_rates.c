/* SPDX-License-Identifier: MIT
 *
 * Rates out of samples of slots: over which time, and what a slot that lies makes of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "master/proc/plan.h"
#include "master/operator/rates.h"
#include "system/process/process.h"
#include "system/ipc/scoreboard.h"

enum { PLACES = 2, BIRTH_MS = 10000 };

static struct worker_proc procs[PLACES];
static const struct plan plan = {.procs = procs, .proc_count = PLACES};
static struct scoreboard *scoreboard;
static struct samples samples;

/* This process is the worker: it is sure to have a CPU clock. */
static int init(void **state)
{
    struct error err;

    (void)state;
    memset(procs, 0, sizeof(procs));
    procs[0] = (struct worker_proc){.phase = PROC_READY, .pid = getpid(), .started_ms = BIRTH_MS};
    scoreboard = scoreboard_new(PLACES, &err);
    samples_init(&samples, PLACES);
    return scoreboard ? 0 : -1;
}

static int release(void **state)
{
    (void)state;
    samples_release(&samples);
    scoreboard_free(scoreboard);
    return 0;
}

static struct slot_counts *counts(void)
{
    return &scoreboard_slot(scoreboard, 0)->counts;
}

static void take(uint64_t at_ms)
{
    samples_take(&samples, &plan, scoreboard, at_ms);
}

static struct rates measure(uint64_t at_ms)
{
    struct rates rates;

    samples_measure(&samples, &plan, 0, scoreboard_slot(scoreboard, 0), at_ms, &rates);
    return rates;
}

static void assert_near(double got, double want)
{
    if (got < want - 0.0005 || got > want + 0.0005)
        fail_msg("%f is not %f", got, want);
}

static void test_samples_before_the_first(void **state)
{
    struct rates rates;

    (void)state;
    rates = measure(BIRTH_MS);
    assert_near(rates_requests_per_s(&rates), 0);
    assert_near(rates_cpu_percent(&rates), 0);
    counts()->by_status[100] = 50;
    rates = measure(BIRTH_MS + 500);
    assert_near(rates_requests_per_s(&rates), 100);
}

/* The rate is that since the sample before the last. */
static void test_samples_window(void **state)
{
    struct rates rates;

    (void)state;
    counts()->by_status[100] = 10;
    take(BIRTH_MS + 1000);
    rates = measure(BIRTH_MS + 1000);
    assert_near(rates_requests_per_s(&rates), 10); /* since the birth */
    counts()->by_status[100] = 30;
    take(BIRTH_MS + 2000);
    counts()->by_status[100] = 40;
    rates = measure(BIRTH_MS + 2500);
    assert_int_equal(rates.ms, 1500);
    assert_near(rates_requests_per_s(&rates), 20);
    take(BIRTH_MS + 3000);
    rates = measure(BIRTH_MS + 3000);
    assert_int_equal(rates.ms, 1000);
    assert_int_equal(rates.requests, 10);
}

static void test_samples_not_too_often(void **state)
{
    (void)state;
    take(BIRTH_MS + 1000);
    for (uint64_t ms = 1100; ms < 1900; ms += 100)
        take(BIRTH_MS + ms);
    assert_int_equal(measure(BIRTH_MS + 2000).ms, 2000);
    take(BIRTH_MS + 1990); /* a second's tick that is a little early */
    assert_int_equal(measure(BIRTH_MS + 2000).ms, 1000);
}

/* What the one before in this place had done is nothing of its successor's. */
static void test_samples_of_another_process(void **state)
{
    struct rates rates;

    (void)state;
    procs[0].pid = 1;
    counts()->by_status[100] = 1000;
    take(BIRTH_MS + 1000);
    take(BIRTH_MS + 2000);
    procs[0].pid = getpid();
    procs[0].started_ms = BIRTH_MS + 2500;
    counts()->by_status[100] = 5;
    rates = measure(BIRTH_MS + 3000);
    assert_near(rates_requests_per_s(&rates), 10);
    take(BIRTH_MS + 3500);
    rates = measure(BIRTH_MS + 3500);
    assert_int_equal(rates.ms, 1000);
    assert_int_equal(rates.requests, 5);
}

static void test_samples_cpu(void **state)
{
    uint64_t before, now;
    volatile unsigned work = 0;

    (void)state;
    assert_int_equal(process_cpu_us(getpid(), &before), 0);
    take(BIRTH_MS + 1000);
    take(BIRTH_MS + 2000);
    do {
        work = work + 1;
        assert_int_equal(process_cpu_us(getpid(), &now), 0);
    } while (now < before + 20000);
    struct rates rates = measure(BIRTH_MS + 3000);
    assert_true(rates.cpu_us >= 20000 - 1000 && rates.cpu_us <= 10 * 1000 * 1000);
    assert_near(rates_cpu_percent(&rates), (double)rates.cpu_us / 20000);
}

static void test_samples_of_a_liar(void **state)
{
    struct rates rates, all = {0};

    (void)state;
    memset(counts(), 0xff, sizeof(*counts()));
    for (size_t i = 0; i < ARRAY_LEN(counts()->by_status); i++)
        counts()->by_status[i] = ((uint64_t)1 << 53) - 1; /* more is no count at all */
    rates = measure(BIRTH_MS + 1000);
    rates_add(&all, &rates);
    rates_add(&all, &rates);
    assert_near((double)all.requests, (double)((uint64_t)1 << 53));
    assert_near(rates_requests_per_s(&all), (double)((uint64_t)1 << 53));
    assert_true(rates_percentile_ms(&all, 0.99) > 0);
    take(BIRTH_MS + 1000);
    take(BIRTH_MS + 2000);
    memset(counts(), 0, sizeof(*counts()));
    rates = measure(BIRTH_MS + 3000); /* it has taken it back */
    assert_near(rates_requests_per_s(&rates), 0);
    assert_true(rates_percentile_ms(&rates, 0.5) < 0);
}

static void test_rates_percentiles(void **state)
{
    static const struct {
        unsigned bucket, count; /* beside 100 in bucket 10: 512 to 1024 us */
        double p50, p99;
    } rows[] = {
        {10, 0, 0.768, 1.019},   {10, 100, 0.768, 1.019},
        {0, 100, 0.001, 1.014},  /* under 1 us; the rest lies above */
        {11, 100, 1.024, 2.028}, /* 1024 to 2048 us */
        {20, 1, 0.771, 1.024},   /* one of 101 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rates r = {.durations[10] = 100};

        r.durations[rows[i].bucket] += rows[i].count;
        assert_near(rates_percentile_ms(&r, 0.5), rows[i].p50);
        assert_near(rates_percentile_ms(&r, 0.99), rows[i].p99);
    }
    struct rates slow = {.durations[SLOT_TIME_BUCKETS - 1] = 4}, none = {0};
    assert_near(rates_percentile_ms(&slow, 0.5), 1.5 * (1 << 30) / 1000);
    assert_true(rates_percentile_ms(&none, 0.5) < 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, init, release)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_samples_before_the_first),
        TEST(test_samples_window),
        TEST(test_samples_not_too_often),
        TEST(test_samples_of_another_process),
        TEST(test_samples_cpu),
        TEST(test_samples_of_a_liar),
        cmocka_unit_test(test_rates_percentiles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
