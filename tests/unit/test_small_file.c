/* SPDX-License-Identifier: MIT
 *
 * Small files: whole, cut, empty, huge, absent, unreadable.
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
#include <sys/wait.h>
#include <unistd.h>

#include "base/small_file.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "temp_dir.h"

static char path[64];

static const char *file_of(const char *bytes, size_t len)
{
    (void)snprintf(path, sizeof(path), "%s/file", temp_dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(write_all(fd, bytes, len), 0);
    fd_close(&fd);
    return path;
}

static size_t count_fds(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC); /* the lowest free number */

    (void)close(fd);
    return (size_t)fd;
}

static void test_whole_file_is_appended(void **state)
{
    struct strbuf out = {0};
    size_t fds = count_fds();

    (void)state;
    strbuf_addstr(&out, "before ");
    assert_int_equal(small_file_read(file_of("a\nb\n", 4), 100, &out), 0);
    assert_string_equal(out.data, "before a\nb\n");
    assert_int_equal(out.len, 11);
    assert_int_equal(count_fds(), fds);
    strbuf_release(&out);
    assert_int_equal(unlink(path), 0);
}

static void test_empty_file_appends_nothing(void **state)
{
    struct strbuf out = {0};
    char text[8] = "kept";

    (void)state;
    assert_int_equal(small_file_read(file_of("", 0), 100, &out), 0);
    assert_int_equal(out.len, 0);
    assert_int_equal(small_file_start(path, text, sizeof(text)), 0);
    assert_string_equal(text, "");
    strbuf_release(&out);
    assert_int_equal(unlink(path), 0);
}

static void test_file_longer_than_the_limit_is_refused(void **state)
{
    char bytes[10000];
    struct strbuf out = {0};
    size_t fds = count_fds();

    (void)state;
    memset(bytes, 'b', sizeof(bytes));
    assert_int_equal(small_file_read(file_of(bytes, sizeof(bytes)), sizeof(bytes), &out), 0);
    assert_int_equal(out.len, sizeof(bytes));
    strbuf_reset(&out);
    assert_int_equal(small_file_read(path, sizeof(bytes) - 1, &out), -1);
    assert_int_equal(errno, EFBIG);
    strbuf_reset(&out);
    assert_int_equal(small_file_read("/dev/zero", 100, &out), -1); /* which has no end */
    assert_int_equal(errno, EFBIG);
    assert_int_equal(count_fds(), fds);
    strbuf_release(&out);
    assert_int_equal(unlink(path), 0);
}

static void test_start_is_cut_to_the_room(void **state)
{
    char text[5] = "....";

    (void)state;
    assert_int_equal(small_file_start(file_of("abc", 3), text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    assert_int_equal(small_file_start(file_of("abcdefgh", 8), text, sizeof(text)), 4);
    assert_string_equal(text, "abcd");
    assert_int_equal(small_file_start(path, text, 1), 0);
    assert_string_equal(text, "");
    assert_int_equal(unlink(path), 0);
}

static void test_start_joins_short_reads(void **state)
{
    char text[8] = "";
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fds[0]);
    assert_int_equal(write_all(fds[1], "one", 3), 0);
    pid_t child = fork();
    if (child == 0) { /* the second piece comes while the first is read, or after */
        (void)write_all(fds[1], "two", 3);
        _exit(0);
    }
    fd_close(&fds[1]);
    assert_int_equal(small_file_start(path, text, sizeof(text)), 6);
    assert_string_equal(text, "onetwo");
    fd_close(&fds[0]);
    assert_int_equal(waitpid(child, NULL, 0), child);
}

static void test_unreadable_file_is_an_error(void **state)
{
    struct strbuf out = {0};
    char text[8] = "kept";
    size_t fds = count_fds();

    (void)state;
    assert_int_equal(small_file_read("/nonexistent", 100, &out), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(small_file_start("/nonexistent", text, sizeof(text)), -1);
    assert_int_equal(errno, ENOENT);
    assert_string_equal(text, "");
    assert_int_equal(small_file_read("/", 100, &out), -1);
    assert_int_equal(errno, EISDIR);
    text[0] = 'k';
    assert_int_equal(small_file_start("/", text, sizeof(text)), -1);
    assert_int_equal(errno, EISDIR);
    assert_string_equal(text, "");
    assert_int_equal(small_file_start("/proc/self/mem", text, sizeof(text)), -1); /* read fails */
    assert_int_equal(errno, EIO);
    assert_int_equal(count_fds(), fds);
    strbuf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_file_is_appended),
        cmocka_unit_test(test_empty_file_appends_nothing),
        cmocka_unit_test(test_file_longer_than_the_limit_is_refused),
        cmocka_unit_test(test_start_is_cut_to_the_room),
        cmocka_unit_test(test_start_joins_short_reads),
        cmocka_unit_test(test_unreadable_file_is_an_error),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
