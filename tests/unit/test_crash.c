/* SPDX-License-Identifier: MIT
 *
 * The end of a worker by a fatal signal or exit(): each case in a child of its own, whose slot and
 * channel the test reads afterwards as a master does.
 */
#include "worker_case.h"

#include "in_child.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

#include "gcorn.h"
#include "worker/crash/crash.h"

static struct worker_case *the_case;
static void (*in_handler)(void);
static sigjmp_buf recovery;

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    in_handler();
    (void)gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "whole");
}

static int open_case(void **state)
{
    *state = the_case = calloc(1, sizeof(*the_case));
    worker_case_init(the_case);
    worker_case_order(the_case, DOWN_GO, 0); /* the master has taken its stacks already */
    return 0;
}

static int close_case(void **state)
{
    struct worker_case *t = *state;

    channel_close(&t->channel);
    (void)munmap(t->slot, sizeof(*t->slot));
    config_release(&t->config);
    free(t);
    return 0;
}

/* Signals as a worker has them, not as cmocka does. */
static void become_worker(unsigned threads)
{
    static const int fatal[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGABRT};

    for (size_t i = 0; i < ARRAY_LEN(fatal); i++)
        (void)signal(fatal[i], SIG_DFL);
    worker_case_start(the_case, handler, 0);
    the_case->args.master_pid = getppid();
    crash_init(the_case->w);
    if (threads > 0) {
        the_case->config.threads = (int)threads;
        the_case->config.worker_class = WORKER_CLASS_GTHREAD;
        the_case->w->http.multithread = true;
        call_open(the_case->w);
    }
}

static void serve(void)
{
    (void)worker_case_ask(the_case, "/asked");
    for (;;)
        worker_case_turn(the_case);
}

static void run_sync(void *unused)
{
    (void)unused;
    become_worker(0);
    serve();
}

static void run_threads(void *unused)
{
    (void)unused;
    become_worker(2);
    serve();
}

static void expect_signal(void (*run)(void *unused), int signal_number)
{
    int status = in_child(run, NULL);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal_number);
}

static void assert_told(enum up_type first, enum up_type second)
{
    struct up_message m;

    assert_int_equal(worker_case_told(the_case, &m), first);
    assert_int_equal(worker_case_told(the_case, &m), second);
    assert_int_equal(worker_case_told(the_case, &m), 0);
}

/* ---- faults ------------------------------------------------------------------------------ */

static void fault(void)
{
    (void)raise(SIGBUS);
}

static void test_fault_in_a_call_is_answered_and_shown(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    in_handler = fault;
    expect_signal(run_sync, SIGBUS);
    assert_int_equal(atomic_load(&crash->stage), CRASH_RETURNED);
    assert_int_equal(crash->signal, SIGBUS);
    assert_int_equal(crash->call, 0);
    assert_int_equal(crash->client, CRASH_CLIENT_ANSWERED);
    assert_int_equal(crash->client_status, 500);
    assert_int_equal(crash->answered, 0);
    assert_true(crash->at_ms > 0 && crash->stack_len > 0);
    assert_told(UP_DYING, UP_CRASHED);
}

static void test_fault_in_a_thread_is_its_calls(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    in_handler = fault;
    expect_signal(run_threads, SIGBUS);
    assert_int_equal(atomic_load(&crash->stage), CRASH_RETURNED);
    assert_int_equal(crash->client, CRASH_CLIENT_ANSWERED);
    assert_true(crash->call == 0 || crash->call == 1);
    assert_string_equal(the_case->slot->calls[crash->call].target, "/asked");
    assert_int_not_equal(crash->tid, the_case->slot->pid);
}

static void fault_idle(void *unused)
{
    (void)unused;
    become_worker(0);
    (void)worker_case_connect(the_case);
    worker_case_turn(the_case);
    (void)raise(SIGSEGV);
}

static void test_fault_outside_a_call_blames_no_request(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    expect_signal(fault_idle, SIGSEGV);
    assert_int_equal(crash->signal, SIGSEGV);
    assert_int_equal(crash->client, CRASH_CLIENT_NONE);
    assert_int_equal(crash->client_status, 0);
}

