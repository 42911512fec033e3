/* SPDX-License-Identifier: MIT
 *
 * Masks and dispositions across a fork, of real children.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>

#include "in_child.h"
#include "system/process/signals.h"

static void nothing(int sig)
{
    (void)sig;
}

static void reset_with_pending(void *arg)
{
    (void)arg;
    (void)raise(SIGTERM);
    signals_reset();
    _exit(0); /* not reached: the signal was kept, and now has its default effect */
}

static void reset_dispositions(void *arg)
{
    struct sigaction act;
    sigset_t mask;

    (void)arg;
    signals_reset();
    CHECK(sigaction(SIGUSR1, NULL, &act) == 0 && act.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGPIPE, NULL, &act) == 0 && act.sa_handler == SIG_DFL);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGTERM) == 0);
}

static void test_signals_across_fork(void **state)
{
    sigset_t old, now;

    (void)state;
    (void)signal(SIGTERM, nothing);
    (void)signal(SIGUSR1, nothing);
    (void)signal(SIGPIPE, SIG_IGN);
    signals_block(&old);
    int status = in_child(reset_with_pending, NULL);
    expect_exit(reset_dispositions, NULL, 0);
    signals_restore(&old);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    assert_int_equal(sigismember(&now, SIGTERM), 0);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGUSR1, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_across_fork),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
