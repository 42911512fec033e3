/* SPDX-License-Identifier: MIT
 *
 * What the loop calls for no request: timers, posts and threads of the application; in both classes
 * of workers.
 */
#include "worker_case.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>

#include "gcorn.h"
#include "system/process/loop.h"
#include "worker/callback/app_threads.h"
#include "worker/callback/callback.h"
#include "worker/callback/posts.h"
#include "worker/loop/upward.h"

#define TEXT(text) ((void *)(uintptr_t)(text)) /* for a function that only reads it */

static struct worker_case *the_case;
static char order[32];
static unsigned calls;
static uint64_t called_us, next_called_us;
static struct gcorn_timer *timer;

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "");
}

static void open_case(void **state, unsigned threads)
{
    struct worker_case *t = calloc(1, sizeof(*t));

    order[0] = '\0';
    calls = 0;
    timer = NULL;
    worker_case_open(t, handler, threads);
    *state = the_case = t;
}

static int open_sync(void **state)
{
    open_case(state, 0);
    return 0;
}

static int open_gthread(void **state)
{
    open_case(state, 2);
    return 0;
}

static int close_case(void **state)
{
    worker_case_close(*state);
    free(*state);
    return 0;
}

/* The slot's entry of the loop's thread. */
static struct slot_call *entry(void)
{
    return &the_case->slot->calls[call_thread_count(the_case->w)];
}

static void count(void *arg)
{
    (void)arg;
    calls++;
    called_us = gcorn_now_us();
}

static void append(void *arg)
{
    assert_true(strlen(order) + 1 < sizeof(order));
    strcat(order, arg);
}

/* ---- timers ------------------------------------------------------------------------------ */

static void test_once_is_not_early(void **state)
{
    (void)poll(NULL, 0, 25); /* the loop's own clock is behind by so much */
    uint64_t from_us = gcorn_now_us();
    assert_non_null(gcorn_timer_once(20, count, NULL));
    WORKER_CASE_UNTIL(*state, calls == 1);
    assert_true(called_us - from_us >= 20000);
    worker_case_turns(*state);
    assert_int_equal(calls, 1);
}

static void test_once_is_not_called_within(void **state)
{
    assert_non_null(gcorn_timer_once(0, count, NULL));
    assert_int_equal(calls, 0);
    WORKER_CASE_UNTIL(*state, calls == 1);
}

static void test_timers_come_in_order(void **state)
{
    (void)gcorn_timer_once(30, append, TEXT("c"));
    (void)gcorn_timer_once(1, append, TEXT("a"));
    (void)gcorn_timer_once(15, append, TEXT("b"));
    WORKER_CASE_UNTIL(*state, strlen(order) == 3);
    assert_string_equal(order, "abc");
}

/* The second call takes more than three periods. */
static void count_and_sleep(void *arg)
{
    count(arg);
    if (calls == 2)
        (void)poll(NULL, 0, 175);
    if (calls == 3)
        next_called_us = called_us;
    if (calls == 4)
        gcorn_timer_stop(timer);
}

static void test_every_keeps_its_phase(void **state)
{
    uint64_t from_us = gcorn_now_us();

    timer = gcorn_timer_every(50, count_and_sleep, NULL);
    WORKER_CASE_UNTIL(*state, calls == 4);
    /* 50, 100 to 275, then 300: what was due at 150, 200 and 250 is left out */
    assert_true(next_called_us - from_us >= 300000);
    assert_true(called_us - from_us >= 350000);
    worker_case_turns(*state);
    assert_int_equal(calls, 4);
}

static void stop_itself(void *arg)
{
    count(arg);
    gcorn_timer_stop(timer);
    gcorn_timer_stop(timer);
}

static void test_timers_stop_in_their_call(void **state)
{
    timer = gcorn_timer_every(1, stop_itself, NULL);
    WORKER_CASE_UNTIL(*state, calls == 1);
    worker_case_turns(*state);
    assert_int_equal(calls, 1);
    timer = gcorn_timer_once(1, stop_itself, NULL);
    WORKER_CASE_UNTIL(*state, calls == 2);
}

