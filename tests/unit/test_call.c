/* SPDX-License-Identifier: MIT
 *
 * Calls on the loop's thread: what the slot shows during one and after it, and what the next one
 * takes over from it (nothing).
 */
#include "worker_case.h"

#include <poll.h>
#include <stdio.h>

#include "gcorn.h"

static struct slot *slot;
static struct slot_call in_call; /* the slot's, as the handler saw it */
static uint32_t state_in_call;
static const struct stream *serving;
static uint32_t answers_at_end;
static unsigned extends_ms, sleeps_ms, posts;

static void end_body(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    answers_at_end = slot->calls[0].answers;
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    if (*(bool *)state)
        return 0;
    *(bool *)state = true;
    *chunk = "whole";
    return 5;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    bool *is_over = gcorn_alloc(env, sizeof(*is_over));

    *is_over = false;
    memcpy(&in_call, &slot->calls[0], sizeof(in_call));
    state_in_call = slot->state;
    serving = worker_this()->serving;
    if (extends_ms > 0)
        gcorn_extend_deadline(env, extends_ms);
    if (sleeps_ms > 0)
        (void)poll(NULL, 0, (int)sleeps_ms);
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_iter(env, next, end_body, is_over);
}

static void post_request(struct gcorn_environ *env)
{
    (void)env;
    posts++;
}

static int open_case(void **state)
{
    struct worker_case *t = *state = calloc(1, sizeof(*t));

    worker_case_init(t);
    slot = t->slot;
    t->config.request_id_header = "X-Request-ID";
    worker_case_start(t, handler, 0);
    t->w->app.on_post_request = post_request;
    serving = NULL;
    extends_ms = sleeps_ms = posts = 0;
    answers_at_end = 9;
    return 0;
}

static int close_case(void **state)
{
    worker_case_close(*state);
    free(*state);
    return 0;
}

static void serve(struct worker_case *t, int client, const char *request)
{
    worker_case_send(client, request);
    (void)worker_case_answer(t, client, "whole");
}

static void test_slot_shows_the_request_during_its_call_alone(void **state)
{
    struct worker_case *t = *state;
    uint64_t before = now_ms();
    int client = worker_case_connect(t);

    serve(t, client, "PUT /path?q=1 HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n\r\n");
    assert_true(slot_call_started_ms(&in_call) >= before - 1);
    assert_true(slot_call_started_ms(&in_call) <= now_ms());
    assert_string_equal(in_call.method, "PUT");
    assert_string_equal(in_call.target, "/path?q=1");
    assert_int_equal(in_call.target_len, 9);
    assert_int_equal(in_call.answers, 1);
    assert_int_equal(state_in_call, SLOT_CALLING);
    assert_ptr_equal(serving, &t->w->conns[0].h1);
    assert_false(slot_call_runs(&slot->calls[0]));
    assert_int_equal(slot->state, SLOT_IDLE);
    (void)close(client);
}

static void test_next_request_is_shown_as_itself(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t);

    serve(t, client, "DELETE /first-and-longer HTTP/1.1\r\nHost: t\r\n\r\n");
    uint64_t id = in_call.request_id;
    slot_set_text(slot->calls[0].given_id, SLOT_GIVEN_ID_SIZE, "given", 5);
    serve(t, client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_string_equal(in_call.method, "GET");
    assert_string_equal(in_call.target, "/2");
    assert_int_equal(in_call.target_len, 2);
    assert_string_equal(in_call.given_id, ""); /* of the request before */
    assert_int_not_equal(in_call.request_id, id);
    (void)close(client);
}

static void test_deadline_is_extended_for_one_call(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t);

    extends_ms = 3600 * 1000;
    serve(t, client, "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(atomic_load(&slot->calls[0].until_ms), 0);
    extends_ms = 0;
    serve(t, client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    assert_int_equal(atomic_load(&in_call.until_ms), 0);
    (void)close(client);
}

static void test_end_of_a_request_is_for_no_answer(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t);

    serve(t, client, "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, posts == 1);
    assert_int_equal(answers_at_end, 0);
    (void)close(client);
}

/* Clients' timers stand still while the application keeps the loop from reading. */
static void test_time_in_calls_is_not_clients_time(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t);

    sleeps_ms = 60;
    uint64_t before_ms = worker_client_ms(t->w), before_ns = t->w->calls_ns;
    worker_case_send(client, "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    (void)worker_case_answer(t, client, "whole");
    assert_true(t->w->calls_ns - before_ns >= 60 * UINT64_C(1000000));
    assert_true(t->w->now_ns / 1000000 - worker_client_ms(t->w) >= 60);
    assert_true(worker_client_ms(t->w) >= before_ms);
    assert_true(atomic_load(&slot->loop_ms) > 0);
    (void)close(client);
}

/* max_requests counts those that the application has run. */
static void test_refused_request_is_not_counted_as_run(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t);

    worker_case_send(client, "GET /1 HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n");
    (void)worker_case_answer(t, client, "HTTP/1.1 400");
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_int_equal(t->w->run_count, 0);
    assert_int_equal(posts, 0); /* its hook is for requests that were run, too */
    client = worker_case_connect(t);
    serve(t, client, "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_int_equal(t->w->run_count, 1);
    assert_int_equal(posts, 1);
    assert_int_equal(slot->counts.begun, 2);
}

/* Two come at once, and the first call is long: the other is refused, whichever that is. */
static void test_refusal_is_of_one_request(void **state)
{
    struct worker_case *t = *state;
    int clients[2] = {worker_case_connect(t), worker_case_connect(t)};

    t->config.queue_timeout_ms = 30;
    worker_case_turns(t);
    sleeps_ms = 100;
    worker_case_send(clients[0], "GET /1 HTTP/1.1\r\nHost: t\r\n\r\n");
    worker_case_send(clients[1], "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, slot_requests(&slot->counts) == 2);
    int served = worker_case_has(clients[0], "whole") ? 0 : 1;
    (void)worker_case_answer(t, clients[served], "whole");
    (void)worker_case_answer(t, clients[1 - served], "HTTP/1.1 503");
    assert_int_equal(slot->counts.shed, 1);
    assert_int_equal(slot->counts.begun, 2);
    sleeps_ms = 0;
    t->config.queue_timeout_ms = 0;
    serve(t, clients[served], "GET /3 HTTP/1.1\r\nHost: t\r\n\r\n");
    (void)close(clients[0]);
    (void)close(clients[1]);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_slot_shows_the_request_during_its_call_alone),
        CASE(test_next_request_is_shown_as_itself),
        CASE(test_deadline_is_extended_for_one_call),
        CASE(test_end_of_a_request_is_for_no_answer),
        CASE(test_time_in_calls_is_not_clients_time),
        CASE(test_refused_request_is_not_counted_as_run),
        CASE(test_refusal_is_of_one_request),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
