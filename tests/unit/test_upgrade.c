/* SPDX-License-Identifier: MIT
 *
 * The old master's side of an upgrade: what the new program says, when its time is over, and its
 * end. The program is a child that does nothing; the test writes what it says.
 */
#include "master_case.h"

#include <errno.h>
#include <sys/socket.h>

#include "master/generation/listeners.h"
#include "master/operator/control_client.h"
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
    control_close(&m.control);
    if (program_fd >= 0)
        (void)close(program_fd);
    program_fd = -1;
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
    current.config.workers = 3;
    end_program();
    assert_non_null(strstr(logged(), "Upgrade rolled back"));
    assert_int_equal(m.plan.workers, 3);
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
    m.upgrade.phase = UPGRADE_NONE;
    m.successor.is_promoted = false;
    m.successor.from.pid = 77;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "the old master (pid:77) has not ended yet");
    m.upgrade.phase = UPGRADE_BOOTING;
    m.rolling = true;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "a reload is under way");
    m.stop_at_ms = 1;
    assert_int_equal(takeover_begin(&m, true, &err), -1);
    assert_string_equal(err.text, "the server is stopping");
}

static void test_end_of_the_program_ends_what_watched_it(void **state)
{
    (void)state;
    ev_timer_set(&m.upgrade.timer, 100, 0);
    ev_timer_start(m.loop, &m.upgrade.timer);
    m.upgrade.is_overdue = false;
    end_program();
    assert_false(ev_is_active(&m.upgrade.io) || ev_is_active(&m.upgrade.timer));
    assert_false(m.upgrade.serves || m.upgrade.is_overdue);
}

/* Seconds until the deadline. */
static double remaining(void)
{
    assert_true(ev_is_active(&m.upgrade.timer));
    return ev_timer_remaining(m.loop, &m.upgrade.timer);
}

static void test_deadline_is_noted(void **state)
{
    (void)state;
    ev_invoke(m.loop, &m.upgrade.timer, EV_TIMER);
    assert_true(m.upgrade.is_overdue && m.upgrade.has_news);
    assert_int_equal(m.upgrade.phase, UPGRADE_BOOTING);
}

static void test_program_that_is_given_up_has_two_seconds(void **state)
{
    (void)state;
    upgrade_give_up(&m.upgrade, "why");
    assert_true(remaining() > 1.5 && remaining() <= 2);
    assert_int_equal(WTERMSIG(end_of_program()), SIGTERM);
    assert_true(takeover_reaped(&m, m.upgrade.pid, SIGTERM));
    assert_non_null(strstr(logged(), "Upgrade failed: why"));
}

static void test_program_that_serves_has_no_deadline(void **state)
{
    (void)state;
    ev_timer_set(&m.upgrade.timer, 100, 0);
    ev_timer_start(m.loop, &m.upgrade.timer);
    says("+");
    turn();
    takeover_act(&m);
    assert_false(ev_is_active(&m.upgrade.timer));
}

static void test_reload_that_waits_is_passed_on(void **state)
{
    (void)state;
    m.reload_requested = m.upgrade.hands_over = true;
    says("+");
    turn();
    takeover_act(&m);
    assert_int_equal(WTERMSIG(end_of_program()), SIGHUP);
    m.upgrade.pid = 0;
}

/* ---- leaving ------------------------------------------------------------------------------- */

static int add_waiting_client(void)
{
    int ends[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends), 0);
    control_add(&m.control, ends[0]);
    control_client_wait(&m.control.clients[0], WAIT_UPGRADE);
    return ends[1];
}