/* A late stop must not end the timer that has the place now. */
static void test_stop_after_end_does_nothing(void **state)
{
    struct gcorn_timer *first = gcorn_timer_once(0, count, NULL);

    WORKER_CASE_UNTIL(*state, calls == 1);
    timer = gcorn_timer_once(1, count, NULL);
    assert_ptr_not_equal(timer, first);
    gcorn_timer_stop(first);
    WORKER_CASE_UNTIL(*state, calls == 2);
    timer = gcorn_timer_once(0, count, NULL);
    gcorn_timer_stop(timer);
    gcorn_timer_stop(timer);
    gcorn_timer_stop(NULL);
    worker_case_turns(*state);
    assert_int_equal(calls, 2);
}

static void test_longest_time_is_set(void **state)
{
    (void)state;
    timer = gcorn_timer_every(UINT64_MAX, count, NULL);
    assert_non_null(timer);
    worker_case_turns(*state);
    assert_int_equal(calls, 0);
    gcorn_timer_stop(timer);
}

static void *use_timer(void *arg)
{
    errno = 0;
    assert_null(gcorn_timer_once(0, count, NULL));
    *(int *)arg = errno;
    gcorn_timer_stop(timer);
    return NULL;
}

static void test_timers_refuse_misuse(void **state)
{
    pthread_t thread;
    int error = 0;

    assert_null(gcorn_timer_once(1, NULL, NULL));
    assert_int_equal(errno, EINVAL);
    assert_null(gcorn_timer_every(0, count, NULL));
    assert_int_equal(errno, EINVAL);
    timer = gcorn_timer_once(30, count, NULL);
    assert_int_equal(pthread_create(&thread, NULL, use_timer, &error), 0);
    (void)pthread_join(thread, NULL);
    assert_int_equal(error, EPERM);
    WORKER_CASE_UNTIL(*state, calls == 1); /* another thread has not stopped it */
    worker_set_this(NULL);
    assert_null(gcorn_timer_once(0, count, NULL));
    assert_int_equal(errno, ENOTSUP);
    worker_set_this(the_case->w);
}

/* ---- what the slot shows ------------------------------------------------------------------ */

static void look(void *arg)
{
    const struct slot_call *call = entry();

    calls++;
    assert_true(slot_call_runs(call));
    assert_string_equal(call->method, arg);
    assert_non_null(strstr(call->target, "test_callbacks+0x")); /* it is not exported */
    assert_int_equal(call->request_id, 0);
    assert_int_equal(call->answers, 0);
    assert_int_equal(the_case->slot->state, SLOT_CALLING);
}

static void test_slot_shows_callbacks(void **state)
{
    (void)gcorn_timer_once(0, look, TEXT("TIMER"));
    assert_int_equal(gcorn_post(look, TEXT("POST")), 0);
    WORKER_CASE_UNTIL(*state, calls == 2);
    assert_false(slot_call_runs(entry()));
    assert_int_equal(the_case->slot->state, SLOT_IDLE);
}

static void test_client_time_stands_still(void **state)
{
    uint64_t before = the_case->w->calls_ns;

    (void)gcorn_timer_once(0, count_and_sleep, NULL);
    calls = 1;
    WORKER_CASE_UNTIL(*state, calls == 2);
    assert_true(the_case->w->calls_ns - before >= 175 * UINT64_C(1000000));
}

/* ---- posts ------------------------------------------------------------------------------- */

static void post_again(void *arg)
{
    append(arg);
    assert_int_equal(gcorn_post(append, TEXT("!")), 0);
    append(TEXT("-"));
}

static void test_posts_come_in_order(void **state)
{
    assert_int_equal(gcorn_post(append, TEXT("a")), 0);
    assert_int_equal(gcorn_post(post_again, TEXT("b")), 0);
    assert_int_equal(gcorn_post(append, TEXT("c")), 0);
    assert_string_equal(order, "");
    WORKER_CASE_UNTIL(*state, strlen(order) == 5);
    assert_string_equal(order, "ab-c!");
}

static void test_post_refuses_misuse(void **state)
{
    (void)state;
    assert_int_equal(gcorn_post(NULL, NULL), -1);
    assert_int_equal(errno, EINVAL);
    worker_set_this(NULL);
    assert_int_equal(gcorn_post(count, NULL), -1);
    assert_int_equal(errno, ENOTSUP);
    worker_set_this(the_case->w);
}

