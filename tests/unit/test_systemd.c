/* SPDX-License-Identifier: MIT
 *
 * The messages to the service manager, each exactly once, in order, and sent again when its queue was
 * full. The test is the manager.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/util.h"
#include "master/telemetry/stats.h"
#include "master/upgrade/systemd.h"

static int manager = -1;
static struct systemd s;

/* A server that serves with both of its workers. */
static struct systemd_facts facts;

static void begin(const char *watchdog_us)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    assert_int_equal(watchdog_us ? setenv("WATCHDOG_USEC", watchdog_us, 1) : 0, 0);
    assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    systemd_init(&s);
}

static int setup(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    char name[40];

    (void)state;
    (void)snprintf(name, sizeof(name), "@gcorn-systemd-%d", (int)getpid());
    memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
    manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(manager, (struct sockaddr *)&un, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    (void)unsetenv("WATCHDOG_USEC");
    facts = (struct systemd_facts){
        .state = SERVER_SERVING, .serving = 2, .workers = 2, .generation = 1, .is_promoted = true};
    begin(NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)close(manager);
    return 0;
}

/* The next message; "" when none is there. Borrowed until the next call. */
static const char *told(void)
{
    static char text[4096];
    ssize_t n = recv(manager, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void assert_quiet(void)
{
    assert_string_equal(told(), "");
}

static void tell(unsigned state)
{
    facts.state = state;
    systemd_tell(&s, &facts);
}

static void serve(void)
{
    tell(SERVER_SERVING);
    assert_string_equal(told(), "READY=1\nSTATUS=2 of 2 workers serve, generation 1");
    assert_quiet();
}

/* Fills the manager's queue. Returns how many messages it holds. */
static int fill(void)
{
    int count = 0;

    while (sd_notify_send(&s.notify, "full") == 0)
        count++;
    assert_true(count > 0);
    return count;
}

static void empty(void)
{
    while (*told() != '\0')
        continue;
}

static void test_state_is_told_once(void **state)
{
    (void)state;
    serve();
    tell(SERVER_SERVING);
    assert_quiet();
    facts.serving = 1;
    tell(SERVER_SERVING);
    assert_string_equal(told(), "STATUS=1 of 2 workers serve, generation 1");
    tell(SERVER_SERVING);
    assert_quiet();
    tell(SERVER_DRAINING);
    assert_string_equal(told(), "STOPPING=1\nSTATUS=Draining: 1 of 2 workers serve, generation 1");
    tell(SERVER_STOPPING);
    assert_string_equal(told(), "STOPPING=1\nSTATUS=Stopping: 1 of 2 workers serve, generation 1");
    assert_quiet();
}

static void test_start_is_not_ready(void **state)
{
    (void)state;
    facts.serving = 0;
    tell(SERVER_STARTING);
    assert_string_equal(told(), "STATUS=Starting: 0 of 2 workers serve, generation 1");
}

static void test_reload_is_told_with_its_time(void **state)
{
    unsigned long long usec;
    char status[80];

    (void)state;
    serve();
    facts.reloads_begun = 1;
    tell(SERVER_RELOADING);
    assert_int_equal(
        sscanf(told(), "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=%79[^\n]", &usec, status), 2);
    assert_string_equal(status, "Reloading: 2 of 2 workers serve, generation 1");
    assert_in_range(usec, now_ns() / 1000 - 10000000, now_ns() / 1000);
    tell(SERVER_RELOADING);
    assert_quiet();
    facts.generation = 2;
    tell(SERVER_SERVING);
    assert_string_equal(told(), "READY=1\nSTATUS=2 of 2 workers serve, generation 2");
    assert_quiet();
}

/* It begins and ends within a pass: the manager waits for both messages. */
static void test_reload_that_fails_at_once_is_told_of(void **state)
{
    (void)state;
    serve();
    facts.reloads_begun = 1;
    facts.reload_failure = "no\tsuch\nfile";
    tell(SERVER_SERVING);
    assert_memory_equal(told(), "RELOADING=1\nMONOTONIC_USEC=", 27);
    static const char ready[] =
        "READY=1\nSTATUS=2 of 2 workers serve, generation 1; reload failed: no such file";
    assert_string_equal(told(), ready);
    assert_quiet();
}

static void test_reload_during_the_start_is_not_told(void **state)
{
    (void)state;
    facts.reloads_begun = 1;
    tell(SERVER_STARTING);
    (void)told();
    assert_quiet();
    tell(SERVER_SERVING);
    assert_memory_equal(told(), "READY=1\n", 8);
    assert_quiet();
}

static void test_full_queue_is_tried_again(void **state)
{
    (void)state;
    (void)fill();
    tell(SERVER_SERVING);
    empty();
    serve();
    facts.reloads_begun = 1;
    (void)fill();
    tell(SERVER_RELOADING);
    empty();
    tell(SERVER_RELOADING);
    assert_memory_equal(told(), "RELOADING=1\n", 12);
    (void)fill();
    facts.serving = 1;
    tell(SERVER_RELOADING);
    empty();
    tell(SERVER_RELOADING);
    assert_memory_equal(told(), "STATUS=Reloading: 1 of 2", 24);
}

static void test_unpromoted_master_tells_nothing(void **state)
{
    (void)state;
    facts.is_promoted = false;
    tell(SERVER_SERVING);
    systemd_tick(&s, &facts, now_ms());
    assert_quiet();
    facts.is_promoted = true;
    serve();
}

static void test_after_the_handover_nothing_is_told(void **state)
{
    (void)state;
    serve();
    systemd_hand_over(&s, 4711);
    assert_string_equal(told(), "MAINPID=4711");
    assert_false(systemd_owes_successor(&s, now_ms()));
    tell(SERVER_STOPPING);
    systemd_tick(&s, &facts, now_ms());
    assert_quiet();
    systemd_hand_over(&s, 4712);
    assert_quiet();
}

static void test_handover_is_owed_until_it_is_sent(void **state)
{
    (void)state;
    serve();
    assert_false(systemd_owes_successor(&s, now_ms()));
    (void)fill();
    uint64_t before = now_ms();
    systemd_hand_over(&s, 4711);
    assert_in_range(s.successor_since_ms, before, now_ms());
    assert_true(systemd_owes_successor(&s, s.successor_since_ms + 4999));
    assert_false(systemd_owes_successor(&s, s.successor_since_ms + 5000));
    tell(SERVER_STOPPING);
    assert_true(systemd_owes_successor(&s, s.successor_since_ms));
    empty();
    tell(SERVER_STOPPING);
    assert_string_equal(told(), "MAINPID=4711");
    assert_false(systemd_owes_successor(&s, s.successor_since_ms));
    tell(SERVER_STOPPING);
    assert_quiet();
}

static void test_watchdog_is_fed_four_times_in_its_time(void **state)
{
    uint64_t now = now_ms();

    (void)state;
    begin("4000000");
    assert_int_equal(systemd_watchdog_ms(&s), 4000);
    systemd_tick(&s, &facts, now);
    assert_string_equal(told(), "WATCHDOG=1");
    systemd_tick(&s, &facts, now + 999);
    assert_quiet();
    systemd_tick(&s, &facts, now + 1000);
    assert_string_equal(told(), "WATCHDOG=1");
    (void)fill();
    systemd_tick(&s, &facts, now + 2000);
    empty();
    systemd_tick(&s, &facts, now + 2001);
    assert_string_equal(told(), "WATCHDOG=1");
}

static void test_work_under_way_extends_the_timeout(void **state)
{
    (void)state;
    systemd_tick(&s, &facts, now_ms());
    assert_quiet();
    facts.state = SERVER_RELOADING;
    systemd_tick(&s, &facts, now_ms());
    assert_string_equal(told(), "EXTEND_TIMEOUT_USEC=15000000");
    assert_quiet();
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(state_is_told_once),
        T(start_is_not_ready),
        T(reload_is_told_with_its_time),
        T(reload_that_fails_at_once_is_told_of),
        T(reload_during_the_start_is_not_told),
        T(full_queue_is_tried_again),
        T(unpromoted_master_tells_nothing),
        T(after_the_handover_nothing_is_told),
        T(handover_is_owed_until_it_is_sent),
        T(watchdog_is_fed_four_times_in_its_time),
        T(work_under_way_extends_the_timeout),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
