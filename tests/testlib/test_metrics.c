/* SPDX-License-Identifier: MIT
 *
 * An application's metrics, read by its test.
 */
#include <math.h>

#include "case.h"

static struct gcorn_metric *orders, *open_carts, *sizes;

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    static const double bounds[] = {1, 10, 100};

    orders = gcorn_counter("orders_total{kind=\"book\"}", "Orders.");
    open_carts = gcorn_gauge("open_carts", "Carts.", GCORN_GAUGE_SUM);
    sizes = gcorn_histogram("order_size", "Items of an order.", bounds, 3);
    return orders && open_carts && sizes ? 0 : -1;
}

static struct gcorn_body *app(struct gcorn_environ *env,
                              struct gcorn_start_response *start_response)
{
    gcorn_metric_add(orders, 1);
    gcorn_metric_observe(sizes, atof(gcorn_get(env, "QUERY_STRING")));
    gcorn_metric_add(open_carts, -1);
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "");
}

static int start(void **state)
{
    (void)state;
    return gcorn_test_worker_start();
}

static int stop(void **state)
{
    (void)state;
    gcorn_test_worker_stop();
    return 0;
}

static void test_requests_count_in_metrics(void **state)
{
    static const char *const sizes_asked[] = {"1", "1.5", "10", "100", "1000"};
    struct gcorn_test_metric m;

    (void)state;
    gcorn_metric_set(open_carts, 7);
    for (size_t i = 0; i < 5; i++) {
        char head[64];

        (void)snprintf(head, sizeof(head), "GET /?%s HTTP/1.1", sizes_asked[i]);
        gcorn_test_close(get(app, head));
    }
    assert_true(gcorn_test_metric_value("orders_total{kind=\"book\"}") == 5);
    assert_true(gcorn_test_metric_value("open_carts") == 2);
    assert_true(gcorn_test_metric_read("order_size", &m));
    assert_true(m.value == 1112.5 && m.count == 5 && m.bound_count == 3);
    assert_true(m.bounds[0] == 1 && m.bounds[1] == 10 && m.bounds[2] == 100);
    assert_true(m.buckets[0] == 1 && m.buckets[1] == 3 && m.buckets[2] == 4 && m.buckets[3] == 5);
}

/* As in the worker that takes the place of one that has ended. */
static void test_new_worker_counts_from_zero(void **state)
{
    struct gcorn_test_metric m;

    (void)state;
    assert_true(gcorn_test_metric_read("order_size", &m));
    assert_true(m.value == 0 && m.count == 0 && m.bound_count == 3 && m.buckets[3] == 0);
    gcorn_metric_add(orders, 2);
    gcorn_test_worker_stop(); /* it outlives its worker */
    assert_true(gcorn_test_metric_value("orders_total{kind=\"book\"}") == 2);
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_true(gcorn_test_metric_value("orders_total{kind=\"book\"}") == 0);
}

static void test_metric_that_is_not_made_is_nan(void **state)
{
    struct gcorn_test_metric m;

    (void)state;
    assert_true(isnan(gcorn_test_metric_value("orders_total")));
    assert_false(gcorn_test_metric_read("orders_total{kind=\"cd\"}", &m));
    assert_true(isnan(m.value) && m.count == 0 && m.bound_count == 0);
}

/* The server's own rules. */
static void test_wrong_names_and_bounds_are_refused(void **state)
{
    static const double falling[] = {2, 1};
    static const char *const names[] = {"1st", "gcorn_mine", "a{b}", "a{b=\"c\",b=\"d\"}", ""};

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        errno = 0;
        assert_null(gcorn_counter(names[i], ""));
        assert_int_equal(errno, EINVAL);
    }
    assert_null(gcorn_histogram("falling", "", falling, 2));
    assert_null(gcorn_counter("open_carts", ""));
    assert_null(gcorn_counter("order_size_sum", ""));
    assert_true(gcorn_counter("orders_total{kind=\"book\"}", "") == orders);
    gcorn_metric_add(NULL, 1);
    gcorn_metric_add(orders, -1);
    assert_true(gcorn_test_metric_value("orders_total{kind=\"book\"}") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requests_count_in_metrics, start, stop),
        cmocka_unit_test_setup_teardown(test_new_worker_counts_from_zero, start, stop),
        cmocka_unit_test_setup_teardown(test_metric_that_is_not_made_is_nan, start, stop),
        cmocka_unit_test_setup_teardown(test_wrong_names_and_bounds_are_refused, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
