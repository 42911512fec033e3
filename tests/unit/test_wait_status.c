/* SPDX-License-Identifier: MIT
 *
 * The words for how a child ended, of statuses that real children leave.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/wait_status.h"

static int wait_for(pid_t child)
{
    int status;

    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static int status_of_exit(int code)
{
    pid_t child = fork();

    if (child == 0)
        _exit(code);
    return wait_for(child);
}

static int status_of_signal(int number)
{
    pid_t child = fork();

    if (child == 0) {
        const struct rlimit no_core = {0, 0};

        (void)setrlimit(RLIMIT_CORE, &no_core);
        (void)signal(number, SIG_DFL); /* sanitizers have handlers */
        (void)kill(getpid(), number);
        _exit(1);
    }
    return wait_for(child);
}

static void test_exit_is_told_by_its_code(void **state)
{
    char text[WAIT_STATUS_TEXT_SIZE];

    (void)state;
    assert_string_equal(wait_status_text(status_of_exit(0), text), "exited with code 0");
    assert_string_equal(wait_status_text(status_of_exit(7), text), "exited with code 7");
    assert_string_equal(wait_status_text(status_of_exit(255), text), "exited with code 255");
}

static void test_signal_is_told_by_name_and_meaning(void **state)
{
    char text[WAIT_STATUS_TEXT_SIZE];

    (void)state;
    assert_string_equal(wait_status_text(status_of_signal(SIGKILL), text),
                        "was killed by SIGKILL (Killed)");
    assert_string_equal(wait_status_text(status_of_signal(SIGSEGV), text),
                        "was killed by SIGSEGV (Segmentation fault)");
}

static void test_core_dump_changes_no_word(void **state)
{
    const int core_flag = 0x80; /* wait(2): WCOREDUMP */
    char text[WAIT_STATUS_TEXT_SIZE];

    (void)state;
    assert_string_equal(wait_status_text(SIGABRT | core_flag, text),
                        "was killed by SIGABRT (Aborted)");
}

static void test_nameless_signal_is_told_by_number(void **state)
{
    char text[WAIT_STATUS_TEXT_SIZE];

    (void)state;
    assert_string_equal(wait_status_text(status_of_signal(60), text), "was killed by signal 60");
}

/* The longest description still fits: all numbers are tried. */
static void test_every_status_fits(void **state)
{
    struct {
        char text[WAIT_STATUS_TEXT_SIZE];
        char after;
    } room = {.after = 'x'};

    (void)state;
    for (int status = 0; status <= 0xffff; status++) {
        if (!WIFEXITED(status) && !WIFSIGNALED(status))
            continue;
        size_t len = strnlen(wait_status_text(status, room.text), sizeof(room.text));

        assert_in_range(len, strlen("exited with code 0"), WAIT_STATUS_TEXT_SIZE - 2);
        assert_true(room.text[len - 1] == ')' || WIFEXITED(status) || WTERMSIG(status) > 31);
    }
    assert_int_equal(room.after, 'x');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_is_told_by_its_code),
        cmocka_unit_test(test_signal_is_told_by_name_and_meaning),
        cmocka_unit_test(test_core_dump_changes_no_word),
        cmocka_unit_test(test_nameless_signal_is_told_by_number),
        cmocka_unit_test(test_every_status_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
