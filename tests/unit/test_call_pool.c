/* SPDX-License-Identifier: MIT
 *
 * Calls in threads: what a thread and its entry in the slot keep of the call before (nothing), what
 * the loop and the threads do to each other's requests, and the end of a pool with calls in it.
 */
#include "worker_case.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "gcorn.h"
#include "http/environ.h"

/* What the request to "/N" does: it runs until it may go. All of it is read and written by two
 * threads. */
static struct call_of {
    _Atomic bool runs, may_go;
    _Atomic unsigned nexts, closes;
    _Atomic uint32_t state_in_next;
    _Atomic bool waits; /* its iterator has nothing yet */
    _Atomic uint64_t ticket;
    void (*in_handler)(struct gcorn_environ *env);
    const struct http_context *context;
    struct gcorn_environ *env;
    bool has_alt_stack;
    uint32_t answers_at_end;
    unsigned blocked_signals;
    char thread_name[16];
} calls[8];
static const struct slot *shown_slot;
static _Atomic unsigned started; /* calls, in all */

static struct call_of *call_named(struct gcorn_environ *env)
{
    return &calls[gcorn_get(env, "PATH_INFO")[1] - '0'];
}

static void look_around(struct call_of *c)
{
    stack_t stack;
    sigset_t mask;

    (void)sigaltstack(NULL, &stack);
    c->has_alt_stack = !(stack.ss_flags & SS_DISABLE);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &mask);
    for (int i = 1; i < 32; i++)
        c->blocked_signals += (unsigned)sigismember(&mask, i);
    (void)pthread_getname_np(pthread_self(), c->thread_name, sizeof(c->thread_name));
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct call_of *c = state;

    (void)env;
    atomic_store(&c->state_in_next, shown_slot->state);
    atomic_fetch_add(&c->nexts, 1);
    if (atomic_load(&c->waits))
        return GCORN_AGAIN;
    if (atomic_exchange(&c->may_go, false)) {
        *chunk = "done";
        return 4;
    }
    return 0;
}

static void end_body(struct gcorn_environ *env, void *state)
{
    struct call_of *c = state;

    c->answers_at_end = shown_slot->calls[0].answers;
    atomic_fetch_add(&c->closes, 1);
    (void)env;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    struct call_of *c = call_named(env);
    const char *query = gcorn_get(env, "QUERY_STRING");

    look_around(c);
    c->env = env;
    c->context = env->context;
    atomic_store(&c->ticket, gcorn_ticket(env));
    if (c->in_handler)
        c->in_handler(env);
    (void)gcorn_start(start_response, "200 OK", NULL);
    atomic_fetch_add(&started, 1);
    atomic_store(&c->runs, true);
    if (*query == 'i')
        return gcorn_body_iter(env, next, end_body, c);
    while (!atomic_load(&c->may_go))
        (void)poll(NULL, 0, 1);
    atomic_store(&c->runs, false);
    atomic_store(&c->may_go, false);
    return gcorn_body_text(env, "done");
}

static void open_pool(struct worker_case *t, unsigned threads)
{
    worker_case_open(t, handler, threads);
    shown_slot = t->slot;
}

static int open_case(void **state)
{
    static const struct slot none;

    *state = calloc(1, sizeof(struct worker_case));
    shown_slot = &none;
    memset(calls, 0, sizeof(calls));
    atomic_store(&started, 0);
    return *state ? 0 : -1;
}

static int close_case(void **state)
{
    worker_case_close(*state);
    free(*state);
    return 0;
}

static int run(struct worker_case *t, int n)
{
    char target[3] = {'/', (char)('0' + n), '\0'};
    int client = worker_case_ask(t, target);

    WORKER_CASE_UNTIL(t, atomic_load(&calls[n].runs));
    return client;
}

static const char *let_go(struct worker_case *t, int n, int client)
{
    atomic_store(&calls[n].may_go, true);
    return worker_case_answer(t, client, "done");
}

static void answer(struct worker_case *t, int n, int client)
{
    (void)let_go(t, n, client);
    (void)close(client);
}

