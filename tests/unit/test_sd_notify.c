/* SPDX-License-Identifier: MIT
 *
 * The protocol of sd_notify(3): where messages go, and whose watchdog it is.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/ipc/sd_notify.h"

static const char *const variables[] = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "LISTEN_PID",    "LISTEN_FDS",    "LISTEN_FDNAMES"};

static int clear(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        (void)unsetenv(variables[i]);
    return 0;
}

static void init(struct sd_notify *n)
{
    struct error err;

    assert_int_equal(sd_notify_init(n, &err), 0);
}

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);

    (void)close(fd);
    return fd;
}

static void test_without_a_socket_nothing_is_wanted(void **state)
{
    struct sd_notify n;

    (void)state;
    init(&n);
    assert_false(sd_notify_is_wanted(&n));
    assert_int_equal(setenv("NOTIFY_SOCKET", "", 1), 0);
    init(&n);
    assert_false(sd_notify_is_wanted(&n));
}

static void test_messages_reach_an_abstract_socket(void **state)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    struct sd_notify n;
    char name[40], got[64] = "";

    (void)state;
    (void)snprintf(name, sizeof(name), "@gcorn-notify-%d", (int)getpid());
    memcpy(un.sun_path + 1, name + 1, strlen(name) - 1);
    int manager = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name));
    assert_int_equal(bind(manager, (struct sockaddr *)&un, len), 0);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    init(&n);
    assert_true(sd_notify_is_wanted(&n));
    int before = lowest_free_fd();
    assert_int_equal(sd_notify_send(&n, "READY=1"), 0);
    assert_int_equal(recv(manager, got, sizeof(got) - 1, MSG_DONTWAIT), 7);
    assert_string_equal(got, "READY=1");
    (void)close(manager);
    assert_int_equal(sd_notify_send(&n, "READY=1"), -1);
    assert_int_equal(errno, ECONNREFUSED);
    assert_int_equal(lowest_free_fd(), before < manager ? before : manager); /* none is left open */
}

static void test_other_addresses_are_refused(void **state)
{
    char longest[sizeof(((struct sockaddr_un *)0)->sun_path) + 2];
    struct sd_notify n;
    struct error err;

    (void)state;
    memset(longest, 'x', sizeof(longest) - 1);
    longest[0] = '/';
    longest[sizeof(longest) - 1] = '\0';
    const char *const bad[] = {"vsock:2:1234", "relative", "/", "@", longest};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(setenv("NOTIFY_SOCKET", bad[i], 1), 0);
        assert_int_equal(sd_notify_init(&n, &err), -1);
        assert_false(sd_notify_is_wanted(&n));
    }
}

static uint64_t watchdog_ms(const char *usec, const char *pid)
{
    struct sd_notify n;

    assert_int_equal(setenv("NOTIFY_SOCKET", "/run/notify", 1), 0);
    assert_int_equal(setenv("WATCHDOG_USEC", usec, 1), 0);
    if (pid)
        assert_int_equal(setenv("WATCHDOG_PID", pid, 1), 0);
    else
        (void)unsetenv("WATCHDOG_PID");
    init(&n);
    return n.watchdog_ms;
}

static void test_watchdog_is_in_milliseconds_and_of_this_process(void **state)
{
    char own[16], other[16];

    (void)state;
    (void)snprintf(own, sizeof(own), "%d", (int)getpid());
    (void)snprintf(other, sizeof(other), "%d", (int)getppid());
    assert_int_equal(watchdog_ms("30000000", NULL), 30000);
    assert_int_equal(watchdog_ms("30000000", own), 30000);
    assert_int_equal(watchdog_ms("30000000", other), 0);
    assert_int_equal(watchdog_ms("30000000", "x"), 0);
    assert_int_equal(watchdog_ms("1", NULL), 1); /* not 0, which is none */
    assert_int_equal(watchdog_ms("0", NULL), 0);
    assert_int_equal(watchdog_ms("many", NULL), 0);
}

static void test_variables_of_the_service_are_removed_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        assert_int_equal(setenv(variables[i], "1", 1), 0);
    assert_int_equal(setenv("NOTIFY_SOCKETS", "kept", 1), 0);
    sd_notify_clear_environment();
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        assert_null(getenv(variables[i]));
    assert_string_equal(getenv("NOTIFY_SOCKETS"), "kept");
    assert_true(sd_notify_owns_variable("LISTEN_FDS=2"));
    assert_true(sd_notify_owns_variable("NOTIFY_SOCKET"));
    assert_false(sd_notify_owns_variable("LISTEN_FD=2"));
    assert_false(sd_notify_owns_variable("NOTIFY_SOCKETS=1"));
    assert_false(sd_notify_owns_variable("=LISTEN_FDS"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_without_a_socket_nothing_is_wanted, clear),
        cmocka_unit_test_setup(test_messages_reach_an_abstract_socket, clear),
        cmocka_unit_test_setup(test_other_addresses_are_refused, clear),
        cmocka_unit_test_setup(test_watchdog_is_in_milliseconds_and_of_this_process, clear),
        cmocka_unit_test_setup(test_variables_of_the_service_are_removed_alone, clear),
    };

    return cmocka_run_group_tests(tests, NULL, clear);
}
