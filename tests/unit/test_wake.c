/* SPDX-License-Identifier: MIT
 *
 * Answers that wait: tickets, alarms, the order of turns; and that none of it reaches a later
 * request on the same connection or in the same place of the table.
 */
#include "worker_case.h"

#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "gcorn.h"

/* What the request to "/N" does. It waits until it is ready. */
static struct answer {
    uint64_t ticket;
    unsigned nexts, closes;
    bool is_ready, has_no_ticket;
    uint64_t due_ms;
    uint64_t alarm_ms;                /* gcorn_wake_at in the first next, from now on; 0: none */
    void (*in_next)(struct answer *); /* called in each */
    struct gcorn_environ *env;
} answers[8];
static char order[64]; /* the numbers, as their next is called */

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct answer *a = state;
    char name[2] = {(char)('0' + (a - answers)), '\0'};

    if (a->nexts++ == 0 && a->alarm_ms > 0) {
        (void)poll(NULL, 0, 25); /* the loop's own clock is behind by so much */
        gcorn_wake_at(env, a->due_ms = gcorn_now() + a->alarm_ms);
    }
    if (strlen(order) + 1 < sizeof(order))
        strcat(order, name);
    if (a->in_next)
        a->in_next(a);
    if (!a->is_ready)
        return GCORN_AGAIN;
    if (a->is_ready && a->closes == 1)
        return 0;
    a->closes = 1;
    *chunk = "done";
    return 4;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    struct answer *a = &answers[gcorn_get(env, "PATH_INFO")[1] - '0'];

    a->env = env;
    if (!a->has_no_ticket)
        a->ticket = gcorn_ticket(env);
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_iter(env, next, NULL, a);
}

static int open_case(void **state)
{
    struct worker_case *t = calloc(1, sizeof(*t));

    memset(answers, 0, sizeof(answers));
    order[0] = '\0';
    worker_case_open(t, handler, 0);
    *state = t;
    return 0;
}

static int close_case(void **state)
{
    worker_case_close(*state);
    free(*state);
    return 0;
}

/* A connection whose request to "/N" waits. */
static int wait_for(struct worker_case *t, int n)
{
    char target[3] = {'/', (char)('0' + n), '\0'};
    unsigned before = answers[n].nexts;
    int client = worker_case_ask(t, target);

    WORKER_CASE_UNTIL(t, answers[n].nexts > before);
    return client;
}

static void finish(struct worker_case *t, int n, int client)
{
    answers[n].is_ready = true;
    gcorn_wake(answers[n].ticket);
    (void)worker_case_answer(t, client, "done");
    (void)close(client);
}

/* ---- tickets ----------------------------------------------------------------------------- */

static void test_woken_answer_goes_on(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);

    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 1);
    assert_int_equal(t->slot->waiting, 1);
    finish(t, 1, client);
    assert_int_equal(t->slot->waiting, 0);
}

static void test_ticket_names_one_request(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);
    uint64_t first = answers[1].ticket;

    assert_int_equal(gcorn_ticket(answers[1].env), first);
    answers[1].is_ready = true;
    gcorn_wake(first);
    (void)worker_case_answer(t, client, "done");
    worker_case_send(client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, answers[2].nexts == 1);
    assert_int_not_equal(answers[2].ticket, first);
    finish(t, 2, client);
}

/* The next request of the connection has no ticket, or another one. */
static void test_stale_ticket_wakes_no_later_request(void **state)
{
    struct worker_case *t = *state;

    for (int without = 0; without < 2; without++) {
        answers[1].nexts = answers[1].closes = answers[2].nexts = answers[2].closes = 0;
        answers[2].is_ready = false;
        answers[2].has_no_ticket = without;
        int client = wait_for(t, 1);
        uint64_t stale = answers[1].ticket;
        answers[1].is_ready = true;
        gcorn_wake(stale);
        (void)worker_case_answer(t, client, "done");
        worker_case_send(client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
        WORKER_CASE_UNTIL(t, answers[2].nexts == 1);
        gcorn_wake(stale);
        worker_case_turns(t);
        assert_int_equal(answers[2].nexts, 1);
        answers[2].has_no_ticket = false;
        answers[2].ticket = gcorn_ticket(answers[2].env);
        finish(t, 2, client);
    }
}

static void test_stale_ticket_wakes_no_later_connection(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);
    uint64_t stale = answers[1].ticket;

    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    client = wait_for(t, 2); /* in the same place */
    assert_int_equal(conn_of(stream_of(answers[2].env)) - t->w->conns, 0);
    gcorn_wake(stale);
    worker_case_turns(t);
    assert_int_equal(answers[2].nexts, 1);
    finish(t, 2, client);
}

