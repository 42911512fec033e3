/* SPDX-License-Identifier: MIT
 *
 * The request that a canary asks its application: which answers are good, how long it waits for
 * one, and that it leaves nothing behind.
 */
#include "worker_case.h"

#include "base/error.h"
#include "gcorn.h"
#include "worker/canary.h"

static const char *status;
static unsigned pieces, waits, closes, befores, afters;
static bool starts_late, breaks;

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    if (waits > 0) {
        waits--;
        return GCORN_AGAIN;
    }
    if (starts_late && pieces == 2) {
        starts_late = false;
        (void)gcorn_start(state, status, NULL);
    }
    if (breaks)
        return -1;
    if (pieces == 0)
        return 0;
    pieces--;
    *chunk = "piece";
    return 5;
}

static void end_body(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    closes++;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    assert_string_equal(gcorn_get(env, "REQUEST_METHOD"), "GET");
    assert_string_equal(gcorn_get(env, "PATH_INFO"), "/health");
    assert_string_equal(gcorn_get(env, "HTTP_HOST"), "localhost");
    assert_int_equal(befores, 1); /* gcorn_on_pre_request comes first */
    if (!starts_late)
        (void)gcorn_start(start_response, status, NULL);
    return gcorn_body_iter(env, next, end_body, start_response);
}

static void before(struct gcorn_environ *env)
{
    (void)env;
    befores++;
}

static void after(struct gcorn_environ *env)
{
    (void)env;
    afters++;
}

static int open_case(void **state)
{
    struct worker_case *t = *state = calloc(1, sizeof(*t));

    status = "200 OK";
    pieces = 2;
    waits = closes = befores = afters = 0;
    starts_late = breaks = false;
    worker_case_open(t, handler, 0);
    t->w->app.on_pre_request = before;
    t->w->app.on_post_request = after;
    return 0;
}

static int close_case(void **state)
{
    struct worker_case *t = *state;

    assert_int_equal(closes, befores); /* the request has ended, whatever came of it */
    assert_int_equal(afters, befores);
    assert_int_equal(slot_running_calls(t->slot), 0);
    assert_int_equal(t->slot->counts.begun, 0); /* no client has had an answer */
    assert_int_equal(slot_requests(&t->slot->counts), 0);
    assert_int_equal(t->w->run_count, 0);
    assert_int_equal(t->w->spare_count, 1);
    worker_case_close(t);
    free(t);
    return 0;
}

static void assert_good(struct worker_case *t)
{
    struct error err;

    if (canary_check(t->w, "/health", &err) < 0)
        fail_msg("%s", err.text);
}

static void assert_bad(struct worker_case *t, const char *path, const char *text)
{
    struct error err;

    assert_int_equal(canary_check(t->w, path, &err), -1);
    assert_string_equal(err.text, text);
}

static void test_answers_from_200_to_399_are_good(void **state)
{
    assert_good(*state);
    befores = closes = afters = 0;
    status = "399 Moved";
    assert_good(*state);
}

static void test_other_answers_are_bad(void **state)
{
    status = "400 No";
    assert_bad(*state, "/health", "reload_check_path /health was answered 400");
    befores = closes = afters = 0;
    status = "503 No";
    assert_bad(*state, "/health", "reload_check_path /health was answered 503");
}

static void test_answer_that_breaks_is_bad(void **state)
{
    breaks = true;
    assert_bad(*state, "/health", "reload_check_path /health was answered 500");
}

static void test_answer_without_a_status_is_waited_for(void **state)
{
    waits = 3;
    starts_late = true;
    status = "204 No Content";
    assert_good(*state);
    assert_int_equal(waits, 0);
}

/* A stream may go on for ever. */
static void test_stream_with_a_status_is_not_waited_for(void **state)
{
    waits = 3;
    assert_good(*state);
    assert_int_equal(waits, 2);
}

static void test_path_that_is_no_target_is_bad(void **state)
{
    struct worker_case *t = *state;
    struct error err;

    assert_int_equal(canary_check(t->w, "/a b c", &err), -1);
    assert_int_equal(befores, 0); /* it is refused before the application sees it */
}

static void test_request_is_a_call_of_its_own_kind(void **state)
{
    struct worker_case *t = *state;

    assert_good(t);
    assert_string_equal(t->slot->calls[0].target, "/health");
    assert_int_equal(t->slot->calls[0].answers, 0); /* nobody waits: no line is due if it crashes */
    assert_int_equal(t->slot->state, SLOT_IDLE);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_answers_from_200_to_399_are_good),
        CASE(test_other_answers_are_bad),
        CASE(test_answer_that_breaks_is_bad),
        CASE(test_answer_without_a_status_is_waited_for),
        CASE(test_stream_with_a_status_is_not_waited_for),
        CASE(test_path_that_is_no_target_is_bad),
        CASE(test_request_is_a_call_of_its_own_kind),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
