/* SPDX-License-Identifier: MIT
 *
 * app_copy_dir: what is made, what is removed when, and what is left alone.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/code/copies.h"
#include "temp_dir.h"

static int open_in(struct copies *c, const char *dir, unsigned generation, struct error *err)
{
    const struct copies_home home = {.dir = dir, .owner = getpid(), .generation = generation};

    return copies_open(c, &home, err);
}

static bool is_there(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* Makes one file in it, and returns the file's path. */
static char *make_file(struct copies *c, const char *name)
{
    char *path;
    int fd = copies_make(c, name, &path);

    assert_true(fd >= 0);
    assert_int_equal(write_all(fd, "x", 1), 0);
    assert_int_equal(copies_finish(path, &fd), 0);
    assert_int_equal(write(fd, "y", 1), -1); /* read only by now */
    (void)close(fd);
    return path;
}

/* A user that may write to the directory may replace the copy. */
static void test_file_that_is_replaced(void **state)
{
    struct copies c;
    struct error err;
    char *path;

    (void)state;
    assert_int_equal(open_in(&c, temp_dir, 5, &err), 0);
    int fd = copies_make(&c, "app.so", &path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0644), 0);
    (void)alarm(10); /* opening it must not wait for a writer */
    assert_int_equal(copies_finish(path, &fd), -1);
    (void)alarm(0);
    assert_int_equal(errno, EEXIST);
    assert_int_equal(fd, -1);
    free(path);
    copies_close(&c);
}

static void test_copies_files(void **state)
{
    struct copies c;
    struct error err;
    struct stat st;

    (void)state;
    mode_t old = umask(077);
    assert_int_equal(open_in(&c, temp_dir, 3, &err), 0);
    char *path = make_file(&c, "app.so"), *other = make_file(&c, "app.so");
    (void)umask(old);
    char *want = xasprintf("%s/%d-3/app.so", temp_dir, (int)getpid());
    assert_string_equal(path, want);
    assert_string_not_equal(other, want);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0444);
    assert_int_equal(stat(c.path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    copies_close(&c);
    assert_false(is_there(path));
    assert_false(is_there(other));
    copies_close(&c); /* harmless */
    free(path);
    free(other);
    free(want);
}

/* A worker closes what it inherits: the files are the master's to remove. */
static void test_copies_of_a_child_stay(void **state)
{
    struct copies c;
    struct error err;
    int status;

    (void)state;
    assert_int_equal(open_in(&c, temp_dir, 1, &err), 0);
    char *path = make_file(&c, "app.so");
    pid_t pid = fork();
    if (pid == 0) {
        copies_close(&c);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(is_there(path));
    copies_close(&c);
    assert_false(is_there(path));
    free(path);
}

/* Left from a process that is gone: made by a child, which has not closed it. */
static void leave(unsigned generation)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        struct copies c;
        struct error err;

        if (open_in(&c, temp_dir, generation, &err) == 0)
            free(make_file(&c, "app.so"));
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
}

static size_t count_entries(void)
{
    char *command = xasprintf("ls -A %s | wc -l", temp_dir);
    unsigned count = 0;
    FILE *f = popen(command, "r"); /* NOLINT: a command of our own */

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%u", &count), 1);
    (void)pclose(f);
    free(command);
    return count;
}

static void test_copies_left_are_removed(void **state)
{
    struct copies live, c;
    struct error err;
    char link[200], file[200], dir[200];

    (void)state;
    assert_int_equal(open_in(&live, temp_dir, 1, &err), 0);
    char *path = make_file(&live, "app.so");
    leave(7);
    leave(8);
    assert_int_equal(count_entries(), 2); /* the second one has removed the first */
    (void)snprintf(link, sizeof(link), "%s/1-1", temp_dir);
    (void)snprintf(file, sizeof(file), "%s/2-2", temp_dir);
    (void)snprintf(dir, sizeof(dir), "%s/notes-3", temp_dir);
    assert_int_equal(symlink(live.path, link), 0);
    (void)close(open(file, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(open_in(&c, temp_dir, 2, &err), 0);
    assert_int_equal(count_entries(), 5); /* live, c, link, file, dir */
    assert_true(is_there(path));
    copies_close(&c);
    copies_close(&live);
    assert_true(unlink(link) == 0 && unlink(file) == 0 && rmdir(dir) == 0);
    free(path);
}

/* Servers of two pid namespaces may have the same pid. */
static void test_copies_of_the_same_name(void **state)
{
    struct copies a, b;
    struct error err;

    (void)state;
    assert_int_equal(open_in(&a, temp_dir, 1, &err), 0);
    assert_int_equal(open_in(&b, temp_dir, 1, &err), 0);
    assert_string_not_equal(a.path, b.path);
    copies_close(&a);
    assert_true(is_there(b.path));
    copies_close(&b);
}

static void test_copies_no_directory(void **state)
{
    struct copies c;
    struct error err;

    (void)state;
    assert_int_equal(open_in(&c, "/nonexistent", 1, &err), -1);
    assert_string_equal(err.text, "app_copy_dir: cannot open the directory /nonexistent: "
                                  "No such file or directory");
    copies_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_that_is_replaced),
        cmocka_unit_test(test_copies_files),
        cmocka_unit_test(test_copies_of_a_child_stay),
        cmocka_unit_test(test_copies_left_are_removed),
        cmocka_unit_test(test_copies_of_the_same_name),
        cmocka_unit_test(test_copies_no_directory),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
