/* SPDX-License-Identifier: MIT
 *
 * The hooks of an application that is linked into its test, and the time.
 */
#include "case.h"

/* What was called, in its order: a letter each. */
static char calls[64];
static int init_result;
static char facts[128]; /* of the last gcorn_on_post_request */

static void note(char letter)
{
    size_t len = strlen(calls);

    assert_true(len + 1 < sizeof(calls));
    calls[len] = letter;
    calls[len + 1] = '\0';
}

static void expect_calls(const char *letters)
{
    assert_string_equal(calls, letters);
    calls[0] = '\0';
}

static int loads, load_result;

GCORN_EXPORT int gcorn_on_load(void)
{
    loads++;
    return load_result;
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    note('I');
    return init_result;
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
    note(gcorn_draining() ? 'X' : '?');
}

GCORN_EXPORT void gcorn_on_pre_request(struct gcorn_environ *env)
{
    note('<');
    gcorn_set(env, "app.seen", "yes");
}

GCORN_EXPORT void gcorn_on_post_request(struct gcorn_environ *env)
{
    const char *ended = gcorn_get(env, "gcorn.ended");

    note('>');
    (void)snprintf(facts, sizeof(facts), "%s %s %s", gcorn_get(env, "gcorn.status"),
                   gcorn_get(env, "gcorn.bytes_sent"), ended ? ended : "-");
}

static void on_close(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    note('c');
}

static void on_defer(void *arg)
{
    (void)arg;
    note('d');
}

/* Waits until the worker drains, after the bytes that it says. */
static ssize_t say_and_wait(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *said = (int *)state;
    bool ends = strcmp(gcorn_get(env, "PATH_INFO"), "/ends") == 0;

    note('n');
    if (!*said) {
        *said = 1;
        *chunk = "hello";
        return 5;
    }
    return ends && gcorn_draining() ? 0 : GCORN_AGAIN;
}

static struct gcorn_body *app(struct gcorn_environ *env,
                              struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    note('h');
    assert_string_equal(gcorn_get(env, "app.seen"), "yes");
    gcorn_defer(env, on_defer, NULL);
    if (strcmp(path, "/fails") == 0)
        return NULL;
    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/short") == 0)
        return gcorn_body_text(env, "short");
    return gcorn_body_iter(env, say_and_wait, on_close, gcorn_alloc(env, sizeof(int)));
}

static int clear(void **state)
{
    (void)state;
    calls[0] = facts[0] = '\0';
    init_result = 0;
    return 0;
}

static void test_request_runs_hooks_around_it(void **state)
{
    struct gcorn_test *t = get(app, "GET /short HTTP/1.1");

    (void)state;
    expect_calls("<h>d");
    assert_string_equal(facts, "200 5 -");
    gcorn_test_close(t);
    t = get(app, "GET /fails HTTP/1.1");
    assert_int_equal(t->status, 500);
    expect_calls("<h>d");
    assert_int_equal(strncmp(facts, "500 ", 4), 0);
    gcorn_test_close(t);
    expect_calls("");
}

static void test_refused_request_runs_no_hook(void **state)
{
    struct gcorn_test *t = get(app, "GET /short HTTP/3.0");

    (void)state;
    assert_int_equal(t->status, 505);
    gcorn_test_close(t);
    expect_calls("");
}

static void test_client_that_leaves_runs_post_request(void **state)
{
    struct gcorn_test *t = gcorn_test_request(app, "GET / HTTP/1.1", NULL, 0);

    (void)state;
    assert_true(t->waits);
    expect_calls("<hnn");
    gcorn_test_close(t);
    expect_calls("c>d");
    assert_string_equal(facts, "200 5 client gone");
}

static void test_worker_start_and_stop_run_hooks(void **state)
{
    struct gcorn_test *waits, *ends;

    (void)state;
    assert_int_equal(gcorn_test_worker_start(), 0);
    expect_calls("I");
    waits = gcorn_test_request(app, "GET / HTTP/1.1", NULL, 0);
    ends = gcorn_test_request(app, "GET /ends HTTP/1.1", NULL, 0);
    calls[0] = '\0';
    gcorn_test_worker_stop();
    assert_true(ends->complete);
    assert_true(waits->broken && !waits->waits && !waits->complete);
    assert_string_equal(facts, "200 5 stopped");
    assert_int_equal(calls[strlen(calls) - 1], 'X');
    assert_false(gcorn_draining());
    calls[0] = '\0';
    gcorn_test_close(waits);
    gcorn_test_close(ends);
    gcorn_test_worker_stop(); /* it is stopped */
    expect_calls("");
}

static void test_worker_that_does_not_boot_has_no_exit(void **state)
{
    (void)state;
    init_result = -1;
    assert_int_equal(gcorn_test_worker_start(), -1);
    gcorn_test_worker_stop();
    expect_calls("I");
}

static void test_second_start_stops_the_first_worker(void **state)
{
    (void)state;
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_int_equal(gcorn_test_worker_start(), 0);
    expect_calls("IXI");
    gcorn_test_worker_stop();
    expect_calls("X");
}

static bool thread_has_ended;

static void run_thread(void *arg)
{
    (void)arg;
    thread_has_ended = true;
}

static void on_timer(void *arg)
{
    ++*(int *)arg;
}

static void on_message(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)data;
    *(size_t *)arg += len;
}

