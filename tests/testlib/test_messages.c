/* SPDX-License-Identifier: MIT
 *
 * Messages between workers, in a test that is all of them, and the memory that they share.
 */
#include "case.h"

#include <pthread.h>

static char seen[256];

static void note(const char *channel, const void *data, size_t len, void *arg)
{
    size_t used = strlen(seen);

    (void)snprintf(seen + used, sizeof(seen) - used, "%s%s=%s/%d ", arg ? (const char *)arg : "",
                   channel, data ? (const char *)data : "lost", (int)len);
}

static void expect_seen(const char *wanted)
{
    assert_string_equal(seen, wanted);
    seen[0] = '\0';
}

static void test_published_message_comes_in_the_next_wait(void **state)
{
    struct gcorn_subscription *s = gcorn_subscribe("news", note, NULL);

    (void)state;
    assert_non_null(s);
    assert_int_equal(gcorn_publish("news", "one", 3), 0);
    assert_int_equal(gcorn_publish("other", "no", 2), 0);
    assert_int_equal(gcorn_publish("news", "", 0), 0);
    expect_seen(""); /* never from within */
    (void)gcorn_test_wait(NULL, 0);
    expect_seen("news=one/3 news=/0 ");
    gcorn_unsubscribe(s);
    assert_int_equal(gcorn_publish("news", "two", 3), 0);
    gcorn_test_advance(1);
    expect_seen("");
}

static void publish_again(const char *channel, const void *data, size_t len, void *arg)
{
    note(channel, data, len, NULL);
    if (len < 3)
        assert_int_equal(gcorn_publish(channel, "xxx", len + 1), 0);
    (void)arg;
}

static void test_message_of_a_subscription_comes_in_the_next_call(void **state)
{
    struct gcorn_subscription *s = gcorn_subscribe("a", publish_again, NULL);

    (void)state;
    assert_int_equal(gcorn_publish("a", "x", 1), 0);
    gcorn_test_advance(0);
    expect_seen("a=x/1 ");
    gcorn_test_advance(0);
    gcorn_test_advance(0);
    expect_seen("a=xx/2 a=xxx/3 ");
    gcorn_unsubscribe(s);
}

static void test_lost_messages_are_told(void **state)
{
    static char second[] = "2:";
    struct gcorn_subscription *a = gcorn_subscribe("a", note, NULL);
    struct gcorn_subscription *b = gcorn_subscribe("a", note, second);

    (void)state;
    gcorn_test_lose(7);
    assert_non_null(strstr(seen, "2:a=lost/7 "));
    assert_int_equal(strlen(seen), strlen("a=lost/7 2:a=lost/7 "));
    seen[0] = '\0';
    gcorn_unsubscribe(a);
    gcorn_unsubscribe(b);
}

static void test_wrong_calls_are_refused(void **state)
{
    (void)state;
    assert_int_equal(gcorn_publish("", "", 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_null(gcorn_subscribe("a", NULL, NULL));
    assert_int_equal(errno, EINVAL);
    char *large = (char *)calloc(1, (1 << 20) + 1);
    assert_int_equal(gcorn_publish("a", large, (1 << 20) + 1), -1);
    assert_int_equal(errno, EMSGSIZE);
    free(large);
}

/* ---- requests that wait ------------------------------------------------------------------ */

static uint64_t ticket;
static int has_news;

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    if (!has_news)
        return GCORN_AGAIN;
    *chunk = "news";
    return *(int *)state != 0 ? 0 : (*(int *)state = 4);
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    ticket = gcorn_ticket(env);
    return gcorn_body_iter(env, next, NULL, gcorn_alloc(env, sizeof(int)));
}

static void wake(const char *channel, const void *data, size_t len, void *arg)
{
    (void)channel;
    (void)data;
    (void)len;
    (void)arg;
    has_news = 1;
    gcorn_wake(ticket);
}

static void *publish(void *unused)
{
    if (gcorn_publish("wake", "", 0) < 0)
        abort();
    return unused;
}

static void test_message_of_a_thread_wakes_a_request(void **state)
{
    struct gcorn_subscription *s = gcorn_subscribe("wake", wake, NULL);
    struct gcorn_test *t = gcorn_test_request(handler, "GET / HTTP/1.1", NULL, 0);
    pthread_t thread;

    (void)state;
    assert_true(t->waits);
    assert_int_equal(pthread_create(&thread, NULL, publish, NULL), 0);
    assert_true(gcorn_test_wait(t, 60000));
    (void)pthread_join(thread, NULL);
    assert_true(t->complete);
    assert_string_equal(t->body, "news");
    gcorn_test_close(t);
    gcorn_unsubscribe(s);
}

/* ---- shared memory ----------------------------------------------------------------------- */

static void test_shared_memory_has_a_name_and_a_size(void **state)
{
    bool fresh = false;
    int *a = (int *)gcorn_shared("a", sizeof(int), &fresh);

    (void)state;
    assert_non_null(a);
    assert_true(fresh);
    assert_int_equal((uintptr_t)a % 64, 0);
    assert_int_equal(*a, 0);
    assert_ptr_equal(gcorn_shared("a", sizeof(int), &fresh), a);
    assert_false(fresh);
    assert_ptr_not_equal(gcorn_shared("b", sizeof(int), NULL), a);
    assert_null(gcorn_shared("a", 8, NULL));
    assert_int_equal(errno, EINVAL);
    assert_null(gcorn_shared("", 8, NULL));
    assert_null(gcorn_shared("c", 0, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_message_comes_in_the_next_wait),
        cmocka_unit_test(test_message_of_a_subscription_comes_in_the_next_call),
        cmocka_unit_test(test_lost_messages_are_told),
        cmocka_unit_test(test_wrong_calls_are_refused),
        cmocka_unit_test(test_message_of_a_thread_wakes_a_request),
        cmocka_unit_test(test_shared_memory_has_a_name_and_a_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