/* ---- a thread, taken again --------------------------------------------------------------- */

static void test_answer_has_the_date_of_its_call(void **state)
{
    struct worker_case *t = *state;
    char now[64];

    worker_case_open(t, handler, 1);
    call_stop(t->w);
    http_context_set_date(&t->w->http, 784111777); /* 1994: what each thread gets a copy of */
    call_open(t->w);
    int client = worker_case_ask(t, "/1?i"); /* the thread makes the head with the first piece */
    const char *text = let_go(t, 1, client);
    time_t clock = time(NULL);
    (void)strftime(now, sizeof(now), "Date: %a, %d %b %Y", gmtime(&clock));
    assert_non_null(strstr(text, now));
    (void)close(client);
}

static void extend(struct gcorn_environ *env)
{
    gcorn_extend_deadline(env, 3600 * 1000);
}

static void test_deadline_is_extended_for_one_call(void **state)
{
    struct worker_case *t = *state;
    struct slot_call *shown;

    open_pool(t, 1);
    shown = &t->slot->calls[0];
    calls[1].in_handler = extend;
    int client = run(t, 1);
    assert_true(atomic_load(&shown->until_ms) > now_ms() + 3500 * 1000);
    (void)let_go(t, 1, client);
    worker_case_send(client, "GET /2 HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, atomic_load(&calls[2].runs));
    assert_int_equal(atomic_load(&shown->until_ms), 0);
    answer(t, 2, client);
}

/* Of the thread that runs the call, not of another one, and never shorter than it was. */
static void test_deadline_is_that_of_the_calls_thread(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 2);
    int first = run(t, 1), second = run(t, 2);
    unsigned thread = stream_of(calls[2].env)->x->call.slot_index;
    gcorn_extend_deadline(calls[2].env, 50000);
    uint64_t until_ms = atomic_load(&t->slot->calls[thread].until_ms);
    assert_true(until_ms >= now_ms() + 40000 && until_ms <= now_ms() + 50000);
    gcorn_extend_deadline(calls[2].env, 10);
    assert_int_equal(atomic_load(&t->slot->calls[thread].until_ms), until_ms);
    assert_int_equal(atomic_load(&t->slot->calls[1 - thread].until_ms), 0);
    answer(t, 1, first);
    answer(t, 2, second);
}

