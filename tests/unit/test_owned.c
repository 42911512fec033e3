/* SPDX-License-Identifier: MIT
 *
 * Marks of the server's own descriptors: a forked child closes these and no others.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/owned.h"

enum { COUNT = 200 };

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void open_all(int fds[COUNT])
{
    for (int i = 0; i < COUNT; i++)
        assert_true((fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0);
}

/* In a child: status 0 when exactly those are closed that are told to be. */
static int child_status(const int fds[COUNT], bool (*is_closed)(int i), int except)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        owned_close_all(except);
        for (int i = 0; i < COUNT; i++) {
            if (is_open(fds[i]) == is_closed(i))
                _exit(1);
        }
        _exit(is_open(STDERR_FILENO) ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static bool is_none(int i)
{
    (void)i;
    return false;
}

/* Runs of several, single ones, and all but the excepted in the middle of a run. */
static bool is_pattern(int i)
{
    return i % 7 != 0 && i != 100;
}

static void test_a_child_closes_what_is_marked(void **state)
{
    int fds[COUNT];

    (void)state;
    open_all(fds);
    assert_int_equal(child_status(fds, is_none, -1), 0);
    for (int i = 0; i < COUNT; i++) {
        owned_add(fds[i]);
        if (i % 7 == 0)
            owned_remove(fds[i]);
    }
    assert_int_equal(child_status(fds, is_pattern, fds[100]), 0);
    for (int i = 0; i < COUNT; i++)
        owned_close(&fds[i]);
}

static void test_a_closed_number_is_not_marked(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd;

    (void)state;
    owned_add(fd);
    errno = ENOSPC;
    owned_close(&fd);
    assert_int_equal(errno, ENOSPC);
    assert_int_equal(fd, -1);
    owned_close(&fd);
    assert_int_equal(dup2(STDERR_FILENO, number), number); /* of the application, by now */
    owned_close_all(-1);
    assert_true(is_open(number));
    (void)close(number);
}

/* In a child, whose descriptors nobody misses: both the number that a descriptor gets and the next
 * one are reserved. 0, or the number of what is wrong. */
static int take_reserved(void)
{
    struct stat null, st;
    int kept = open("/dev/zero", O_RDWR | O_CLOEXEC), ends[2];

    owned_keep(kept);
    if (stat("/dev/null", &null) < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return 1;
    (void)close(kept);
    (void)close(STDIN_FILENO);
    int fd = owned_take(dup(ends[0]));
    if (fd <= STDERR_FILENO || fd == kept)
        return 2;
    if (fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode) || !(fcntl(fd, F_GETFD) & FD_CLOEXEC))
        return 3;
    if (fstat(STDIN_FILENO, &st) < 0 || st.st_rdev != null.st_rdev)
        return 4;
    return fstat(kept, &st) < 0 || st.st_rdev != null.st_rdev ? 5 : 0;
}

static void test_a_reserved_number_is_given_to_no_other(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0)
        _exit(take_reserved());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_taken_descriptor_is_marked(void **state)
{
    int status, fd = owned_take(open("/dev/null", O_RDONLY | O_CLOEXEC));
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        owned_close_all(-1);
        _exit(is_open(fd) ? 1 : 0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
    owned_close(&fd);
    assert_int_equal(fd, -1);
}

static void test_standard_descriptors_are_filled(void **state)
{
    int status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        (void)close(STDIN_FILENO);
        (void)close(STDERR_FILENO);
        owned_fill_standard();
        _exit(is_open(STDIN_FILENO) && is_open(STDERR_FILENO) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_numbers_that_are_none_are_ignored(void **state)
{
    (void)state;
    owned_add(-1);
    owned_remove(-1);
    owned_add(1 << 30);
    owned_remove(1 << 30);
    owned_close_all(-1);
    assert_true(is_open(STDERR_FILENO));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_child_closes_what_is_marked),
        cmocka_unit_test(test_a_closed_number_is_not_marked),
        cmocka_unit_test(test_a_reserved_number_is_given_to_no_other),
        cmocka_unit_test(test_taken_descriptor_is_marked),
        cmocka_unit_test(test_standard_descriptors_are_filled),
        cmocka_unit_test(test_numbers_that_are_none_are_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
