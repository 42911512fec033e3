/* SPDX-License-Identifier: MIT
 *
 * host: what the functions of gcorn.h answer where no worker runs the application, as in its
 * constructors under --check-config.
 */
#include "http_case.h"

#include <errno.h>

#include "base/util.h"
#include "http/host.h"

static void test_host_without_worker_answers_defaults(void **state)
{
    (void)state;
    assert_int_equal(gcorn_worker_number(), 0);
    assert_null(gcorn_loop());
    assert_int_equal(gcorn_threads(), 1);
    assert_false(gcorn_draining());
    uint64_t before = now_ms(), now = gcorn_now();
    assert_in_range(now, before, before + 60000);
}

/* A request that is no client's: its ticket is valid, and waking it does nothing. */
static void test_host_without_worker_wakes_nothing(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    uint64_t ticket = gcorn_ticket(&c.env);
    assert_true(ticket != 0);
    gcorn_wake(ticket);
    gcorn_wake(0);
    gcorn_wake_at(&c.env, 0);
    gcorn_extend_deadline(&c.env, 1000);
    assert_false(gcorn_client_gone(&c.env));
    http_case_close(&c);
}

/* Without a slot there are no metrics, and NULL is a metric that takes everything. */
static void test_host_without_worker_has_no_metrics(void **state)
{
    static const double bounds[] = {1, 2};

    (void)state;
    errno = 0;
    assert_null(gcorn_counter("a_total", "help"));
    assert_int_equal(errno, ENOTSUP);
    assert_null(gcorn_gauge("b", "help", GCORN_GAUGE_SUM));
    assert_null(gcorn_histogram("c", "help", bounds, 2));
    gcorn_metric_add(NULL, 1);
    gcorn_metric_set(NULL, 1);
    gcorn_metric_observe(NULL, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_host_without_worker_answers_defaults),
        cmocka_unit_test(test_host_without_worker_wakes_nothing),
        cmocka_unit_test(test_host_without_worker_has_no_metrics),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