/* A second gcorn_on_worker_init would otherwise meet what the first one has left. */
static void test_stopped_worker_leaves_no_subscription(void **state)
{
    size_t received = 0;

    (void)state;
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_non_null(gcorn_subscribe("news", on_message, &received));
    assert_int_equal(gcorn_publish("news", "12345", 5), 0);
    (void)gcorn_test_wait(NULL, 0);
    assert_int_equal(received, 5);
    gcorn_test_worker_stop();
    assert_int_equal(gcorn_publish("news", "12345", 5), 0);
    (void)gcorn_test_wait(NULL, 0);
    assert_int_equal(received, 5);
}

static void test_stopped_worker_leaves_no_timer_and_thread(void **state)
{
    int ticks = 0;

    (void)state;
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_non_null(gcorn_timer_every(1000, on_timer, &ticks));
    assert_int_equal(gcorn_thread_start("end", run_thread, NULL, NULL), 0);
    gcorn_test_advance(2000);
    assert_int_equal(ticks, 2);
    gcorn_test_worker_stop();
    assert_true(thread_has_ended);
    gcorn_test_advance(2000);
    assert_int_equal(ticks, 2);
}

static int again_calls;
static bool goes_again;

static void post_again(void *arg)
{
    again_calls++;
    if (goes_again)
        assert_int_equal(gcorn_post(post_again, arg), 0);
}

static void set_again(void *arg)
{
    again_calls++;
    assert_non_null(gcorn_timer_once(0, set_again, arg));
}

/* As in the server, where other events have their turns between them. */
static void test_endless_posts_and_timers_take_turns(void **state)
{
    (void)state;
    again_calls = 0;
    goes_again = true;
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_int_equal(gcorn_post(post_again, NULL), 0);
    assert_non_null(gcorn_timer_once(0, set_again, NULL));
    assert_true(gcorn_test_wait(NULL, 0));
    assert_int_equal(again_calls, 2);
    gcorn_test_advance(100);
    assert_true(again_calls >= 200);
    gcorn_test_worker_stop();
    goes_again = false;
    assert_true(gcorn_test_wait(NULL, 0));
    assert_false(gcorn_test_wait(NULL, 0));
}

/* ---- time --------------------------------------------------------------------------------- */

static void expect_date(const char *date)
{
    struct gcorn_test *t = get(app, "GET /short HTTP/1.1");

    assert_string_equal(gcorn_headers_get(t->headers, "Date"), date);
    gcorn_test_close(t);
}

static void test_date_is_the_tests_wall_clock(void **state)
{
    uint64_t now = gcorn_now();

    (void)state;
    gcorn_test_set_time(784111777);
    assert_int_equal(gcorn_test_time(), 784111777);
    assert_int_equal(gcorn_now(), now);
    expect_date("Sun, 06 Nov 1994 08:49:37 GMT");
    expect_date("Sun, 06 Nov 1994 08:49:37 GMT");
    gcorn_test_advance(999);
    expect_date("Sun, 06 Nov 1994 08:49:37 GMT");
    gcorn_test_advance(86400001);
    assert_int_equal(gcorn_now(), now + 86401000);
    assert_int_equal(gcorn_test_time(), 784111777 + 86401);
    expect_date("Mon, 07 Nov 1994 08:49:38 GMT");
}

static ssize_t start_late(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)chunk;
    if (gcorn_now() < *(uint64_t *)state)
        return GCORN_AGAIN;
    return 0;
}

static struct gcorn_body *late(struct gcorn_environ *env,
                               struct gcorn_start_response *start_response)
{
    uint64_t *when = (uint64_t *)gcorn_alloc(env, sizeof(*when));

    gcorn_start(start_response, "200 OK", NULL);
    *when = gcorn_now() + 5000;
    gcorn_wake_at(env, *when);
    return gcorn_body_iter(env, start_late, NULL, when);
}

/* The head leaves after five seconds. */
static void test_late_head_has_the_date_of_then(void **state)
{
    struct gcorn_test *t;

    (void)state;
    gcorn_test_set_time(784111777);
    t = gcorn_test_request(late, "GET / HTTP/1.1", NULL, 0);
    gcorn_test_advance(5000);
    assert_true(t->complete);
    assert_string_equal(gcorn_headers_get(t->headers, "Date"), "Sun, 06 Nov 1994 08:49:42 GMT");
    gcorn_test_close(t);
}

static void test_load_runs_once(void **state)
{
    (void)state;
    load_result = -1;
    assert_int_equal(gcorn_test_worker_start(), -1);
    assert_int_equal(loads, 1);
    assert_string_equal(calls, "");
    load_result = 0;
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_int_equal(gcorn_test_worker_start(), 0);
    assert_int_equal(loads, 2);
    gcorn_test_worker_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_request_runs_hooks_around_it, clear),
        cmocka_unit_test_setup(test_refused_request_runs_no_hook, clear),
        cmocka_unit_test_setup(test_client_that_leaves_runs_post_request, clear),
        cmocka_unit_test_setup(test_load_runs_once, clear), /* before any worker has started */
        cmocka_unit_test_setup(test_worker_start_and_stop_run_hooks, clear),
        cmocka_unit_test_setup(test_worker_that_does_not_boot_has_no_exit, clear),
        cmocka_unit_test_setup(test_second_start_stops_the_first_worker, clear),
        cmocka_unit_test_setup(test_stopped_worker_leaves_no_timer_and_thread, clear),
        cmocka_unit_test_setup(test_stopped_worker_leaves_no_subscription, clear),
        cmocka_unit_test_setup(test_endless_posts_and_timers_take_turns, clear),
        cmocka_unit_test_setup(test_date_is_the_tests_wall_clock, clear),
        cmocka_unit_test_setup(test_late_head_has_the_date_of_then, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
