/* SPDX-License-Identifier: MIT
 *
 * What stands in for functions of a new glibc, held against the functions themselves.
 */
#define COMPAT_ALL
#include "base/compat.c"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

static void test_signals_have_the_same_names(void **state)
{
    (void)state;
#if COMPAT_GLIBC(2, 32)
    for (int number = -1; number < SIGRTMIN; number++) {
        const char *name = sigabbrev_np(number), *text = sigdescr_np(number);

        if (!name) {
            assert_null(compat_sigabbrev_np(number));
            assert_null(compat_sigdescr_np(number));
            continue;
        }
        assert_string_equal(compat_sigabbrev_np(number), name);
        assert_string_equal(compat_sigdescr_np(number), text);
    }
#endif
    assert_string_equal(compat_sigabbrev_np(SIGTERM), "TERM");
    assert_null(compat_sigabbrev_np(SIGRTMAX));
    assert_null(compat_sigabbrev_np(1000000));
}

static void test_errors_have_the_same_texts(void **state)
{
    (void)state;
#if COMPAT_GLIBC(2, 32)
    for (int number = 0; number < 200; number++) {
        if (strerrordesc_np(number))
            assert_string_equal(compat_strerrordesc_np(number), strerrordesc_np(number));
    }
#endif
    assert_string_equal(compat_strerrordesc_np(ENOENT), "No such file or directory");
    assert_non_null(compat_strerrordesc_np(99999));
}

/* A full pipe takes nothing more and does not wait, or the kernel does not know how (Linux 6.4). */
static void test_pwritev2_does_not_wait(void **state)
{
    int fds[2];
    char bytes[4096] = {'x'}, first = '\0';
    const struct iovec part = {bytes, sizeof(bytes)};
    ssize_t n, sum = 0;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    while ((n = compat_pwritev2(fds[1], &part, 1, -1, RWF_NOWAIT)) > 0)
        sum += n;
    assert_int_equal(n, -1);
    if (errno != EOPNOTSUPP) {
        assert_int_equal(errno, EAGAIN);
        assert_true(sum >= (ssize_t)sizeof(bytes));
        assert_int_equal(read(fds[0], &first, 1), 1);
        assert_int_equal(first, 'x');
    }
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void end_with_seven(int status, void *argument)
{
    _exit(status == -1 && strcmp(argument, "told") == 0 ? 7 : 8);
}

static void test_on_exit_is_called(void **state)
{
    static char told[] = "told";
    int status = 0;

    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        if (compat_on_exit(end_with_seven, told) == 0)
            exit(3);
        _exit(9);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

static void test_the_rest(void **state)
{
    int unset;
    void *extra = &unset;
    Dl_info info;

    (void)state;
    assert_int_equal(compat_malloc_trim(0), 0);
    assert_int_not_equal(compat_dladdr1((void *)(uintptr_t)getenv, &info, &extra, RTLD_DL_SYMENT),
                         0);
    assert_null(extra);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signals_have_the_same_names),
        cmocka_unit_test(test_errors_have_the_same_texts),
        cmocka_unit_test(test_pwritev2_does_not_wait),
        cmocka_unit_test(test_on_exit_is_called),
        cmocka_unit_test(test_the_rest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
