/* SPDX-License-Identifier: MIT
 *
 * Whether a file could be opened for writing or made, found out without touching it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "in_child.h"
#include "system/file/writable.h"
#include "system/process/privileges.h"
#include "temp_dir.h"

static const struct privileges root_workers = {.uid = 0};
static char path[64];

static const char *in_dir(const char *name)
{
    (void)snprintf(path, sizeof(path), "%s/%s", temp_dir, name);
    return path;
}

static void test_absent_file_needs_a_writable_directory(void **state)
{
    (void)state;
    assert_int_equal(writable_append(in_dir("absent"), &root_workers), 0);
    assert_int_equal(access(path, F_OK), -1); /* nothing was made */
    assert_int_equal(writable_new(path), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(writable_new("/nonexistent/x"), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(writable_append("/nonexistent/x", &root_workers), -1);
    assert_int_equal(errno, ENOENT);
}

static void test_file_is_left_as_it_is(void **state)
{
    struct stat before, after;
    int fd = open(in_dir("file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    (void)state;
    assert_int_equal(write_all(fd, "text", 4), 0);
    assert_int_equal(fstat(fd, &before), 0);
    fd_close(&fd);
    int lowest = dup(STDERR_FILENO);
    (void)close(lowest);
    assert_int_equal(writable_append(path, &root_workers), 0);
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(after.st_size, 4);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    int still = dup(STDERR_FILENO);
    assert_int_equal(still, lowest); /* none is left open */
    (void)close(still);
    assert_int_equal(unlink(path), 0);
}

static void test_fifo_is_not_opened(void **state)
{
    (void)state;
    assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
    assert_int_equal(writable_append(path, &root_workers), 0); /* without a reader: open fails */
    assert_int_equal(unlink(path), 0);
}

static void test_link_to_an_absent_file_may_be_one(void **state)
{
    (void)state;
    assert_int_equal(symlink("/nonexistent/target", in_dir("link")), 0);
    assert_int_equal(writable_append(path, &root_workers), 0);
    assert_int_equal(unlink(path), 0);
}

/* Another user in a sticky directory of root, with a file of root in it. */
static void replace_in_sticky(void *arg)
{
    CHECK(setresuid(12345, 12345, 12345) == 0);
    errno = 0;
    CHECK(writable_new(arg) == -1 && errno == EPERM);
    CHECK(writable_new("/tmp/gcorn-test-absent") == 0);
}

static void test_file_of_another_user_sticks(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(temp_dir, 01777), 0);
    int fd = open(in_dir("roots"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fd_close(&fd);
    expect_exit(replace_in_sticky, path, 0);
    assert_int_equal(unlink(path), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_absent_file_needs_a_writable_directory),
        cmocka_unit_test(test_file_is_left_as_it_is),
        cmocka_unit_test(test_fifo_is_not_opened),
        cmocka_unit_test(test_link_to_an_absent_file_may_be_one),
        cmocka_unit_test(test_file_of_another_user_sticks),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