static void test_slot_shows_a_call_while_it_runs(void **state)
{
    struct worker_case *t = *state;
    uint64_t before = now_ms();

    worker_case_init(t);
    for (unsigned i = 0; i < 2; i++) { /* left behind by another life of the slot */
        slot_call_begin(&t->slot->calls[i], 12345);
        atomic_store(&t->slot->calls[i].until_ms, 99);
    }
    worker_case_start(t, handler, 2);
    assert_int_equal(t->slot->call_count, 2);
    assert_int_equal(slot_running_calls(t->slot), 0);
    assert_int_equal(atomic_load(&t->slot->calls[1].until_ms), 0);
    int client = run(t, 1);
    unsigned thread = stream_of(calls[1].env)->x->call.slot_index;
    const struct slot_call *shown = &t->slot->calls[thread];
    const struct call *call = &stream_of(calls[1].env)->x->call;
    assert_true(call->handed_ns >= before * 1000000 && call->handed_ns <= call->taken_ns);
    assert_true(slot_call_started_ms(shown) >= before && slot_call_started_ms(shown) <= now_ms());
    assert_string_equal(shown->target, "/1");
    assert_string_equal(shown->method, "GET");
    assert_int_equal(shown->answers, 1);
    assert_int_equal(t->slot->state, SLOT_CALLING);
    assert_ptr_equal(call_serving(t->w, thread), stream_of(calls[1].env));
    assert_null(call_serving(t->w, 1 - thread));
    answer(t, 1, client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_int_equal(slot_running_calls(t->slot), 0);
    assert_null(call_serving(t->w, thread));
    assert_int_equal(t->slot->state, SLOT_IDLE);
}

static void test_request_has_its_threads_context_in_the_call_alone(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int client = worker_case_ask(t, "/1?i");
    atomic_store(&calls[1].waits, true);
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    assert_ptr_not_equal(calls[1].context, &t->w->http);
    assert_ptr_equal(calls[1].env->context, &t->w->http);
    atomic_store(&calls[1].waits, false);
    gcorn_wake(atomic_load(&calls[1].ticket));
    answer(t, 1, client);
}

static void test_thread_is_ready_for_faults_and_blocks_no_signal(void **state)
{
    struct worker_case *t = *state;
    sigset_t faults, before;

    (void)sigemptyset(&faults);
    (void)sigaddset(&faults, SIGSEGV);
    (void)sigaddset(&faults, SIGABRT);
    (void)pthread_sigmask(SIG_BLOCK, &faults, &before);
    open_pool(t, 1);
    (void)pthread_sigmask(SIG_SETMASK, &before, &faults);
    assert_int_equal(sigismember(&faults, SIGSEGV), 1); /* the creator's mask is as it was */
    int client = run(t, 1);
    assert_true(calls[1].has_alt_stack);
    assert_int_equal(calls[1].blocked_signals, 0);
    assert_string_equal(calls[1].thread_name, "gcorn-call-0");
    answer(t, 1, client);
}

static void send_hint(struct gcorn_environ *env)
{
    assert_int_equal(gcorn_interim(env, "103 Early Hints", NULL), 0);
}

static void test_interim_leaves_while_thread_runs_call(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    calls[1].in_handler = send_hint;
    int client = run(t, 1);
    assert_string_equal(worker_case_answer(t, client, "\r\n\r\n"),
                        "HTTP/1.1 103 Early Hints\r\n\r\n");
    assert_memory_equal(let_go(t, 1, client), "HTTP/1.1 200 OK\r\n", 17);
    (void)close(client);
}

static void wait_and_send_hint(struct gcorn_environ *env)
{
    while (!atomic_load(&call_named(env)->may_go))
        (void)poll(NULL, 0, 1);
    send_hint(env);
}

/* The loop hears of both at once. */
static void test_interim_of_call_that_is_over_precedes_answer(void **state)
{
    static const char want[] = "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n";
    struct worker_case *t = *state;

    open_pool(t, 1);
    calls[1].in_handler = wait_and_send_hint;
    int client = worker_case_ask(t, "/1");
    WORKER_CASE_UNTIL(t, slot_running_calls(t->slot) == 1);
    atomic_store(&calls[1].may_go, true);
    uint64_t until_ms = now_ms() + WORKER_CASE_PATIENCE_MS;
    while (atomic_load(&t->slot->calls[0].started_ms) != 0 && now_ms() < until_ms)
        (void)poll(NULL, 0, 1); /* the loop stands still meanwhile */
    assert_memory_equal(worker_case_answer(t, client, "done"), want, sizeof(want) - 1);
    (void)close(client);
}

/* ---- the queues -------------------------------------------------------------------------- */

static void test_calls_wait_in_order_for_a_thread(void **state)
{
    struct worker_case *t = *state;
    int clients[4];

    open_pool(t, 1);
    clients[1] = run(t, 1);
    assert_true(call_is_busy(t->w));
    for (int i = 2; i < 4; i++) {
        char target[3] = {'/', (char)('0' + i), '\0'};
        clients[i] = worker_case_ask(t, target);
        worker_case_turns(t);
    }
    for (int i = 1; i < 4; i++) {
        WORKER_CASE_UNTIL(t, atomic_load(&calls[i].runs));
        assert_false(i < 3 && atomic_load(&calls[i + 1].runs));
        answer(t, i, clients[i]);
    }
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_false(call_is_busy(t->w));
}

static void test_request_that_queued_too_long_is_not_run(void **state)
{
    struct worker_case *t = *state;

    worker_case_init(t);
    t->config.queue_timeout_ms = 30;
    worker_case_start(t, handler, 1);
    int first = run(t, 1), second = worker_case_ask(t, "/2");
    uint64_t until = now_ms() + 60;
    WORKER_CASE_UNTIL(t, now_ms() > until);
    answer(t, 1, first);
    assert_non_null(strstr(worker_case_answer(t, second, "HTTP/1.1"), "HTTP/1.1 503 "));
    assert_false(atomic_load(&calls[2].runs));
    assert_int_equal(t->slot->counts.shed, 1);
    assert_int_equal(t->slot->counts.begun, 2);
    (void)close(second);
    first = run(t, 3); /* the place, the thread and the request are as new */
    answer(t, 3, first);
}

static void test_each_thread_of_a_pool_runs_a_call(void **state)
{
    struct worker_case *t = *state;
    int clients[4];

    open_pool(t, 3);
    for (int i = 1; i < 4; i++)
        clients[i] = run(t, i);
    assert_int_equal(slot_running_calls(t->slot), 3);
    for (int i = 1; i < 4; i++) {
        unsigned thread = stream_of(calls[i].env)->x->call.slot_index;
        assert_int_equal(t->slot->calls[thread].target[1], '0' + i);
    }
    for (int i = 1; i < 4; i++)
        answer(t, i, clients[i]);
}

/* ---- two events that meet ---------------------------------------------------------------- */

/* A wake that comes while the call runs that finds nothing: next is called again. */
static void test_wake_during_a_call_is_not_lost(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 2);
    int first = worker_case_ask(t, "/1?i");
    atomic_store(&calls[1].waits, true);
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    struct stream *s = stream_of(calls[1].env);
    unsigned nexts = atomic_load(&calls[1].nexts);
    stream_wake(s); /* handed over: the call is on its way */
    assert_int_equal(s->phase, STREAM_CALLING);
    stream_wake(s);
    WORKER_CASE_UNTIL(t, atomic_load(&calls[1].nexts) == nexts + 2);
    worker_case_turns(t);
    assert_int_equal(atomic_load(&calls[1].nexts), nexts + 2); /* and not a third time */
    atomic_store(&calls[1].waits, false);
    gcorn_wake(atomic_load(&calls[1].ticket));
    answer(t, 1, first);
    WORKER_CASE_UNTIL(t, atomic_load(&calls[1].closes) == 1);
}

