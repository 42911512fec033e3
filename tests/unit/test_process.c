/* SPDX-License-Identifier: MIT
 *
 * A process among others: parent, children, descriptors, limits.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <time.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/util.h"
#include "in_child.h"
#include "system/process/limits.h"
#include "system/process/process.h"

static void orphan_already(void *arg)
{
    (void)arg;
    process_die_with_parent(getpid(), SIGTERM); /* never the parent */
    _exit(99);
}

/* A parent whose child waits for ever, and which leaves once the child is set up. */
static void parent_of_waiting_child(void *arg)
{
    int *pipe_fds = arg;
    pid_t self = getpid();
    char byte;

    if (fork() == 0) {
        process_die_with_parent(self, SIGTERM);
        CHECK(write(pipe_fds[1], "x", 1) == 1);
        for (;;)
            (void)pause();
    }
    CHECK(read(pipe_fds[0], &byte, 1) == 1);
}

static void test_die_with_parent(void **state)
{
    int fds[2];
    char byte;

    (void)state;
    expect_exit(orphan_already, NULL, EXIT_STOPPED);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    expect_exit(parent_of_waiting_child, fds, 0);
    fd_close(&fds[1]);
    assert_int_equal(read(fds[0], &byte, 1), 0); /* the grandchild, which held the pipe, is dead */
    fd_close(&fds[0]);
}

static void fill_missing(void *arg)
{
    struct stat st, null;

    (void)arg;
    int saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    (void)close(STDIN_FILENO);
    (void)close(STDERR_FILENO);
    CHECK(process_stdin_null() == 0);
    CHECK(stat("/dev/null", &null) == 0);
    bool in_ok = fstat(STDIN_FILENO, &st) == 0 && st.st_rdev == null.st_rdev;
    bool err_ok = fstat(STDERR_FILENO, &st) == 0 && st.st_rdev == null.st_rdev;
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    CHECK(in_ok);
    CHECK(err_ok);
    CHECK((fcntl(STDIN_FILENO, F_GETFD) & FD_CLOEXEC) == 0);
}

static void replace_stdin(void *arg)
{
    struct stat st, null;

    (void)arg;
    int before = dup(STDOUT_FILENO);
    (void)close(before);
    CHECK(process_stdin_null() == 0);
    int after = dup(STDOUT_FILENO);
    CHECK(before == after); /* nothing leaked */
    CHECK(stat("/dev/null", &null) == 0);
    CHECK(fstat(STDIN_FILENO, &st) == 0 && st.st_rdev == null.st_rdev);
}

static void test_stdin_null(void **state)
{
    (void)state;
    expect_exit(fill_missing, NULL, 0);
    expect_exit(replace_stdin, NULL, 0);
}

static void raise_nofile(void *arg)
{
    struct rlimit limit = {.rlim_cur = 64, .rlim_max = 128};
    rlim_t got;

    (void)arg;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(limits_raise_nofile(100, &got) == 0 && got == 100);
    CHECK(limits_raise_nofile(10, &got) == 0 && got == 100);
    CHECK(limits_raise_nofile(RLIM_INFINITY, &got) == 0 && got == 128);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 128);
}

static void test_raise_nofile(void **state)
{
    (void)state;
    expect_exit(raise_nofile, NULL, 0);
}