static void test_master_that_leaves_hands_over(void **state)
{
    struct proc *worker = add_worker(0, &current, PROC_READY);
    struct proc *admin = add_worker(1, &current, PROC_READY);
    int client = add_waiting_client();
    char word = 0, answer[64] = "";

    (void)state;
    admin->w->number = plan_admin_number(&m.plan);
    m.pidfile = (struct pidfile){
        .fd = dup(STDERR_FILENO), .path = xstrdup("/nonexistent/pid"), .pid = getpid()};
    m.upgrade.phase = UPGRADE_BESIDE;
    m.last_generation = 1;
    takeover_leave(&m);
    assert_int_equal(recv(program_fd, &word, 1, 0), 1);
    assert_int_equal(word, UPGRADE_TAKE_OVER);
    assert_int_equal(last_order(admin, NULL), DOWN_RETIRE);
    assert_int_equal(last_order(worker, NULL), 0);
    assert_true(m.pidfile.fd < 0);
    takeover_tell(&m); /* it does not stop yet */
    assert_int_equal(read(client, answer, sizeof(answer) - 1), -1);
    m.plan.stopping = true;
    takeover_tell(&m); /* a worker accepts */
    assert_int_equal(read(client, answer, sizeof(answer) - 1), -1);
    proc_slot(&m.procs, worker)->state = proc_slot(&m.procs, admin)->state = SLOT_DRAINING;
    takeover_tell(&m);
    assert_true(read(client, answer, sizeof(answer) - 1) > 0);
    assert_memory_equal(answer, "{\"ok\": true, \"pid\": ", 20);
    (void)close(client);
}

static void test_stop_cancels_an_upgrade_that_boots(void **state)
{
    int client = add_waiting_client();
    char answer[64] = "";

    (void)state;
    takeover_leave(&m);
    assert_int_equal(m.upgrade.phase, UPGRADE_FAILED);
    assert_true(read(client, answer, sizeof(answer) - 1) > 0);
    assert_non_null(strstr(answer, "the server is stopping"));
    assert_int_equal(WTERMSIG(end_of_program()), SIGTERM);
    m.plan.stopping = true;
    (void)logged();
    assert_true(takeover_reaped(&m, m.upgrade.pid, SIGTERM));
    assert_string_equal(logged(), ""); /* the stop is no failure */
    (void)close(client);
}

static void test_roll_back_makes_the_files_this_masters_again(void **state)
{
    struct shared_listener shared = {.listener = {.fd = -1, .lent = true}, .refs = 1};
    struct listener *listeners[] = {&shared.listener};

    (void)state;
    current.listeners = listeners;
    current.listener_count = 1;
    m.upgrade.phase = UPGRADE_BESIDE;
    int client = add_waiting_client();
    char answer[128] = "";
    end_program();
    assert_true(read(client, answer, sizeof(answer) - 1) > 0);
    assert_non_null(strstr(answer, "the new master ended while this one was stopping"));
    (void)close(client);
    assert_false(shared.listener.lent);
    current.listener_count = 0;
    current.listeners = NULL;
}

static void test_retired_workers_are_started_again(void **state)
{
    (void)state;
    assert_false(takeover_resume(&m));
    takeover_retire_workers(&m); /* a terminal's size */
    assert_int_equal(m.plan.workers, 2);
    m.upgrade.phase = UPGRADE_BESIDE;
    m.plan.has_admin = true;
    takeover_retire_workers(&m);
    assert_true(m.plan.workers == 0 && !m.plan.has_admin);
    current.config.workers = 3;
    current.admin_listener = &(struct listener){.fd = -1};
    assert_true(takeover_resume(&m));
    assert_true(m.plan.workers == 3 && m.plan.has_admin);
    current.admin_listener = NULL;
}

/* ---- starting a program --------------------------------------------------------------------- */

static char program[64], word[] = "word", root[] = "/";
static char *words[] = {word, NULL};
static struct start program_start = {.argc = 1, .argv = words, .program = program};
static const char *refusal;

static int refuse(const void *arg, struct error *err)
{
    (void)arg;
    return refusal ? error_set(err, EXIT_FAILED, "%s", refusal) : 0;
}

static struct upgrade_order order_of(const char *path)
{
    (void)snprintf(program, sizeof(program), "%s", path);
    refusal = NULL;
    program_start.dir = root;
    return (struct upgrade_order){.start = &program_start,
                                  .current = &current,
                                  .control = &m.control.listener,
                                  .bus = &m.bus,
                                  .shared_memory = &m.shared_memory,
                                  .boot_timeout_ms = 5000,
                                  .hands_over = true,
                                  .before = refuse};
}