static void test_drain_while_a_call_runs(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int client = run(t, 1);
    worker_case_order(t, DOWN_RETIRE, 0);
    WORKER_CASE_UNTIL(t, t->w->draining);
    assert_int_equal(t->slot->state, SLOT_DRAINING);
    const char *text = let_go(t, 1, client);
    assert_non_null(strstr(text, "Connection: close"));
    WORKER_CASE_UNTIL(t, worker_case_is_closed(client));
    assert_int_equal(t->slot->state, SLOT_DRAINING);
    (void)close(client);
}

static void test_slot_says_draining_during_later_calls(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int first = run(t, 1), second = worker_case_ask(t, "/2");
    worker_case_turns(t);
    worker_case_order(t, DOWN_STOP, 1000);
    WORKER_CASE_UNTIL(t, t->w->draining);
    answer(t, 1, first);
    WORKER_CASE_UNTIL(t, atomic_load(&calls[2].runs));
    assert_int_equal(t->slot->state, SLOT_DRAINING);
    answer(t, 2, second);
}

/* The client leaves while its call runs: the request ends when the call does. */
/* A stream that is woken by the drain is called in a thread. */
static void test_slot_says_draining_when_a_drain_wakes_a_stream(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int client = worker_case_ask(t, "/1?i");
    atomic_store(&calls[1].waits, true);
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    unsigned nexts = atomic_load(&calls[1].nexts);
    worker_case_order(t, DOWN_RETIRE, 0);
    WORKER_CASE_UNTIL(t, atomic_load(&calls[1].nexts) > nexts);
    assert_int_equal(atomic_load(&calls[1].state_in_next), SLOT_DRAINING);
    atomic_store(&calls[1].waits, false);
    gcorn_wake(atomic_load(&calls[1].ticket));
    answer(t, 1, client);
}

