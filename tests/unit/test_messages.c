/* SPDX-License-Identifier: MIT
 *
 * A worker that publishes and has subscribed: its loop delivers what it and a sibling have
 * published, sleeps otherwise, and threads may take part.
 */
#include "worker_case.h"

#include <pthread.h>
#include <sched.h>
#include <sys/eventfd.h>

#include "http/subscriptions.h"
#include "system/messages/message_bus.h"
#include "system/messages/named_memory.h"
#include "worker/messages/messages.h"

enum { RINGS = 4, SIZE = 64 * 1024 };

static struct worker_case the_case;
static struct message_bus bus, siblings;
static struct named_memory memory;
static struct ring_writer sibling;
static _Atomic unsigned long received, lost;
static char last[64];

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_text(env, "whole");
}

static void join_sibling(void)
{
    siblings = bus;
    siblings.map = NULL;
    assert_int_equal(message_bus_open(&siblings), 0);
    int index = message_bus_claim(&siblings, 1);
    assert_true(index >= 0);
    const struct message_ring ring = message_bus_ring(&siblings, (unsigned)index);
    ring_writer_init(&sibling, &ring);
}

static int open_with(unsigned threads)
{
    assert_int_equal(message_bus_new(&bus, RINGS, SIZE), 0);
    assert_int_equal(named_memory_new(&memory, 4096), 0);
    join_sibling();
    message_bus_unmap(&bus);
    worker_case_open(&the_case, handler, threads);
    the_case.args.bus = &bus;
    the_case.args.shared_memory = &memory;
    messages_init(the_case.w);
    received = lost = 0;
    last[0] = '\0';
    return 0;
}

static int set_up(void **state)
{
    (void)state;
    return open_with(0);
}

static int set_up_pool(void **state)
{
    (void)state;
    return open_with(2);
}

static int tear_down(void **state)
{
    (void)state;
    messages_release(the_case.w);
    worker_case_close(&the_case);
    message_bus_release(&bus);
    siblings.fd = siblings.wake_fd = -1; /* the same */
    message_bus_release(&siblings);
    named_memory_release(&memory);
    return 0;
}

static void sibling_publishes(const char *channel, const char *data, size_t len)
{
    const struct ring_item item = {.channel = channel,
                                   .channel_len = strlen(channel),
                                   .hash = channel_hash(channel, strlen(channel)),
                                   .data = data,
                                   .len = len};

    assert_int_equal(ring_write(&sibling, &item), 0);
    message_bus_wake(&siblings);
}

static void count(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)arg;
    if (!data) {
        lost += len;
        return;
    }
    assert_int_equal(strlen(data), len);
    received++;
    (void)snprintf(last, sizeof(last), "%s", (const char *)data);
}

/* ---- delivering -------------------------------------------------------------------------- */

static void test_own_messages_come_later(void **state)
{
    (void)state;
    assert_non_null(gcorn_subscribe("a", count, NULL));
    assert_int_equal(gcorn_publish("a", "own", 3), 0);
    assert_int_equal(gcorn_publish("b", "other", 5), 0);
    assert_int_equal(received, 0);
    WORKER_CASE_UNTIL(&the_case, received == 1);
    assert_string_equal(last, "own");
    assert_int_equal(the_case.slot->counts.published, 2);
    assert_int_equal(the_case.slot->counts.delivered, 1);
}

static bool was_woken(void)
{
    uint64_t wakes;

    return eventfd_read(bus.wake_fd, &wakes) == 0;
}

static void *publish_late(void *unused)
{
    const struct timespec pause = {.tv_nsec = 20000000};

    (void)nanosleep(&pause, NULL);
    sibling_publishes("a", "hello", 5);
    return unused;
}

/* No timer is set, so the loop sleeps until it is woken; or until the alarm ends the test. */
static void test_sleeping_worker_is_woken_by_a_sibling(void **state)
{
    pthread_t thread;

    (void)state;
    assert_non_null(gcorn_subscribe("a", count, NULL));
    (void)alarm(60);
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(pthread_create(&thread, NULL, publish_late, NULL), 0);
        (void)ev_run(the_case.w->loop, EVRUN_ONCE);
        (void)ev_run(the_case.w->loop, EVRUN_NOWAIT); /* delivers before it would sleep */
        assert_int_equal(received, i);
        (void)pthread_join(thread, NULL);
    }
    (void)alarm(0);
}

static void test_message_shows_in_the_slot(void **state)
{
    (void)state;
    assert_non_null(gcorn_subscribe("a", count, NULL));
    sibling_publishes("a", "hello", 5);
    WORKER_CASE_UNTIL(&the_case, received == 1);
    const struct slot_call *call = &the_case.slot->calls[call_thread_count(the_case.w)];
    assert_string_equal(call->method, "PUBLISH");
    assert_string_equal(call->target, "a");
    assert_false(slot_call_runs(call));
}

static void test_overtaken_worker_tells_its_subscriptions(void **state)
{
    char data[1001];

    (void)state;
    memset(data, 'd', sizeof(data) - 1);
    data[sizeof(data) - 1] = '\0';
    assert_non_null(gcorn_subscribe("a", count, NULL));
    for (int i = 0; i < 200; i++)
        sibling_publishes("a", data, sizeof(data) - 1);
    WORKER_CASE_UNTIL(&the_case, received + lost == 200);
    assert_in_range(received, SIZE / 2 / 1050, SIZE / 2 / 1000);
    assert_int_equal(the_case.slot->counts.messages_lost, lost);
}