/* Far more than the limit cannot be mapped, less can. */
static void limit_memory(void *arg)
{
    const uint64_t more = 256 << 20;

    (void)arg;
    CHECK(limits_set_memory(more) == 0);
    CHECK(mmap(NULL, more / 4, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED);
    CHECK(mmap(NULL, 2 * more, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
}

static void test_memory_limit_is_relative(void **state)
{
    (void)state;
    expect_exit(limit_memory, NULL, 0);
}

/* ---- program ------------------------------------------------------------------------------- */

static void test_program_is_found_by_the_name_that_leads_to_it(void **state)
{
    char self[4096] = "";

    (void)state;
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    char *program = process_program("/proc/self/exe");
    assert_string_equal(program, "/proc/self/exe"); /* leads there: kept as it is */
    free(program);
    program = process_program("/bin/sh");
    assert_string_equal(program, self); /* another file: its own path */
    free(program);
    program = process_program("no-such-program-in-path");
    assert_string_equal(program, self);
    free(program);
}

static void test_program_without_slash_is_found_in_path(void **state)
{
    char self[4096] = "", dir[4200], *kept = xstrdup(getenv("PATH"));

    (void)state;
    assert_true(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
    (void)snprintf(dir, sizeof(dir), "/nonexistent::%s", self);
    *strrchr(dir, '/') = '\0';
    assert_int_equal(setenv("PATH", dir, 1), 0);
    char *program = process_program(strrchr(self, '/') + 1);
    assert_string_equal(program, self);
    free(program);
    assert_int_equal(setenv("PATH", kept, 1), 0);
    free(kept);
}

/* ---- children and clocks -------------------------------------------------------------------- */

static void test_child_is_one_until_it_is_reaped(void **state)
{
    int fds[2], status;
    char byte;

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t child = fork();
    if (child == 0) {
        (void)close(fds[1]);
        _exit((int)read(fds[0], &byte, 1));
    }
    fd_close(&fds[0]);
    assert_true(process_is_child(child));
    fd_close(&fds[1]); /* it ends */
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    assert_true(process_is_child(child));
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(process_is_child(child));
    assert_false(process_is_child(getppid()));
    assert_false(process_is_child(0));
    assert_false(process_is_child(-1));
}

static void test_cpu_time_grows_in_microseconds(void **state)
{
    uint64_t before, after, until_ms;
    struct timespec used;

    (void)state;
    assert_int_equal(process_cpu_us(getpid(), &before), 0);
    until_ms = now_ms() + 20;
    while (now_ms() < until_ms)
        continue;
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    uint64_t least = (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
    assert_int_equal(process_cpu_us(getpid(), &after), 0);
    assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    uint64_t most = (uint64_t)used.tv_sec * 1000000 + (uint64_t)used.tv_nsec / 1000;
    assert_true(after > before);
    assert_in_range(after, least, most);
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    errno = 0;
    assert_int_equal(process_cpu_us(child, &after), -1); /* there is no such process any more */
    assert_true(errno == ESRCH || errno == EINVAL);
}

static void take_zone(void *arg)
{
    CHECK(setenv("TZ", arg, 1) == 0);
    tzset();
    process_take_zone();
    CHECK(zone_offset_s() == 5 * 3600 + 1800);
}

static void test_zone_is_taken_from_the_environment(void **state)
{
    (void)state;
    expect_exit(take_zone, (char *)"XYZ-5:30", 0); /* POSIX counts west of Greenwich */
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static int open_null(int flags)
{
    int fd = open("/dev/null", O_RDWR | flags);

    CHECK(fd > STDERR_FILENO);
    return fd;
}

static void close_all_but_three(void *arg)
{
    int kept[3], lost[3];

    (void)arg;
    for (int i = 0; i < 3; i++) {
        lost[i] = open_null(O_CLOEXEC);
        kept[i] = open_null(i < 2 ? O_CLOEXEC : 0); /* the last one is the starter's */
    }
    const int keep[] = {-1, kept[1], kept[0]};
    process_close_all_but(keep, ARRAY_LEN(keep), true);
    for (int i = 0; i < 3; i++) {
        CHECK(is_open(kept[i]));
        CHECK(!is_open(lost[i]));
        CHECK(is_open(i));
    }
    process_close_all_but(NULL, 0, true);
    CHECK(!is_open(kept[0]) && !is_open(kept[1]) && is_open(kept[2]) && is_open(STDERR_FILENO));
    process_close_all_but(NULL, 0, false);
    CHECK(!is_open(kept[2]) && is_open(STDERR_FILENO));
}

/* With an empty directory for /proc. */
static void close_all_but_three_without_proc(void *arg)
{
    if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("none", "/proc", "tmpfs", 0, NULL) < 0)
        _exit(0); /* only root may try this */
    CHECK(access("/proc/self", F_OK) < 0);
    close_all_but_three(arg);
}

static void test_close_all_but_keeps_the_list_and_the_starters(void **state)
{
    (void)state;
    expect_exit(close_all_but_three, NULL, 0);
    expect_exit(close_all_but_three_without_proc, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_die_with_parent),
        cmocka_unit_test(test_stdin_null),
        cmocka_unit_test(test_raise_nofile),
        cmocka_unit_test(test_memory_limit_is_relative),
        cmocka_unit_test(test_program_is_found_by_the_name_that_leads_to_it),
        cmocka_unit_test(test_program_without_slash_is_found_in_path),
        cmocka_unit_test(test_child_is_one_until_it_is_reaped),
        cmocka_unit_test(test_cpu_time_grows_in_microseconds),
        cmocka_unit_test(test_zone_is_taken_from_the_environment),
        cmocka_unit_test(test_close_all_but_keeps_the_list_and_the_starters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
