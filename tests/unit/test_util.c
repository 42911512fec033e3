/* SPDX-License-Identifier: MIT
 *
 * Descriptors, paths and numbers of base/util.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

static void test_closed_descriptor_is_minus_one(void **state)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), number = fd;

    (void)state;
    errno = EXDEV;
    fd_close(&fd);
    assert_int_equal(fd, -1);
    assert_int_equal(fcntl(number, F_GETFD), -1);
    errno = EXDEV;
    fd_close(&fd); /* does nothing */
    assert_int_equal(errno, EXDEV);
    fd = number; /* which is not open: the error of close is not shown */
    fd_close(&fd);
    assert_int_equal(errno, EXDEV);
}

static void test_mark_tells_a_replaced_descriptor(void **state)
{
    struct fd_mark mark;
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), same = dup(fd);

    (void)state;
    fd_mark(fd, &mark);
    assert_true(fd_is(fd, &mark) && fd_is(same, &mark));
    int other = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(dup2(other, fd) == fd);
    assert_false(fd_is(fd, &mark));
    fd_close(&fd);
    fd_close(&other);
    errno = EXDEV;
    assert_false(fd_is(fd, &mark));
    assert_int_equal(errno, EXDEV);
    fd_close(&same);
}

static void test_flags_are_set_and_cleared_alone(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    assert_int_equal(fd_set_cloexec(fds[0], false), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), 0);
    assert_int_equal(fd_set_cloexec(fds[0], true), 0);
    assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(fd_set_nonblock(fds[1]), 0);
    assert_int_equal(fcntl(fds[1], F_GETFL) & (O_NONBLOCK | O_ACCMODE), O_NONBLOCK | O_WRONLY);
    assert_int_equal(fcntl(fds[1], F_GETFD), FD_CLOEXEC);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    assert_int_equal(fd_set_cloexec(fds[0], true), -1);
    assert_int_equal(fd_set_nonblock(fds[0]), -1);
    assert_int_equal(errno, EBADF);
}

static void expect_dir(const char *path, const char *want)
{
    char *dir = path_dir(path);

    assert_string_equal(dir, want);
    free(dir);
}

static void test_directory_of_a_path(void **state)
{
    (void)state;
    expect_dir("a", ".");
    expect_dir("", ".");
    expect_dir("a/b", "a");
    expect_dir("a//b//", "a");
    expect_dir("/a", "/");
    expect_dir("//a", "/");
    expect_dir("/a/b/c", "/a/b");
}

static void test_absolute_path_names_the_working_directory(void **state)
{
    char *cwd = getcwd(NULL, 0), *want = xasprintf("%s/x", cwd), *got = path_absolute("x");

    (void)state;
    assert_string_equal(got, want);
    free(got);
    got = path_absolute("/x");
    assert_string_equal(got, "/x");
    free(got);
    free(want);
    free(cwd);
}

static void test_numbers_are_whole_texts_in_bounds(void **state)
{
    int64_t n = 77;

    (void)state;
    assert_int_equal(parse_int("0", 0, 9, &n), 0);
    assert_int_equal(n, 0);
    assert_int_equal(parse_int("-9", -9, 9, &n), 0);
    assert_int_equal(n, -9);
    assert_int_equal(parse_int("9223372036854775807", 0, INT64_MAX, &n), 0);
    assert_int_equal(n, INT64_MAX);
    static const char *const not_numbers[] = {"", "-", "+1", " 1", "1 ", "1x", "0x1", "--1", "-x"};
    for (size_t i = 0; i < ARRAY_LEN(not_numbers); i++) {
        assert_int_equal(parse_int(not_numbers[i], -9, 9, &n), -1);
        assert_int_equal(errno, EINVAL);
    }
    static const char *const outside[] = {"10", "-10", "9223372036854775808",
                                          "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        assert_int_equal(parse_int(outside[i], -9, 9, &n), -1);
        assert_int_equal(errno, ERANGE);
    }
    assert_int_equal(n, INT64_MAX);
}

static void test_clocks_count_in_their_units(void **state)
{
    uint64_t ms = now_ms(), ns = now_ns(), wall = wall_ms();

    (void)state;
    assert_in_range(ns / 1000000, ms, ms + 60000);
    assert_in_range(wall / 1000, (uint64_t)time(NULL) - 60, (uint64_t)time(NULL) + 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed_descriptor_is_minus_one),
        cmocka_unit_test(test_mark_tells_a_replaced_descriptor),
        cmocka_unit_test(test_flags_are_set_and_cleared_alone),
        cmocka_unit_test(test_directory_of_a_path),
        cmocka_unit_test(test_absolute_path_names_the_working_directory),
        cmocka_unit_test(test_numbers_are_whole_texts_in_bounds),
        cmocka_unit_test(test_clocks_count_in_their_units),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
