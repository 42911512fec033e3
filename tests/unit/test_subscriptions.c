/* SPDX-License-Identifier: MIT
 *
 * Who gets which message, and what happens to subscriptions that come and go while functions are
 * called.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "http/subscriptions.h"

static struct subscriptions all;
static char seen[256]; /* what was called: "a:text " */
static struct gcorn_subscription *self, *other;
static char two[] = "2", never[] = "never", new_one[] = "new ";

static int set_up(void **state)
{
    (void)state;
    subscriptions_init(&all);
    seen[0] = '\0';
    self = other = NULL;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    subscriptions_release(&all);
    return 0;
}

static void note(const char *channel, const void *data, size_t len, void *arg)
{
    char text[64];

    if (data)
        (void)snprintf(text, sizeof(text), "%s%s:%.*s ", arg ? (const char *)arg : "", channel,
                       (int)len, (const char *)data);
    else
        (void)snprintf(text, sizeof(text), "%s lost %zu ", channel, len);
    (void)strncat(seen, text, sizeof(seen) - strlen(seen) - 1);
}

static void call(void *state, const char *channel, gcorn_message_fn *fn, void *arg,
                 const struct subscription_news *news)
{
    ++*(size_t *)state;
    fn(channel, news->data, news->len, arg);
}

static size_t send(const char *channel, const char *text)
{
    const struct subscription_news news = {.channel = channel,
                                           .hash = channel_hash(channel, strlen(channel)),
                                           .data = text,
                                           .len = strlen(text)};
    size_t called = 0;

    size_t count = subscriptions_call(&all, &news, call, &called);
    assert_int_equal(count, called);
    return count;
}

static bool want(const char *channel)
{
    return subscriptions_want(&all, channel, channel_hash(channel, strlen(channel)));
}

static void test_each_channel_has_its_own(void **state)
{
    (void)state;
    assert_int_equal(send("a", "none"), 0);
    (void)subscriptions_add(&all, "a", note, NULL);
    (void)subscriptions_add(&all, "b", note, NULL);
    (void)subscriptions_add(&all, "a", note, two);
    assert_true(want("a") && want("b") && !want("c") && !want("ab"));
    assert_int_equal(send("a", "x"), 2);
    assert_int_equal(send("b", "y"), 1);
    assert_int_equal(send("c", "z"), 0);
    assert_string_equal(seen, "2a:x a:x b:y ");
}

static void test_all_are_told_of_a_loss(void **state)
{
    const struct subscription_news news = {.len = 7};
    size_t called = 0;

    (void)state;
    (void)subscriptions_add(&all, "a", note, NULL);
    (void)subscriptions_add(&all, "b", note, NULL);
    assert_int_equal(subscriptions_call(&all, &news, call, &called), 2);
    assert_non_null(strstr(seen, "a lost 7 "));
    assert_non_null(strstr(seen, "b lost 7 "));
}

static void test_channels_are_1_to_64_bytes(void **state)
{
    char name[CHANNEL_MAX + 2];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[CHANNEL_MAX + 1] = '\0';
    assert_false(channel_is_valid(NULL));
    assert_false(channel_is_valid(""));
    assert_false(channel_is_valid(name));
    name[CHANNEL_MAX] = '\0';
    assert_true(channel_is_valid(name));
    (void)subscriptions_add(&all, name, note, NULL);
    assert_int_equal(send(name, "x"), 1);
}

static void test_there_are_at_most_1024(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < SUBSCRIPTIONS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        self = subscriptions_add(&all, name, note, NULL);
        assert_non_null(self);
    }
    assert_null(subscriptions_add(&all, "more", note, NULL));
    assert_int_equal(errno, ENOSPC);
    subscriptions_remove(&all, self);
    assert_int_equal(subscriptions_count(&all), SUBSCRIPTIONS_MAX - 1);
    assert_non_null(subscriptions_add(&all, "more", note, NULL));
    for (int i = 0; i < SUBSCRIPTIONS_MAX - 1; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        assert_int_equal(send(name, ""), 1);
    }
}