static void answer(void)
{
}

static void fault_later(void *unused)
{
    (void)unused;
    become_worker(0);
    in_handler = answer;
    int client = worker_case_ask(the_case, "/before");
    (void)worker_case_answer(the_case, client, "whole");
    (void)raise(SIGSEGV);
}

/* The call of the request before is over: it is not to blame. */
static void test_call_before_is_not_to_blame(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    expect_signal(fault_later, SIGSEGV);
    assert_int_equal(crash->client, CRASH_CLIENT_NONE);
    assert_int_equal(crash->answered, 1);
}

static void call_exit(void)
{
    exit(3);
}

static void test_exit_in_a_call_is_a_crash(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    in_handler = call_exit;
    expect_exit(run_sync, NULL, 3);
    assert_int_equal(crash->signal, 0);
    assert_int_equal(crash->code, 3);
    assert_int_equal(crash->client_status, 500);
    assert_told(UP_DYING, UP_CRASHED);
}

static void leave_in_order(void *unused)
{
    (void)unused;
    become_worker(0);
    crash_expect_exit();
    exit(0);
}

static void test_exit_of_a_worker_that_leaves_is_no_crash(void **state)
{
    struct up_message m;

    (void)state;
    expect_exit(leave_in_order, NULL, 0);
    assert_int_equal(atomic_load(&the_case->slot->crash.stage), CRASH_NONE);
    assert_int_equal(worker_case_told(the_case, &m), 0);
}

/* ---- the master's timeout ---------------------------------------------------------------- */

static void hang(void)
{
    for (;;)
        (void)poll(NULL, 0, 100);
}

static void on_abort(void)
{
    (void)channel_send_up(the_case->channel.up_write, UP_BOOTFAIL, "abort hook");
}

static void hang_in_call(void *unused)
{
    (void)unused;
    become_worker(0);
    the_case->w->app.on_worker_abort = on_abort;
    crash_go_in_front();
    in_handler = hang;
    serve();
}

