/* SPDX-License-Identifier: MIT
 *
 * The new master's side of an upgrade: what it reports to the old one, and how it is promoted. The
 * test is the old master.
 */
#include "master_case.h"

#include <sys/socket.h>

#include "master/generation/listeners.h"
#include "master/takeover.h"
#include "master/upgrade/upgrade.h"
#include "settings/config_set.h"
#include "settings/setting.h"

static struct generation *predecessor;
static struct shared_listener shared;
static struct listener *listeners[] = {&shared.listener};
static int old_fd = -1;

static int setup(void **state)
{
    struct config config;
    int fds[2];

    (void)master_setup(state);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    old_fd = fds[0];
    config_init(&config);
    predecessor = generation_make(1, &config, NULL);
    predecessor->refs++; /* the test's */
    shared = (struct shared_listener){.listener = {.fd = -1, .lent = true}, .refs = 1};
    current.listeners = listeners;
    current.listener_count = 1;
    m.successor = (struct successor){
        .from = {.is_received = true, .report_fd = fds[1], .pid = 4711},
        .predecessor = predecessor,
        .control = {.fd = -1, .lent = true},
    };
    successor_start(&m.successor, m.loop);
    return 0;
}

static int teardown(void **state)
{
    current.listeners = NULL;
    current.listener_count = 0;
    ev_io_stop(m.loop, &m.successor.io);
    successor_close(&m.successor);
    generation_unref(predecessor, false);
    if (old_fd >= 0)
        (void)close(old_fd);
    return master_teardown(state);
}

static void old_master_ends(void)
{
    (void)close(old_fd);
    old_fd = -1;
}

static void old_master_says(char word)
{
    assert_int_equal(send(old_fd, &word, 1, 0), 1);
}

/* One turn of the loop, and a pass. */
static void pass(void)
{
    (void)ev_run(m.loop, EVRUN_NOWAIT);
    takeover_act(&m);
}

