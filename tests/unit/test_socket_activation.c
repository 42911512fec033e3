/* SPDX-License-Identifier: MIT
 *
 * Sockets that a service manager passes: the variables that announce them, what bind becomes, and
 * that a child closes those that no listener took.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "in_child.h"
#include "master/upgrade/socket_activation.h"
#include "settings/config.h"
#include "settings/config_set.h"
#include "settings/setting.h"

static struct socket_activation passed;
static struct config config;

static void announce(const char *pid, const char *count, const char *names)
{
    const char *const variables[][2] = {
        {"LISTEN_PID", pid}, {"LISTEN_FDS", count}, {"LISTEN_FDNAMES", names}};

    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        assert_int_equal(variables[i][1] ? setenv(variables[i][0], variables[i][1], 1)
                                         : unsetenv(variables[i][0]),
                         0);
    for (unsigned i = 0; i < passed.count; i++)
        free(passed.names[i]);
    free(passed.names);
    socket_activation_init(&passed);
}

static const char *own_pid(void)
{
    static char text[16];

    (void)snprintf(text, sizeof(text), "%d", (int)getpid());
    return text;
}

static int setup(void **state)
{
    (void)state;
    config_init(&config);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    announce(NULL, NULL, NULL);
    config_release(&config);
    return 0;
}

static void set_bind(const char *text)
{
    const struct config_origin origin = {SOURCE_COMMAND_LINE, "command line"};
    struct error err;

    assert_int_equal(config_set(&config, setting_find("bind"), text, &origin, &err), 0);
}

static void assert_bind(size_t count, const char *const *want)
{
    assert_int_equal(config.bind.count, count);
    for (size_t i = 0; i < count; i++)
        assert_string_equal(config.bind.items[i], want[i]);
}

static void test_sockets_are_counted_only_for_this_process(void **state)
{
    (void)state;
    announce(NULL, "2", NULL);
    assert_int_equal(passed.count, 0);
    announce("1", "2", NULL);
    assert_int_equal(passed.count, 0);
    announce(own_pid(), NULL, NULL);
    assert_int_equal(passed.count, 0);
    announce(own_pid(), "0", NULL);
    assert_int_equal(passed.count, 0);
    announce(own_pid(), "two", NULL);
    assert_int_equal(passed.count, 0);
    announce(own_pid(), "2", NULL);
    assert_int_equal(passed.count, 2);
}

static void test_missing_names_are_unknown(void **state)
{
    (void)state;
    announce(own_pid(), "4", "web::admin");
    assert_string_equal(passed.names[0], "web");
    assert_string_equal(passed.names[1], "unknown");
    assert_string_equal(passed.names[2], "admin");
    assert_string_equal(passed.names[3], "unknown");
}

static void test_without_sockets_bind_stays(void **state)
{
    struct error err;

    (void)state;
    announce(NULL, NULL, NULL);
    set_bind("127.0.0.1:80");
    assert_int_equal(socket_activation_bind(&passed, &config, &err), 0);
    assert_bind(1, (const char *const[]){"127.0.0.1:80"});
}

static void test_sockets_take_the_place_of_bind(void **state)
{
    struct error err;

    (void)state;
    announce(own_pid(), "2", NULL);
    set_bind("127.0.0.1:80");
    assert_int_equal(socket_activation_bind(&passed, &config, &err), 0);
    assert_bind(2, (const char *const[]){"fd://3", "fd://4"});
    const struct config_origin *origin = config_origin(&config, setting_find("bind"));
    assert_int_equal(origin->source, SOURCE_PASSED);
    assert_string_equal(origin->text, "environment LISTEN_FDS");
}

static void test_bind_chooses_among_them(void **state)
{
    struct error err;

    (void)state;
    announce(own_pid(), "4", "web:admin:web:other");
    set_bind("fd://web");
    set_bind("127.0.0.1:80");
    set_bind("fd://6");
    assert_int_equal(socket_activation_bind(&passed, &config, &err), 0);
    assert_bind(4, (const char *const[]){"fd://3", "fd://5", "127.0.0.1:80", "fd://6"});
    const struct config_origin *origin = config_origin(&config, setting_find("bind"));
    assert_string_equal(origin->text, "command line");
}

static void test_name_that_was_not_passed_is_refused(void **state)
{
    struct error err;

    (void)state;
    announce(own_pid(), "2", "web:admin");
    set_bind("fd://api");
    assert_int_equal(socket_activation_bind(&passed, &config, &err), -1);
    assert_int_equal(err.status, EXIT_USAGE);
    assert_string_equal(err.text,
                        "bind: 'fd://api': no socket of this name was passed, only web, admin");
}

static void forget(void *unused)
{
    int spare[2];

    (void)unused;
    CHECK(pipe(spare) == 0);
    CHECK(dup2(spare[0], 3) == 3 && dup2(spare[0], 4) == 4 && dup2(spare[0], 5) == 5);
    CHECK(fcntl(4, F_SETFD, FD_CLOEXEC) == 0); /* a listener has taken it */
    announce(own_pid(), "2", NULL);
    socket_activation_forget(&passed);
    CHECK(fcntl(3, F_GETFD) < 0);
    CHECK(fcntl(4, F_GETFD) >= 0);
    CHECK(fcntl(5, F_GETFD) >= 0); /* was not passed */
}

static void test_child_closes_those_that_none_took(void **state)
{
    (void)state;
    expect_exit(forget, NULL, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(sockets_are_counted_only_for_this_process),
        T(missing_names_are_unknown),
        T(without_sockets_bind_stays),
        T(sockets_take_the_place_of_bind),
        T(bind_chooses_among_them),
        T(name_that_was_not_passed_is_refused),
        T(child_closes_those_that_none_took),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