/* Waits until the call runs, then ends the worker as its master does. */
static int abort_in_call(void (*run)(void *unused), int signal_number)
{
    int status;

    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        run(NULL);
        _exit(98);
    }
    while (!slot_call_runs(&the_case->slot->calls[0]))
        (void)poll(NULL, 0, 1);
    assert_int_equal(kill(pid, signal_number), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void test_masters_abort_answers_504_and_runs_the_hook(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;
    struct up_message m;

    (void)state;
    int status = abort_in_call(hang_in_call, SIGABRT);
    assert_true(WIFEXITED(status));
    assert_int_equal(crash->client_status, 504);
    assert_int_equal(crash->sender, getpid());
    assert_int_equal(worker_case_told(the_case, &m), UP_DYING);
    assert_int_equal(worker_case_told(the_case, &m),
                     UP_BOOTFAIL); /* no stacks: there is no crash */
    assert_string_equal(m.text, "abort hook");
}

static void test_persons_signal_is_a_crash_and_runs_no_hook(void **state)
{
    const struct slot_crash *crash = &the_case->slot->crash;

    (void)state;
    int status = abort_in_call(hang_in_call, SIGSEGV);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(crash->client_status, 500);
    assert_told(UP_DYING, UP_CRASHED);
}

/* ---- signals that are held --------------------------------------------------------------- */

static void hold_and_take(void *unused)
{
    (void)unused;
    become_worker(0);
    the_case->w->is_sending = true;
    (void)raise(SIGABRT);
    CHECK(the_case->w->held_signal == SIGABRT);
    CHECK(atomic_load(&the_case->slot->crash.stage) == CRASH_NONE);
    the_case->w->is_sending = false;
    crash_take_held();
}

static void test_signal_waits_while_bytes_are_sent(void **state)
{
    (void)state;
    expect_signal(hold_and_take, SIGABRT);
    assert_int_equal(the_case->slot->crash.signal, SIGABRT);
    assert_int_equal(the_case->slot->crash.code, SI_TKILL); /* of the signal that came first */
}

/* ---- recovery ---------------------------------------------------------------------------- */

static void on_own_signal(int signal_number)
{
    (void)signal_number;
    siglongjmp(recovery, 1);
}

static void recover_from_fault(void)
{
    if (sigsetjmp(recovery, 1) == 0)
        (void)raise(SIGBUS);
}

static void run_with_own_handler(void *unused)
{
    (void)unused;
    become_worker(0);
    (void)signal(SIGBUS, on_own_signal);
    crash_go_in_front();
    in_handler = recover_from_fault;
    serve();
}

/* Its clients have been answered: it must not go on. */
static void test_application_that_recovers_ends(void **state)
{
    (void)state;
    expect_exit(run_with_own_handler, NULL, EXIT_FAILED);
    assert_int_equal(the_case->slot->crash.client_status, 500);
}

/* ---- what the application does to signals ------------------------------------------------ */

static void block_and_check(void *unused)
{
    sigset_t all, now;

    (void)unused;
    become_worker(0);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    crash_check();
    (void)sigprocmask(SIG_BLOCK, NULL, &now);
    CHECK(sigismember(&now, SIGSEGV) == 0);
    CHECK(sigismember(&now, SIGABRT) == 0);
    CHECK(sigismember(&now, SIGUSR1) == 1); /* the others are the application's */
}

static void test_blocked_fatal_signals_are_unblocked(void **state)
{
    (void)state;
    expect_exit(block_and_check, NULL, 0);
}

static void check_without_handler(void *unused)
{
    struct sigaction now;
    sigset_t mask;

    (void)unused;
    the_case->config.crash_handler = false;
    become_worker(0);
    (void)sigaction(SIGSEGV, NULL, &now);
    CHECK(now.sa_handler == SIG_DFL);
    (void)sigemptyset(&mask);
    (void)sigaddset(&mask, SIGSEGV);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    crash_check();
    (void)sigprocmask(SIG_BLOCK, NULL, &mask);
    CHECK(sigismember(&mask, SIGSEGV) == 1);
}

static void test_crash_handler_off_leaves_signals_alone(void **state)
{
    (void)state;
    expect_exit(check_without_handler, NULL, 0);
}

static void fault_in_forked_child(void *unused)
{
    int status;

    (void)unused;
    become_worker(0);
    pid_t pid = fork();
    if (pid == 0)
        (void)raise(SIGBUS);
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    CHECK(atomic_load(&the_case->slot->crash.stage) == CRASH_NONE);
    crash_expect_exit();
}

static void test_child_of_the_application_crashes_alone(void **state)
{
    (void)state;
    expect_exit(fault_in_forked_child, NULL, 0);
}

static void look_at_stack_and_mask(void *unused)
{
    sigset_t blocked;
    stack_t stack;

    (void)unused;
    (void)sigfillset(&blocked);
    crash_spare_fatal(&blocked);
    CHECK(sigismember(&blocked, SIGFPE) == 0 && sigismember(&blocked, SIGTERM) == 1);
    become_worker(0);
    CHECK(sigaltstack(NULL, &stack) == 0);
    CHECK(!(stack.ss_flags & SS_DISABLE) && stack.ss_size >= 32768);
}

static void test_worker_has_a_stack_for_overflows(void **state)
{
    (void)state;
    expect_exit(look_at_stack_and_mask, NULL, 0);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_fault_in_a_call_is_answered_and_shown),
        CASE(test_fault_in_a_thread_is_its_calls),
        CASE(test_fault_outside_a_call_blames_no_request),
        CASE(test_call_before_is_not_to_blame),
        CASE(test_exit_in_a_call_is_a_crash),
        CASE(test_exit_of_a_worker_that_leaves_is_no_crash),
        CASE(test_masters_abort_answers_504_and_runs_the_hook),
        CASE(test_persons_signal_is_a_crash_and_runs_no_hook),
        CASE(test_signal_waits_while_bytes_are_sent),
        CASE(test_application_that_recovers_ends),
        CASE(test_blocked_fatal_signals_are_unblocked),
        CASE(test_crash_handler_off_leaves_signals_alone),
        CASE(test_child_of_the_application_crashes_alone),
        CASE(test_worker_has_a_stack_for_overflows),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