/* ---- changes while functions are called -------------------------------------------------- */

static void remove_both(const char *channel, const void *data, size_t len, void *arg)
{
    note(channel, data, len, arg);
    subscriptions_remove(&all, self);
    subscriptions_remove(&all, other);
}

static void test_functions_remove_themselves_and_others(void **state)
{
    (void)state;
    other = subscriptions_add(&all, "a", note, never);
    self = subscriptions_add(&all, "a", remove_both, NULL);
    assert_int_equal(send("a", "x"), 1);
    assert_int_equal(send("a", "y"), 0);
    assert_string_equal(seen, "a:x ");
    assert_int_equal(subscriptions_count(&all), 0);
}

static void add_another(const char *channel, const void *data, size_t len, void *arg)
{
    note(channel, data, len, arg);
    if (!other)
        other = subscriptions_add(&all, channel, note, new_one);
}

static void test_added_ones_do_not_get_the_present_message(void **state)
{
    (void)state;
    (void)subscriptions_add(&all, "a", add_another, NULL);
    assert_int_equal(send("a", "x"), 1);
    assert_int_equal(send("a", "y"), 2);
    assert_string_equal(seen, "a:x new a:y a:y ");
}

static _Atomic bool is_inside, may_return, has_returned;

static void wait_inside(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)data;
    (void)len;
    (void)arg;
    atomic_store(&is_inside, true);
    while (!atomic_load(&may_return))
        (void)sched_yield();
    atomic_store(&has_returned, true);
}

static void *let_return(void *unused)
{
    for (int i = 0; i < 1000; i++)
        (void)sched_yield();
    atomic_store(&may_return, true);
    return unused;
}

static void *send_one(void *unused)
{
    (void)send("a", "x");
    return unused;
}

static void test_remove_waits_for_another_threads_call(void **state)
{
    pthread_t caller, releaser;

    (void)state;
    is_inside = may_return = has_returned = false;
    self = subscriptions_add(&all, "a", wait_inside, NULL);
    assert_int_equal(pthread_create(&caller, NULL, send_one, NULL), 0);
    while (!atomic_load(&is_inside))
        (void)sched_yield();
    assert_int_equal(pthread_create(&releaser, NULL, let_return, NULL), 0);
    subscriptions_remove(&all, self);
    assert_true(atomic_load(&has_returned));
    (void)pthread_join(caller, NULL);
    (void)pthread_join(releaser, NULL);
    assert_int_equal(send("a", "y"), 0);
}

enum { ROUNDS = 3000 };

static void count(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)data;
    (void)len;
    atomic_fetch_add((_Atomic int *)arg, 1);
}

static void *come_and_go(void *arg)
{
    for (int i = 0; i < ROUNDS; i++) {
        _Atomic int counter = 0; /* gone when remove has returned */

        subscriptions_remove(&all, subscriptions_add(&all, i % 2 ? "a" : "b", count, &counter));
    }
    atomic_fetch_add((_Atomic int *)arg, 1);
    return NULL;
}

static void test_threads_come_and_go(void **state)
{
    pthread_t threads[3];
    _Atomic int done = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &done), 0);
    while (atomic_load(&done) < (int)ARRAY_LEN(threads))
        (void)send("a", "x");
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        (void)pthread_join(threads[i], NULL);
    assert_int_equal(subscriptions_count(&all), 0);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_each_channel_has_its_own),
        ROW(test_all_are_told_of_a_loss),
        ROW(test_channels_are_1_to_64_bytes),
        ROW(test_there_are_at_most_1024),
        ROW(test_functions_remove_themselves_and_others),
        ROW(test_added_ones_do_not_get_the_present_message),
        ROW(test_remove_waits_for_another_threads_call),
        ROW(test_threads_come_and_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