static void test_numbers_that_are_no_tickets_wake_nothing(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);
    uint64_t ticket = answers[1].ticket, place_mask = (1 << 20) - 1;

    gcorn_wake(0);
    gcorn_wake(ticket | place_mask);      /* no such place */
    gcorn_wake(ticket | t->w->max_conns); /* the first behind the table */
    gcorn_wake(ticket + (1 << 20));       /* one that is yet to be given */
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 1);
    finish(t, 1, client);
}

static void test_request_of_no_client_has_a_dead_ticket(void **state)
{
    struct worker_case *t = *state;
    static const struct http_local local = {"", "", "http"};
    static const struct http_peer peer = {.local = &local};
    struct gcorn_environ *env = worker_take_environ(t->w, &peer, NULL);
    uint64_t ticket = gcorn_ticket(env);

    assert_int_not_equal(ticket, 0);
    gcorn_wake_at(env, gcorn_now());
    gcorn_wake(ticket);
    worker_case_turns(t);
    environ_reset(env);
    worker_keep_environ(t->w, env);
}

static void test_no_worker_has_dead_tickets(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);
    uint64_t ticket = answers[1].ticket;

    worker_set_this(NULL);
    gcorn_wake(ticket);
    gcorn_wake_at(answers[1].env, 1);
    assert_int_not_equal(gcorn_ticket(answers[1].env), ticket);
    worker_set_this(t->w);
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 1);
    finish(t, 1, client);
}

/* ---- turns ------------------------------------------------------------------------------- */

static void test_two_wakes_before_the_turn_are_one_call(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);

    gcorn_wake(answers[1].ticket);
    gcorn_wake(answers[1].ticket);
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 2);
    finish(t, 1, client);
}

static void wake_oneself_once(struct answer *a)
{
    a->in_next = NULL;
    gcorn_wake(a->ticket);
}

static void test_wake_within_the_call_brings_another(void **state)
{
    struct worker_case *t = *state;

    answers[1].in_next = wake_oneself_once;
    int client = wait_for(t, 1);
    WORKER_CASE_UNTIL(t, answers[1].nexts == 2);
    answers[1].in_next = wake_oneself_once; /* in a turn that a wake has brought */
    gcorn_wake(answers[1].ticket);
    WORKER_CASE_UNTIL(t, answers[1].nexts == 4);
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 4);
    finish(t, 1, client);
}

static void test_turns_come_in_the_order_of_wakes(void **state)
{
    struct worker_case *t = *state;
    int clients[4];

    for (int i = 1; i < 4; i++)
        clients[i] = wait_for(t, i);
    order[0] = '\0';
    gcorn_wake(answers[2].ticket);
    gcorn_wake(answers[1].ticket);
    gcorn_wake(answers[3].ticket);
    worker_case_turns(t);
    assert_string_equal(order, "213");
    for (int i = 1; i < 4; i++)
        finish(t, i, clients[i]);
}

static void take_long_and_wake_the_first(struct answer *a)
{
    a->in_next = NULL;
    (void)poll(NULL, 0, 25); /* longer than a pass may take */
    gcorn_wake(answers[1].ticket);
}

static void take_long(struct answer *a)
{
    a->in_next = NULL;
    (void)poll(NULL, 0, 25);
}