static void test_without_subscriptions_nothing_is_watched(void **state)
{
    (void)state;
    struct gcorn_subscription *s = gcorn_subscribe("a", count, NULL);
    assert_non_null(s);
    worker_case_turns(&the_case);
    gcorn_unsubscribe(s);
    sibling_publishes("a", "takes the mark of sleep", 23);
    (void)was_woken();
    worker_case_turns(&the_case);
    sibling_publishes("a", "hello", 5);
    assert_false(was_woken());
    s = gcorn_subscribe("a", count, NULL);
    worker_case_turns(&the_case);
    assert_int_equal(received, 0); /* nothing from before */
    sibling_publishes("a", "again", 5);
    WORKER_CASE_UNTIL(&the_case, received == 1);
    assert_string_equal(last, "again");
    gcorn_unsubscribe(s);
}

static void test_wrong_calls_are_refused(void **state)
{
    static char long_text[SIZE];
    char name[66];

    (void)state;
    memset(name, 'n', 65);
    name[65] = '\0';
    assert_int_equal(gcorn_publish(NULL, "", 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_publish(name, "", 0), -1);
    assert_int_equal(gcorn_publish("a", NULL, 1), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_publish("a", NULL, 0), 0);
    assert_int_equal(gcorn_publish("a", long_text, sizeof(long_text)), -1);
    assert_int_equal(errno, EMSGSIZE);
    assert_null(gcorn_subscribe("", count, NULL));
    assert_null(gcorn_subscribe("a", NULL, NULL));
    assert_int_equal(errno, EINVAL);
    gcorn_unsubscribe(NULL);
    assert_non_null(gcorn_shared("a", 8, NULL));
    assert_null(gcorn_shared("a", 9, NULL));
    worker_set_this(NULL);
    assert_int_equal(gcorn_publish("a", "", 0), -1);
    assert_int_equal(errno, ENOTSUP);
    assert_null(gcorn_subscribe("a", count, NULL));
    assert_int_equal(errno, ENOTSUP);
    assert_null(gcorn_shared("a", 8, NULL));
    worker_set_this(the_case.w);
}

static void test_no_free_ring_is_an_error(void **state)
{
    (void)state;
    while (message_bus_claim(&siblings, 1) >= 0)
        continue;
    assert_int_equal(gcorn_publish("a", "", 0), -1);
    assert_int_equal(errno, ENOSPC);
    assert_null(gcorn_subscribe("a", count, NULL));
    assert_int_equal(errno, ENOSPC);
}

/* ---- threads ----------------------------------------------------------------------------- */

enum { EACH = 300 };

static void *publish_many(void *unused)
{
    for (int i = 0; i < EACH; i++) {
        if (gcorn_publish("a", "from a thread", 13) < 0)
            abort();
        (void)sched_yield();
    }
    return unused;
}

static void *come_and_go(void *unused)
{
    for (int i = 0; i < EACH; i++) {
        struct gcorn_subscription *s = gcorn_subscribe("b", count, NULL);

        if (!s)
            abort();
        gcorn_unsubscribe(s);
    }
    return unused;
}

static void test_threads_take_part(void **state)
{
    void *(*const run[])(void *) = {publish_many, publish_many, come_and_go};
    pthread_t threads[ARRAY_LEN(run)];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(run); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run[i], NULL), 0);
    struct gcorn_subscription *s = gcorn_subscribe("a", count, NULL);
    for (int i = 0; i < EACH; i++)
        sibling_publishes("a", "sibling", 7);
    WORKER_CASE_UNTIL(&the_case, received >= EACH);
    for (size_t i = 0; i < ARRAY_LEN(run); i++)
        (void)pthread_join(threads[i], NULL);
    unsigned long before = received;
    assert_int_equal(gcorn_publish("a", "the last", 8), 0);
    WORKER_CASE_UNTIL(&the_case, strcmp(last, "the last") == 0);
    assert_true(received > before && lost == 0);
    gcorn_unsubscribe(s);
}

static void *subscribe_alone(void *unused)
{
    if (!gcorn_subscribe("a", count, NULL))
        abort();
    return unused;
}

static void test_first_subscription_of_a_thread_starts_the_loops_watch(void **state)
{
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, subscribe_alone, NULL), 0);
    (void)pthread_join(thread, NULL);
    sibling_publishes("a", "hello", 5);
    WORKER_CASE_UNTIL(&the_case, received == 1);
}

#define ROW(test)      cmocka_unit_test_setup_teardown(test, set_up, tear_down)
#define POOL_ROW(test) cmocka_unit_test_setup_teardown(test, set_up_pool, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_own_messages_come_later),
        ROW(test_sleeping_worker_is_woken_by_a_sibling),
        ROW(test_message_shows_in_the_slot),
        POOL_ROW(test_message_shows_in_the_slot),
        ROW(test_overtaken_worker_tells_its_subscriptions),
        ROW(test_without_subscriptions_nothing_is_watched),
        ROW(test_wrong_calls_are_refused),
        ROW(test_no_free_ring_is_an_error),
        POOL_ROW(test_threads_take_part),
        ROW(test_first_subscription_of_a_thread_starts_the_loops_watch),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