/* The call that ends a request is for no answer: the master must not write its line. */
static void test_slot_shows_the_end_of_a_request_for_no_answer(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    calls[1].answers_at_end = 9;
    int client = worker_case_ask(t, "/1?i");
    answer(t, 1, client);
    WORKER_CASE_UNTIL(t, atomic_load(&calls[1].closes) == 1);
    assert_int_equal(calls[1].answers_at_end, 0);
}

static void test_client_that_leaves_during_a_call(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int client = worker_case_ask(t, "/1?i");
    atomic_store(&calls[1].waits, true);
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_int_equal(atomic_load(&calls[1].closes), 1);
    assert_int_equal(slot_requests(&t->slot->counts), 1);
    assert_int_equal(t->slot->counts.ends[ENDED_CLIENT_GONE].count +
                         t->slot->counts.ends[SLOT_ENDED_KINDS].count,
                     1);
    client = run(t, 2);
    answer(t, 2, client);
}

/* What is over is ended, what is not run is dropped, and the pool's threads are gone. */
static void test_stop_ends_what_is_over_and_runs_nothing_new(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int first = run(t, 1), ending, waiting;
    ending = worker_case_ask(t, "/3?i"); /* no thread is free */
    waiting = worker_case_ask(t, "/2");
    worker_case_turns(t);
    atomic_store(&calls[1].may_go, true);
    call_stop(t->w);
    assert_int_equal(atomic_load(&started), 1);
    assert_false(atomic_load(&calls[2].runs));
    for (size_t i = 0; i < t->w->table_used; i++) {
        struct conn *c = &t->w->conns[i];
        if (c->state != CONN_FREE) {
            c->h1.env->response.ended = "stopped";
            conn_drop(c);
        }
    }
    (void)close(first);
    (void)close(ending);
    (void)close(waiting);
}

/* A call that ends a request waits for a thread when the pool stops: the body is closed. */
static void test_stop_runs_the_ends_that_wait(void **state)
{
    struct worker_case *t = *state;

    open_pool(t, 1);
    int first = worker_case_ask(t, "/1?i");
    atomic_store(&calls[1].waits, true);
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    int second = run(t, 2);
    conn_drop(conn_of(stream_of(calls[1].env))); /* its end waits for the thread */
    atomic_store(&calls[2].may_go, true);
    call_stop(t->w);
    assert_int_equal(atomic_load(&calls[1].closes), 1);
    assert_null(t->w->conns[0].h1.env); /* it has been given back */
    for (size_t i = 0; i < t->w->table_used; i++) {
        struct conn *c = &t->w->conns[i];
        if (c->h1.phase == STREAM_CALLING)
            conn_drop(c);
    }
    (void)close(first);
    (void)close(second);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_answer_has_the_date_of_its_call),
        CASE(test_deadline_is_extended_for_one_call),
        CASE(test_deadline_is_that_of_the_calls_thread),
        CASE(test_slot_shows_a_call_while_it_runs),
        CASE(test_request_has_its_threads_context_in_the_call_alone),
        CASE(test_thread_is_ready_for_faults_and_blocks_no_signal),
        CASE(test_interim_leaves_while_thread_runs_call),
        CASE(test_interim_of_call_that_is_over_precedes_answer),
        CASE(test_calls_wait_in_order_for_a_thread),
        CASE(test_request_that_queued_too_long_is_not_run),
        CASE(test_each_thread_of_a_pool_runs_a_call),
        CASE(test_wake_during_a_call_is_not_lost),
        CASE(test_drain_while_a_call_runs),
        CASE(test_slot_says_draining_during_later_calls),
        CASE(test_slot_says_draining_when_a_drain_wakes_a_stream),
        CASE(test_slot_shows_the_end_of_a_request_for_no_answer),
        CASE(test_client_that_leaves_during_a_call),
        CASE(test_stop_ends_what_is_over_and_runs_nothing_new),
        CASE(test_stop_runs_the_ends_that_wait),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