static int setup_start(void **state)
{
    (void)master_setup(state);
    m.bus.fd = m.bus.wake_fd = m.shared_memory.fd = -1;
    upgrade_init(&m.upgrade, m.loop);
    return 0;
}

static void start_it(const struct upgrade_order *order)
{
    struct error err;

    assert_int_equal(upgrade_start(&m.upgrade, order, &err), 0);
    assert_int_equal(m.upgrade.phase, UPGRADE_BOOTING);
    assert_true(m.upgrade.pid > 0 && m.upgrade.fd >= 0 && m.upgrade.hands_over);
    assert_true(ev_is_active(&m.upgrade.io));
    assert_true(remaining() > 6.5 && remaining() <= 7); /* boot_timeout, and two seconds */
}

static void assert_fails(const char *why)
{
    int status = end_of_program();

    assert_true(takeover_reaped(&m, m.upgrade.pid, status));
    const char *log = logged();
    if (!strstr(log, why))
        print_error("%s: %s", why, log);
    assert_non_null(strstr(log, why));
}

static void test_program_is_started_with_its_signals(void **state)
{
    struct upgrade_order order = order_of("/bin/sh");
    static char shell[] = "sh", option[] = "-c", command[] = "kill -TERM $$; exit 3";
    static char *shell_words[] = {shell, option, command, NULL};
    sigset_t before, after;

    (void)state;
    (void)sigprocmask(SIG_SETMASK, NULL, &before);
    program_start.argv = shell_words;
    start_it(&order);
    (void)sigprocmask(SIG_SETMASK, NULL, &after);
    for (int number = 1; number < SIGRTMIN; number++)
        assert_int_equal(sigismember(&after, number), sigismember(&before, number));
    assert_fails("the new program was killed by SIGTERM");
    program_start.argv = words;
}

static void test_program_that_cannot_be_executed_is_named(void **state)
{
    struct upgrade_order order = order_of("/nonexistent/gcorn");

    (void)state;
    start_it(&order);
    assert_fails("Upgrade failed: cannot execute /nonexistent/gcorn: No such file");
}

static void test_hook_that_fails_starts_no_program(void **state)
{
    struct upgrade_order order = order_of("/bin/true");

    (void)state;
    refusal = "pre_exec says no";
    start_it(&order);
    assert_fails("Upgrade failed: pre_exec says no");
}

/* The variables of a service manager name the pid of the new master. */
static void test_variables_of_the_manager_are_readdressed(void **state)
{
    struct upgrade_order order = order_of("/bin/sh");
    static char shell[] = "sh", option[] = "-c",
                command[] = "[ $LISTEN_PID = $$ ] && [ $WATCHDOG_PID = $$ ] && exit 5; exit 6";
    static char *shell_words[] = {shell, option, command, NULL};

    (void)state;
    assert_int_equal(setenv("LISTEN_PID", "1", 1) | setenv("WATCHDOG_PID", "1", 1), 0);
    program_start.argv = shell_words;
    program_start.activation.count = 1;
    order.has_watchdog = true;
    start_it(&order);
    assert_fails("exited with code 5");
    program_start.argv = words;
    program_start.activation.count = 0;
    assert_int_equal(unsetenv("LISTEN_PID") | unsetenv("WATCHDOG_PID"), 0);
}

#define T(name)     cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define START(name) cmocka_unit_test_setup_teardown(test_##name, setup_start, teardown)

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
        T(end_of_the_program_ends_what_watched_it),
        T(deadline_is_noted),
        T(program_that_is_given_up_has_two_seconds),
        T(program_that_serves_has_no_deadline),
        T(reload_that_waits_is_passed_on),
        T(master_that_leaves_hands_over),
        T(stop_cancels_an_upgrade_that_boots),
        T(roll_back_makes_the_files_this_masters_again),
        T(retired_workers_are_started_again),
        START(program_is_started_with_its_signals),
        START(program_that_cannot_be_executed_is_named),
        START(hook_that_fails_starts_no_program),
        START(variables_of_the_manager_are_readdressed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
