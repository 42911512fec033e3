/* SPDX-License-Identifier: MIT
 *
 * The pid file: its lock, its content, its end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/util.h"
#include "in_child.h"
#include "system/file/pidfile.h"
#include "system/process/privileges.h"

static const struct privileges own = {.uid = 0}; /* workers that are guarded from nothing */
static char dir[64], path[80];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/gcorn-pidfile-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    (void)snprintf(path, sizeof(path), "%.60s/pid", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails when a test left a file behind */
}

static void write_file(const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_int_equal(write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

static void assert_file(const char *expected)
{
    char text[64] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    assert_true(read(fd, text, sizeof(text) - 1) >= 0);
    fd_close(&fd);
    assert_string_equal(text, expected);
}

static void assert_gone(void)
{
    assert_int_equal(access(path, F_OK), -1);
}

static void test_pidfile_writes_and_removes(void **state)
{
    struct pidfile pf;
    struct error err;
    char expected[32];

    (void)state;
    write_file("999999999\n\n"); /* a stale one, longer than ours */
    assert_int_equal(pidfile_open(&pf, path, &own, &err), 0);
    (void)snprintf(expected, sizeof(expected), "%d\n", (int)getpid());
    assert_file(expected);
    pidfile_close(&pf);
    assert_gone();
    pidfile_close(&pf); /* harmless */
}

struct holder {
    int ready[2], release[2];
};

static void hold(void *arg)
{
    struct holder *h = arg;
    struct pidfile pf;
    struct error err;
    char byte;

    fd_close(&h->release[1]);
    CHECK(pidfile_open(&pf, path, &own, &err) == 0);
    CHECK(write(h->ready[1], "x", 1) == 1);
    CHECK(read(h->release[0], &byte, 1) == 0);
    _exit(0); /* as if killed: the file stays, the lock does not */
}

static void test_pidfile_is_locked(void **state)
{
    struct holder h;
    struct pidfile pf;
    struct error err;
    char byte, expected[160];

    (void)state;
    assert_int_equal(pipe2(h.ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(h.release, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        hold(&h);
    assert_int_equal(read(h.ready[0], &byte, 1), 1);
    assert_int_equal(pidfile_open(&pf, path, &own, &err), -1);
    assert_int_equal(err.status, EXIT_FAILED);
    (void)snprintf(expected, sizeof(expected), "already running with pid %d (pid file %s)",
                   (int)pid, path);
    assert_string_equal(err.text, expected);
    (void)snprintf(expected, sizeof(expected), "%d\n", (int)pid);
    assert_file(expected); /* untouched */
    fd_close(&h.release[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_file(expected);
    assert_int_equal(pidfile_open(&pf, path, &own, &err), 0);
    pidfile_close(&pf);
    assert_gone();
    fd_close(&h.ready[0]);
    fd_close(&h.ready[1]);
    fd_close(&h.release[0]);
}

static void assert_probe(int result, bool held, pid_t by)
{
    bool is_held = !held;
    pid_t holder = -1;
    struct error err;

    assert_int_equal(pidfile_probe(path, &own, &is_held, &holder, &err), result);
    assert_int_equal(is_held, held);
    assert_int_equal(holder, by);
}

/* It makes, locks and writes nothing. */
static void test_pidfile_probe_finds_what_open_would(void **state)
{
    struct holder h;
    char byte;

    (void)state;
    assert_probe(0, false, 0);
    assert_gone();
    write_file("17\n");
    assert_probe(0, false, 0);
    assert_file("17\n");
    write_file("no pid file\n");
    assert_probe(-1, false, 0);
    assert_file("no pid file\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_probe(-1, false, 0);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(pipe2(h.ready, O_CLOEXEC) | pipe2(h.release, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0)
        hold(&h);
    assert_int_equal(read(h.ready[0], &byte, 1), 1);
    assert_probe(0, true, pid);
    fd_close(&h.release[1]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_probe(0, false, 0);
    assert_int_equal(unlink(path), 0);
    fd_close(&h.ready[0]);
    fd_close(&h.ready[1]);
    fd_close(&h.release[0]);
}

static void close_in_child(void *arg)
{
    pidfile_close(arg);
    CHECK(access(path, F_OK) == 0);
}

static void test_pidfile_child_removes_nothing(void **state)
{
    struct pidfile pf;
    struct error err;

    (void)state;
    assert_int_equal(pidfile_open(&pf, path, &own, &err), 0);
    expect_exit(close_in_child, &pf, 0);
    pidfile_close(&pf);
    assert_gone();
}

static void test_pidfile_successor_stays(void **state)
{
    struct pidfile pf;
    struct error err;

    (void)state;
    assert_int_equal(pidfile_open(&pf, path, &own, &err), 0);
    assert_int_equal(unlink(path), 0);
    write_file("4711\n");
    pidfile_close(&pf);
    assert_file("4711\n");
    assert_int_equal(unlink(path), 0);
}

static void test_pidfile_spares_other_files(void **state)
{
    struct pidfile pf;
    struct error err;

    (void)state;
    write_file("workers: 4\n");
    assert_int_equal(pidfile_open(&pf, path, &own, &err), -1);
    assert_non_null(strstr(err.text, "something other than a pid"));
    assert_file("workers: 4\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pidfile_open(&pf, path, &own, &err), -1);
    assert_non_null(strstr(err.text, "not a regular file"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pidfile_open(&pf, "/nonexistent/pid", &own, &err), -1);
    assert_string_equal(err.text, "pid file /nonexistent/pid: No such file or directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pidfile_writes_and_removes),
        cmocka_unit_test(test_pidfile_is_locked),
        cmocka_unit_test(test_pidfile_probe_finds_what_open_would),
        cmocka_unit_test(test_pidfile_child_removes_nothing),
        cmocka_unit_test(test_pidfile_successor_stays),
        cmocka_unit_test(test_pidfile_spares_other_files),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
