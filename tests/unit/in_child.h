/* SPDX-License-Identifier: MIT
 *
 * in_child - running a function in a child process, whose end the test then looks at.
 */
#ifndef GCORN_TESTS_UNIT_IN_CHILD_H
#define GCORN_TESTS_UNIT_IN_CHILD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* In a child, where cmocka's assertions would run the rest of the tests a second time. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)dprintf(STDERR_FILENO, "%s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* The wait status of a child that runs fn(arg). */
static inline int in_child(void (*fn)(void *arg), void *arg)
{
    int status;

    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static inline void expect_exit(void (*fn)(void *arg), void *arg, int code)
{
    int status = in_child(fn, arg);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

#endif