static void test_those_left_over_have_their_turn_without_a_wake(void **state)
{
    struct worker_case *t = *state;
    int first = wait_for(t, 1), second = wait_for(t, 2);

    answers[1].in_next = take_long;
    gcorn_wake(answers[1].ticket);
    gcorn_wake(answers[2].ticket);
    worker_case_turns(t);
    assert_int_equal(answers[2].nexts, 2);
    finish(t, 1, first);
    finish(t, 2, second);
}

/* 2 takes the whole of a pass and wakes 1: then 3, which was woken before, has its turn before 1. */
static void test_those_left_over_come_before_those_woken_later(void **state)
{
    struct worker_case *t = *state;
    int clients[4];

    for (int i = 1; i < 4; i++)
        clients[i] = wait_for(t, i);
    order[0] = '\0';
    answers[2].in_next = take_long_and_wake_the_first;
    gcorn_wake(answers[2].ticket);
    gcorn_wake(answers[3].ticket);
    worker_case_turn(t);
    assert_string_equal(order, "2");
    worker_case_turns(t);
    assert_string_equal(order, "231");
    for (int i = 1; i < 4; i++)
        finish(t, i, clients[i]);
}

static void *wake_from_thread(void *ticket)
{
    gcorn_wake(*(uint64_t *)ticket);
    return NULL;
}

static void test_another_thread_wakes_a_sleeping_loop(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, wake_from_thread, &answers[1].ticket), 0);
    (void)ev_run(t->w->loop, EVRUN_ONCE); /* without a timer: only the wake ends it */
    assert_int_equal(answers[1].nexts, 2);
    (void)pthread_join(thread, NULL);
    finish(t, 1, client);
}

/* Its client leaves between the wake and the turn, and the place is taken again. */
static void test_connection_freed_when_due_is_taken_again(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1), other;

    gcorn_wake(answers[1].ticket);
    conn_drop(&t->w->conns[0]);
    (void)close(client);
    other = worker_case_ask(t, "/2");
    WORKER_CASE_UNTIL(t, answers[2].nexts > 0);
    worker_case_turns(t);
    unsigned called = answers[2].nexts;
    gcorn_wake(answers[2].ticket); /* is_due was cleared by the turn of the connection before */
    WORKER_CASE_UNTIL(t, answers[2].nexts > called);
    assert_int_equal(answers[1].nexts, 1);
    finish(t, 2, other);
}

/* ---- alarms ------------------------------------------------------------------------------ */

static void test_alarm_comes_once_and_not_early(void **state)
{
    struct worker_case *t = *state;

    answers[1].alarm_ms = 300;
    int client = wait_for(t, 1);
    unsigned turns = ev_iteration(t->w->loop);
    WORKER_CASE_UNTIL(t, answers[1].nexts == 2);
    assert_true(now_ms() >= answers[1].due_ms);
    assert_true(ev_iteration(t->w->loop) - turns < 100); /* the loop has slept meanwhile */
    uint64_t until = now_ms() + 100;
    WORKER_CASE_UNTIL(t, now_ms() > until);
    assert_int_equal(answers[1].nexts, 2);
    finish(t, 1, client);
}

static void test_alarm_in_the_past_comes_at_once(void **state)
{
    struct worker_case *t = *state;
    int client = wait_for(t, 1);

    gcorn_wake_at(answers[1].env, 0); /* not: no alarm */
    gcorn_wake(answers[1].ticket);    /* an alarm is set when the answer begins to wait */
    WORKER_CASE_UNTIL(t, answers[1].nexts == 3);
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 3);
    finish(t, 1, client);
}

static void set_long_alarm(struct answer *a)
{
    a->in_next = NULL;
    gcorn_wake_at(a->env, gcorn_now() + 3600 * 1000);
}

/* The timer that is in the arena already is set anew. */
static void test_later_alarm_replaces_the_one_before(void **state)
{
    struct worker_case *t = *state;

    answers[1].alarm_ms = 400;
    int client = wait_for(t, 1);
    answers[1].in_next = set_long_alarm;
    gcorn_wake(answers[1].ticket); /* before the first has come */
    WORKER_CASE_UNTIL(t, answers[1].nexts == 2);
    WORKER_CASE_UNTIL(t, now_ms() > answers[1].due_ms + 50);
    assert_int_equal(answers[1].nexts, 2);
    finish(t, 1, client);
}

