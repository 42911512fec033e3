/* SPDX-License-Identifier: MIT
 *
 * The old master's side of an upgrade: what the new program says, when its time is over, and its
 * end. The program is a child that does nothing; the test writes what it says.
 */
#include "master_case.h"

#include <errno.h>
#include <sys/socket.h>

#include "master/takeover.h"

static int program_fd = -1;

static int setup(void **state)
{
    int fds[2];

    (void)master_setup(state);
    upgrade_init(&m.upgrade, m.loop);
    m.upgrade.pid = sleeping_child(); /* before there is a socket that it would have */
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
    m.upgrade.fd = fds[0];
    program_fd = fds[1];
    m.upgrade.phase = UPGRADE_BOOTING;
    ev_io_set(&m.upgrade.io, m.upgrade.fd, EV_READ);
    ev_io_start(m.loop, &m.upgrade.io);
    return 0;
}

static int teardown(void **state)
{
    if (m.upgrade.pid > 0 && kill(m.upgrade.pid, SIGKILL) == 0)
        (void)waitpid(m.upgrade.pid, NULL, 0);
    ev_io_stop(m.loop, &m.upgrade.io);
    ev_timer_stop(m.loop, &m.upgrade.timer);
    upgrade_close(&m.upgrade);
    if (program_fd >= 0)
        (void)close(program_fd);
    return master_teardown(state);
}

static void says(const char *packet)
{
    assert_true(send(program_fd, packet, strlen(packet), 0) > 0);
}

/* One turn of the loop: what the handlers note. */
static void turn(void)
{
    (void)ev_run(m.loop, EVRUN_NOWAIT);
}

static int end_of_program(void)
{
    int status;

    assert_int_equal(waitpid(m.upgrade.pid, &status, 0), m.upgrade.pid);
    return status;
}

static void test_handler_only_notes(void **state)
{
    (void)state;
    says("+");
    turn();
    assert_true(m.upgrade.serves && m.upgrade.has_news);
    assert_int_equal(m.upgrade.phase, UPGRADE_BOOTING);
}

static void test_program_that_serves_stands_beside(void **state)
{
    struct shared_listener shared = {.listener.fd = -1, .refs = 1};
    struct listener *listeners[] = {&shared.listener};

    (void)state;
    current.listeners = listeners;
    current.listener_count = 1;
    says("+");
    turn();
    takeover_act(&m);
    assert_true(shared.listener.lent); /* its file is the other's, too */
    current.listener_count = 0;
    assert_int_equal(m.upgrade.phase, UPGRADE_BESIDE);
    assert_false(m.upgrade.serves);
    assert_int_equal(m.stop_wish, STOP_NOT);
    assert_true(upgrade_has_successor(&m.upgrade) && !upgrade_holds_up_reload(&m.upgrade));
}

static void test_upgrade_that_hands_over_stops_this_master(void **state)
{
    (void)state;
    m.upgrade.hands_over = true;
    says("+");
    turn();
    takeover_act(&m);
    assert_int_equal(m.stop_wish, STOP_AT_ONCE);
    assert_int_equal(m.stop_status, EXIT_STOPPED);
}

/* It has said that it serves, and has ended: nothing is handed to it. */
static void test_program_that_served_and_left_is_no_successor(void **state)
{
    (void)state;
    says("+");
    turn();
    (void)close(program_fd);
    program_fd = -1;
    takeover_act(&m);
    assert_int_equal(m.upgrade.phase, UPGRADE_BOOTING);
}

static void test_program_that_is_late_is_ended(void **state)
{
    (void)state;
    m.upgrade.is_overdue = true;
    takeover_act(&m);
    assert_int_equal(m.upgrade.phase, UPGRADE_FAILED);
    assert_false(m.upgrade.is_overdue);
    assert_non_null(strstr(m.upgrade.why, "within boot_timeout"));
    assert_int_equal(WTERMSIG(end_of_program()), SIGTERM);
    m.upgrade.pid = 0;
}

/* Timers come before sockets. */
static void test_word_that_is_unread_at_the_deadline_counts(void **state)
{
    (void)state;
    says("+");
    m.upgrade.is_overdue = true;
    takeover_act(&m);
    assert_int_equal(m.upgrade.phase, UPGRADE_BESIDE);
    assert_false(m.upgrade.is_overdue);
}

static void test_program_that_does_not_end_is_killed(void **state)
{
    (void)state;
    m.upgrade.phase = UPGRADE_FAILED;
    m.upgrade.is_overdue = true;
    takeover_act(&m);
    assert_int_equal(WTERMSIG(end_of_program()), SIGKILL);
    m.upgrade.pid = 0;
}

static void end_program(void)
{
    assert_int_equal(kill(m.upgrade.pid, SIGKILL), 0);
    int status = end_of_program();
    assert_true(takeover_reaped(&m, m.upgrade.pid, status));
}

static void test_failed_upgrade_says_why_once(void **state)
{
    (void)state;
    says("-no room");
    says("-later");
    turn();
    turn();
    end_program();
    assert_non_null(strstr(logged(), "Upgrade failed: no room. This master goes on unchanged"));
    assert_int_equal(m.upgrade.phase, UPGRADE_NONE);
    assert_true(m.upgrade.pid == 0 && m.upgrade.fd < 0);
}

static void test_last_word_is_read(void **state)
{
    (void)state;
    says("-no room");
    end_program();
    assert_non_null(strstr(logged(), "Upgrade failed: no room"));
}

static void test_program_that_dies_is_described(void **state)
{
    (void)state;
    end_program();
    assert_non_null(strstr(logged(), "the new program was killed by SIGKILL"));
}

static void test_new_master_that_ends_is_rolled_back(void **state)
{
    (void)state;
    m.upgrade.phase = UPGRADE_BESIDE;
    m.plan.workers = 0; /* WINCH */
    end_program();
    assert_non_null(strstr(logged(), "Upgrade rolled back"));
    assert_int_equal(m.plan.workers, (unsigned)current.config.workers);
    assert_int_equal(m.upgrade.phase, UPGRADE_NONE);
}

static void test_other_children_are_not_the_program(void **state)
{
    (void)state;
    assert_false(takeover_reaped(&m, m.upgrade.pid + 1, 0));
    assert_int_equal(m.upgrade.phase, UPGRADE_BOOTING);
}

/* What is refused, and why: nothing has begun. */
static void test_upgrade_is_refused_while_something_else_goes_on(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "an upgrade is under way already");
    m.rolling = true;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "a reload is under way");
    m.stop_at_ms = 1;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "the server is stopping");
}

#define T(name) cmocka_unit_test_setup_teardown(test_##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(handler_only_notes),
        T(program_that_serves_stands_beside),
        T(upgrade_that_hands_over_stops_this_master),
        T(program_that_served_and_left_is_no_successor),
        T(program_that_is_late_is_ended),
        T(word_that_is_unread_at_the_deadline_counts),
        T(program_that_does_not_end_is_killed),
        T(failed_upgrade_says_why_once),
        T(last_word_is_read),
        T(program_that_dies_is_described),
        T(new_master_that_ends_is_rolled_back),
        T(other_children_are_not_the_program),
        T(upgrade_is_refused_while_something_else_goes_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