/* What the old master hears next; "" when that is nothing. */
static const char *heard(void)
{
    static char text[2 * UPGRADE_TEXT_MAX];
    ssize_t n = recv(old_fd, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void assert_promoted(const char *why)
{
    assert_true(m.successor.is_promoted && m.successor.files_are_due);
    assert_false(m.successor.predecessor_leaves);
    assert_false(m.successor.control.lent || shared.listener.lent);
    assert_null(m.successor.predecessor);
    assert_int_equal(predecessor->refs, 1);
    assert_true(m.successor.from.report_fd < 0);
    assert_false(ev_is_active(&m.successor.io));
    assert_non_null(strstr(logged(), why));
}

static void test_handler_only_notes(void **state)
{
    (void)state;
    old_master_says(UPGRADE_TAKE_OVER);
    (void)ev_run(m.loop, EVRUN_NOWAIT);
    assert_true(m.successor.has_news && m.successor.predecessor_leaves);
    assert_false(m.successor.is_promoted);
    assert_ptr_equal(m.successor.predecessor, predecessor);
}

static void test_old_master_that_stops_promotes_this_one(void **state)
{
    (void)state;
    old_master_says(UPGRADE_TAKE_OVER);
    pass();
    assert_promoted("the old master (pid:4711) is stopping; this one serves alone");
}

static void test_old_master_that_ends_promotes_this_one(void **state)
{
    (void)state;
    old_master_ends();
    pass();
    assert_promoted("the old master (pid:4711) has ended; this one serves alone");
}

static void test_nothing_else_promotes(void **state)
{
    (void)state;
    pass();
    old_master_says('?');
    pass();
    assert_false(m.successor.is_promoted);
    assert_true(ev_is_active(&m.successor.io));
    assert_true(shared.listener.lent);
}

static void test_serving_is_reported_once(void **state)
{
    (void)state;
    m.plan.workers = 1;
    takeover_proceed(&m);
    assert_string_equal(heard(), "");
    assert_true(successor_is_tried(&m.successor));
    (void)add_worker(0, &current, PROC_READY);
    m.plan.stopping = true;
    takeover_proceed(&m);
    assert_string_equal(heard(), "");
    m.plan.stopping = false;
    takeover_proceed(&m);
    assert_string_equal(heard(), "+");
    assert_false(successor_is_tried(&m.successor));
    takeover_proceed(&m);
    assert_string_equal(heard(), "");
}

static void test_failed_boot_is_reported_once_and_ends_it(void **state)
{
    (void)state;
    assert_true(successor_ends_with(&m.successor, "no room"));
    assert_string_equal(heard(), "-no room");
    assert_false(successor_ends_with(&m.successor, "again"));
    assert_string_equal(heard(), "");
}

static void test_failed_boot_of_a_promoted_master_does_not_end_it(void **state)
{
    (void)state;
    m.successor.is_promoted = true;
    assert_false(successor_ends_with(&m.successor, "no room"));
    assert_string_equal(heard(), "-no room");
}

static void test_ordinary_start_reports_nothing(void **state)
{
    (void)state;
    m.successor.from.is_received = false;
    assert_false(successor_ends_with(&m.successor, "no room"));
    assert_string_equal(heard(), "");
}

static void test_long_reason_is_cut(void **state)
{
    char why[UPGRADE_TEXT_MAX + 50];

    (void)state;
    memset(why, 'x', sizeof(why));
    why[sizeof(why) - 1] = '\0';
    assert_true(successor_ends_with(&m.successor, why));
    const char *text = heard();
    assert_int_equal(strlen(text), UPGRADE_TEXT_MAX);
    assert_memory_equal(text, "-xxx", 4);
}

static void test_pid_file_is_the_second_until_the_promotion(void **state)
{
    char *path = successor_pidfile(&m.successor, "run/pid");

    (void)state;
    assert_string_equal(path, "run/pid.2");
    free(path);
    m.successor.is_promoted = true;
    path = successor_pidfile(&m.successor, "run/pid");
    assert_string_equal(path, "run/pid");
    free(path);
    assert_null(successor_pidfile(&m.successor, NULL));
}

/* Without a pid file and a control socket there is nothing to take but the old master's socket. */
static void test_files_are_taken_when_nothing_else_goes_on(void **state)
{
    (void)state;
    m.successor.is_promoted = m.successor.files_are_due = m.successor.has_reported = true;
    m.successor.control = (struct listener){.fd = dup(STDERR_FILENO)};
    tries_a_candidate();
    takeover_proceed(&m);
    assert_true(m.successor.files_are_due);
    m.candidate = NULL;
    m.plan.stopping = true;
    takeover_proceed(&m);
    assert_true(m.successor.files_are_due && m.successor.control.fd >= 0);
    m.plan.stopping = false;
    current.config.control_socket = NULL;
    takeover_proceed(&m);
    assert_false(m.successor.files_are_due);
    assert_true(m.successor.control.fd < 0);
}

static void test_files_that_fail_are_tried_again_and_said_once(void **state)
{
    (void)state;
    m.successor.is_promoted = m.successor.files_are_due = m.successor.has_reported = true;
    current.config.control_socket = NULL;
    current.config.pidfile = "/nonexistent/dir/pid";
    takeover_proceed(&m);
    assert_true(m.successor.files_are_due);
    assert_non_null(strstr(logged(), "[WARNING] Upgrade: "));
    takeover_proceed(&m);
    assert_string_equal(logged(), "");
    current.config.pidfile = NULL;
    takeover_proceed(&m);
    assert_false(m.successor.files_are_due);
}

/* The pid file could be had, but not the control socket: the one that is open is given back. */
static void test_pid_file_is_given_back_without_the_control_socket(void **state)
{
    const struct config_origin origin = {SOURCE_COMMAND_LINE, "command line"};
    char path[] = "/tmp/gcorn-test-XXXXXX";
    struct error err;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    (void)close(fd);
    m.successor.is_promoted = m.successor.files_are_due = m.successor.has_reported = true;
    current.config.pidfile = path;
    assert_int_equal(config_set(&current.config, setting_find("control_socket"),
                                "/nonexistent/dir/ctl", &origin, &err),
                     0);
    takeover_proceed(&m);
    assert_true(m.successor.files_are_due);
    assert_true(m.next_pidfile.fd < 0 && m.pidfile.fd < 0);
    current.config.pidfile = NULL;
    (void)unlink(path);
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(handler_only_notes),
        T(old_master_that_stops_promotes_this_one),
        T(old_master_that_ends_promotes_this_one),
        T(nothing_else_promotes),
        T(serving_is_reported_once),
        T(failed_boot_is_reported_once_and_ends_it),
        T(failed_boot_of_a_promoted_master_does_not_end_it),
        T(ordinary_start_reports_nothing),
        T(long_reason_is_cut),
        T(pid_file_is_the_second_until_the_promotion),
        T(files_are_taken_when_nothing_else_goes_on),
        T(files_that_fail_are_tried_again_and_said_once),
        T(pid_file_is_given_back_without_the_control_socket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