static void test_alarm_ends_with_its_request(void **state)
{
    struct worker_case *t = *state;

    answers[1].alarm_ms = 400; /* what comes before it comes in that time */
    int client = wait_for(t, 1);
    answers[1].is_ready = true;
    gcorn_wake(answers[1].ticket); /* before the alarm */
    (void)worker_case_answer(t, client, "done");
    worker_case_send(client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, answers[2].nexts == 1);
    WORKER_CASE_UNTIL(t, now_ms() > answers[1].due_ms + 50);
    assert_int_equal(answers[2].nexts, 1); /* neither by the timer nor by what is left of at_ms */
    finish(t, 2, client);
}

/* Its timer lies in the memory of its request. */
static void test_exchange_forgets_the_alarm_of_a_request(void **state)
{
    struct worker_case *t = *state;

    answers[1].alarm_ms = 3600 * 1000;
    int client = wait_for(t, 1);
    struct exchange *x = stream_of(answers[1].env)->x;
    assert_non_null(x->alarm.timer);
    answers[1].is_ready = true;
    gcorn_wake(answers[1].ticket);
    (void)worker_case_answer(t, client, "done");
    assert_null(x->alarm.timer);
    assert_int_equal(x->alarm.at_ms, 0);
    (void)close(client);
}

static void test_alarm_ends_with_its_connection(void **state)
{
    struct worker_case *t = *state;

    answers[1].alarm_ms = 400; /* what comes before it comes in that time */
    int client = wait_for(t, 1);
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    client = wait_for(t, 2);
    WORKER_CASE_UNTIL(t, now_ms() > answers[1].due_ms + 50);
    assert_int_equal(answers[1].nexts, 1);
    assert_int_equal(answers[2].nexts, 1);
    finish(t, 2, client);
}

/* ---- all --------------------------------------------------------------------------------- */

static void test_drain_wakes_those_that_run_alone(void **state)
{
    struct worker_case *t = *state;
    int first = wait_for(t, 1), second = wait_for(t, 2), idle = worker_case_connect(t);

    worker_case_turns(t);
    wake_all(t->w);
    assert_true(atomic_load(&stream_of(answers[1].env)->is_due));
    assert_false(atomic_load(&t->w->conns[2].h1.is_due)); /* the idle one */
    worker_case_turns(t);
    assert_int_equal(answers[1].nexts, 2);
    assert_int_equal(answers[2].nexts, 2);
    (void)close(idle);
    finish(t, 1, first);
    finish(t, 2, second);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_woken_answer_goes_on),
        CASE(test_ticket_names_one_request),
        CASE(test_stale_ticket_wakes_no_later_request),
        CASE(test_stale_ticket_wakes_no_later_connection),
        CASE(test_numbers_that_are_no_tickets_wake_nothing),
        CASE(test_request_of_no_client_has_a_dead_ticket),
        CASE(test_no_worker_has_dead_tickets),
        CASE(test_two_wakes_before_the_turn_are_one_call),
        CASE(test_wake_within_the_call_brings_another),
        CASE(test_turns_come_in_the_order_of_wakes),
        CASE(test_those_left_over_come_before_those_woken_later),
        CASE(test_those_left_over_have_their_turn_without_a_wake),
        CASE(test_another_thread_wakes_a_sleeping_loop),
        CASE(test_connection_freed_when_due_is_taken_again),
        CASE(test_alarm_comes_once_and_not_early),
        CASE(test_alarm_in_the_past_comes_at_once),
        CASE(test_later_alarm_replaces_the_one_before),
        CASE(test_alarm_ends_with_its_request),
        CASE(test_exchange_forgets_the_alarm_of_a_request),
        CASE(test_alarm_ends_with_its_connection),
        CASE(test_drain_wakes_those_that_run_alone),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