enum { POSTERS = 4, POSTS = 5000 };

static unsigned long last_of[POSTERS];

/* arg: the number of the thread, and above it that of the post. */
static void check_order(void *arg)
{
    uintptr_t number = (uintptr_t)arg;

    assert_true(number >> 8 == last_of[number & 255] + 1);
    last_of[number & 255]++;
    calls++;
}

static void *post_many(void *arg)
{
    for (uintptr_t i = 1; i <= POSTS; i++)
        assert_int_equal(gcorn_post(check_order, (void *)(i << 8 | (uintptr_t)arg)), 0);
    return NULL;
}

static void test_threads_post_at_once(void **state)
{
    pthread_t threads[POSTERS];

    memset(last_of, 0, sizeof(last_of));
    for (uintptr_t i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
    WORKER_CASE_UNTIL(*state, calls == POSTERS * POSTS);
    for (size_t i = 0; i < POSTERS; i++)
        (void)pthread_join(threads[i], NULL);
}

static void test_last_posts_run_and_others_fail(void **state)
{
    (void)state;
    assert_int_equal(gcorn_post(post_again, TEXT("a")), 0);
    posts_close(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS);
    assert_string_equal(order, "a-!");
    assert_int_equal(gcorn_post(append, TEXT("late")), -1);
    assert_int_equal(errno, ESHUTDOWN);
    posts_run(the_case->w);
    assert_string_equal(order, "a-!");
}

static int refusal; /* errno of the post that is refused */

static void post_for_ever(void *arg)
{
    calls++;
    if (gcorn_post(post_for_ever, arg) < 0)
        refusal = errno;
}

static void test_endless_posts_are_refused_at_the_end(void **state)
{
    (void)state;
    refusal = 0;
    assert_int_equal(gcorn_post(post_for_ever, NULL), 0);
    posts_run(the_case->w);
    assert_true(calls == 1);
    posts_close(the_case->w, now_ms());
    assert_true(calls > 1);
    assert_int_equal(refusal, ESHUTDOWN);
}

/* ---- threads ----------------------------------------------------------------------------- */

static _Atomic bool is_to_stop, is_running;
static _Atomic unsigned stops;

static void run_until_stopped(void *arg)
{
    sigset_t blocked;

    (void)pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    assert_int_equal(sigismember(&blocked, SIGTERM), 1);
    assert_int_equal(sigismember(&blocked, SIGUSR1), 1);
    assert_int_equal(sigismember(&blocked, SIGSEGV), 0);
    atomic_store(&is_running, true);
    while (!atomic_load(&is_to_stop))
        (void)poll(NULL, 0, 1);
    if (arg)
        assert_int_equal(gcorn_post(append, arg), 0); /* its last word */
}

static void stop(void *arg)
{
    (void)arg;
    assert_true(slot_call_runs(entry()));
    assert_string_equal(entry()->method, "STOP");
    atomic_fetch_add(&stops, 1);
    atomic_store(&is_to_stop, true);
}

static void begin_threads(void)
{
    atomic_store(&is_to_stop, false);
    atomic_store(&is_running, false);
    atomic_store(&stops, 0);
}

static void test_threads_are_stopped_and_joined(void **state)
{
    begin_threads();
    assert_int_equal(gcorn_thread_start("first", run_until_stopped, stop, TEXT("x")), 0);
    assert_int_equal(gcorn_thread_start(NULL, run_until_stopped, NULL, NULL), 0);
    WORKER_CASE_UNTIL(*state, atomic_load(&is_running));
    app_threads_stop(the_case->w);
    assert_true(app_threads_join(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS));
    posts_close(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS);
    assert_int_equal(atomic_load(&stops), 1);
    assert_string_equal(order, "x");
    assert_int_equal(gcorn_thread_start("late", run_until_stopped, stop, NULL), -1);
    assert_int_equal(errno, ESHUTDOWN);
}

static void end_at_once(void *arg)
{
    (void)arg;
}

static void test_thread_may_end_by_itself(void **state)
{
    begin_threads();
    for (int i = 0; i < 20; i++)
        assert_int_equal(gcorn_thread_start("short", end_at_once, NULL, NULL), 0);
    worker_case_turns(*state);
    app_threads_stop(the_case->w);
    assert_true(app_threads_join(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS));
}

static pthread_key_t at_thread_end;
static _Atomic int started_at_end;

static void start_at_end(void *arg)
{
    (void)arg;
    (void)poll(NULL, 0, 20); /* until the loop joins this thread */
    atomic_store(&started_at_end,
                 gcorn_thread_start("late", end_at_once, NULL, NULL) == 0 ? 1 : -1);
}

static void leave_data(void *arg)
{
    assert_int_equal(pthread_setspecific(at_thread_end, arg), 0);
}

static void test_end_of_thread_may_start_another(void **state)
{
    atomic_store(&started_at_end, 0);
    assert_int_equal(pthread_key_create(&at_thread_end, start_at_end), 0);
    assert_int_equal(gcorn_thread_start("first", leave_data, NULL, TEXT("x")), 0);
    WORKER_CASE_UNTIL(*state, atomic_load(&started_at_end) == 1);
    app_threads_stop(the_case->w);
    assert_true(app_threads_join(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS));
    (void)pthread_key_delete(at_thread_end);
}

static void test_threads_that_go_on_are_left(void **state)
{
    begin_threads();
    assert_int_equal(gcorn_thread_start("endless", run_until_stopped, NULL, NULL), 0);
    WORKER_CASE_UNTIL(*state, atomic_load(&is_running));
    app_threads_stop(the_case->w);
    assert_false(app_threads_join(the_case->w, now_ms() + 50));
    atomic_store(&is_to_stop, true); /* for the sanitizers: nothing is left */
    assert_true(app_threads_join(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS));
}

static _Atomic bool has_posted;

static void note_post(void *arg)
{
    (void)arg;
    atomic_store(&has_posted, true);
}

/* It waits for the loop, which waits for it. */
static void post_and_wait(void *arg)
{
    (void)arg;
    assert_int_equal(gcorn_post(note_post, NULL), 0);
    while (!atomic_load(&has_posted))
        (void)poll(NULL, 0, 1);
}

static void test_posts_run_while_threads_end(void **state)
{
    (void)state;
    atomic_store(&has_posted, false);
    assert_int_equal(gcorn_thread_start("asks", post_and_wait, NULL, NULL), 0);
    app_threads_stop(the_case->w);
    assert_true(app_threads_join(the_case->w, now_ms() + WORKER_CASE_PATIENCE_MS));
    assert_true(atomic_load(&has_posted));
}

static void test_thread_refuses_misuse(void **state)
{
    (void)state;
    assert_int_equal(gcorn_thread_start("none", NULL, NULL, NULL), -1);
    assert_int_equal(errno, EINVAL);
    worker_set_this(NULL);
    assert_int_equal(gcorn_thread_start("none", end_at_once, NULL, NULL), -1);
    assert_int_equal(errno, ENOTSUP);
    worker_set_this(the_case->w);
}

#define IN_BOTH(test)                                                                              \
    {"sync " #test, test, open_sync, close_case, NULL},                                            \
    {                                                                                              \
        "gthread " #test, test, open_gthread, close_case, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_BOTH(test_once_is_not_early),
        IN_BOTH(test_once_is_not_called_within),
        IN_BOTH(test_timers_come_in_order),
        IN_BOTH(test_every_keeps_its_phase),
        IN_BOTH(test_timers_stop_in_their_call),
        IN_BOTH(test_stop_after_end_does_nothing),
        IN_BOTH(test_longest_time_is_set),
        IN_BOTH(test_timers_refuse_misuse),
        IN_BOTH(test_slot_shows_callbacks),
        IN_BOTH(test_client_time_stands_still),
        IN_BOTH(test_posts_come_in_order),
        IN_BOTH(test_post_refuses_misuse),
        IN_BOTH(test_threads_post_at_once),
        IN_BOTH(test_last_posts_run_and_others_fail),
        IN_BOTH(test_endless_posts_are_refused_at_the_end),
        IN_BOTH(test_threads_are_stopped_and_joined),
        IN_BOTH(test_thread_may_end_by_itself),
        IN_BOTH(test_end_of_thread_may_start_another),
        IN_BOTH(test_threads_that_go_on_are_left),
        IN_BOTH(test_posts_run_while_threads_end),
        IN_BOTH(test_thread_refuses_misuse),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
