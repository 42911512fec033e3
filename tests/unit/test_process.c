/* SPDX-License-Identifier: MIT
 *
 * Processes: title, signals across a fork, the parent's death, daemons, the first descriptors,
 * privileges, and the pid file. What changes a process for good is tried in a child, whose exit
 * status tells how it went.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/file/pidfile.h"
#include "system/process/privileges.h"
#include "system/process/process.h"

/* In a child, where cmocka's assertions would run the rest of the tests a second time. */
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)dprintf(STDERR_FILENO, "%s:%d: %s\n", __FILE__, __LINE__, #condition);           \
            _exit(99);                                                                             \
        }                                                                                          \
    } while (0)

/* The wait status of a child that runs fn(arg). */
static int in_child(void (*fn)(void *arg), void *arg)
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

static void expect_exit(void (*fn)(void *arg), void *arg, int code)
{
    int status = in_child(fn, arg);

    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

/* ---- title ---------------------------------------------------------------------------------- */

static char **arguments; /* what process_title_init returned; set by main */

static void assert_cmdline(const char *expected)
{
    char text[4096] = "";
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);

    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    fd_close(&fd);
    assert_string_equal(text, expected);
}

static void test_title(void **state)
{
    char long_title[101];

    (void)state;
    assert_int_equal(setenv("GCORN_TEST_NEW", "1", 1), 0);
    process_title_set("gcorn: %s [%s]", "worker", "hello.so:handler");
    assert_cmdline("gcorn: worker [hello.so:handler]");
    process_title_set("gcorn");
    assert_cmdline("gcorn");
    memset(long_title, 't', 100);
    long_title[100] = '\0';
    process_title_set("%s", long_title); /* longer than the command line: into the environment */
    assert_cmdline(long_title);
    assert_string_equal(getenv("GCORN_TEST_KEPT"), "kept");
    assert_string_equal(getenv("GCORN_TEST_NEW"), "1");
    assert_non_null(strstr(arguments[0], "test_process"));
    assert_non_null(strstr(program_invocation_short_name, "test_process"));
}

static void test_title_names_the_process(void **state)
{
    char name[16] = "";
    int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);

    (void)state;
    assert_true(read(fd, name, sizeof(name) - 1) > 0);
    fd_close(&fd);
    assert_string_equal(name, "gcorn\n");
}

/* ---- signals -------------------------------------------------------------------------------- */

static void nothing(int sig)
{
    (void)sig;
}

static void reset_with_pending(void *arg)
{
    (void)arg;
    (void)raise(SIGTERM);
    process_signals_reset();
    _exit(0); /* not reached: the signal was kept, and now has its default effect */
}

static void reset_dispositions(void *arg)
{
    struct sigaction act;
    sigset_t mask;

    (void)arg;
    process_signals_reset();
    CHECK(sigaction(SIGUSR1, NULL, &act) == 0 && act.sa_handler == SIG_DFL);
    CHECK(sigaction(SIGPIPE, NULL, &act) == 0 && act.sa_handler == SIG_DFL);
    CHECK(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGTERM) == 0);
}

static void test_signals_across_fork(void **state)
{
    sigset_t old, now;

    (void)state;
    (void)signal(SIGTERM, nothing);
    (void)signal(SIGUSR1, nothing);
    (void)signal(SIGPIPE, SIG_IGN);
    process_signals_block(&old);
    int status = in_child(reset_with_pending, NULL);
    expect_exit(reset_dispositions, NULL, 0);
    process_signals_unblock(&old);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
    assert_int_equal(sigismember(&now, SIGTERM), 0);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGUSR1, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
}

/* ---- parent --------------------------------------------------------------------------------- */

static void orphan_already(void *arg)
{
    (void)arg;
    process_die_with_parent(getpid()); /* never the parent */
    _exit(99);
}

/* A parent whose child waits for ever, and which leaves once the child is set up. */
static void parent_of_waiting_child(void *arg)
{
    int *pipe_fds = arg;
    pid_t self = getpid();
    char byte;

    if (fork() == 0) {
        process_die_with_parent(self);
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

/* ---- daemon --------------------------------------------------------------------------------- */

static void become_daemon(void *status)
{
    struct error err;
    struct stat out, null;
    pid_t starter = getpid();

    CHECK(process_daemonize(&err) == 0);
    CHECK(getpid() != starter && getsid(0) != getpid() && getppid() != starter);
    CHECK(fstat(STDOUT_FILENO, &out) == 0 && stat("/dev/null", &null) == 0);
    CHECK(out.st_rdev == null.st_rdev);
    process_daemon_report(*(int *)status);
    process_daemon_report(7); /* the first one counts */
    _exit(0);
}

static void test_daemon_reports(void **state)
{
    int ready = 0, no_app = EXIT_APP;

    (void)state;
    expect_exit(become_daemon, &ready, 0);
    expect_exit(become_daemon, &no_app, EXIT_APP);
    process_daemon_report(0); /* not a daemon: nothing happens */
}

/* Leaves a worker that outlives its master, as long as the test holds the pipe. */
static void die_as_daemon(int fd)
{
    struct error err;
    char byte;

    CHECK(process_daemonize(&err) == 0);
    if (fork() == 0) {
        process_daemon_forget();
        CHECK(read(fd, &byte, 1) == 0);
    }
    _exit(0);
}

static void test_daemon_dies_silently(void **state)
{
    int fds[2];

    (void)state;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        fd_close(&fds[1]);
        die_as_daemon(fds[0]);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid); /* while the "worker" lives */
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), EXIT_FAILED);
    fd_close(&fds[0]);
    fd_close(&fds[1]);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

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
    CHECK(process_raise_nofile(100, &got) == 0 && got == 100);
    CHECK(process_raise_nofile(10, &got) == 0 && got == 100);
    CHECK(process_raise_nofile(RLIM_INFINITY, &got) == 0 && got == 128);
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur == 128);
}

static void test_raise_nofile(void **state)
{
    (void)state;
    expect_exit(raise_nofile, NULL, 0);
}

/* ---- privileges ----------------------------------------------------------------------------- */

static void test_privileges_resolve(void **state)
{
    struct privileges p;
    struct error err;

    (void)state;
    assert_int_equal(privileges_resolve(&p, NULL, "", false, &err), 0);
    assert_int_equal(p.uid, geteuid());
    assert_int_equal(p.gid, getegid());
    assert_int_equal(privileges_take(&p, true, &err), 0); /* that is us already */
    privileges_release(&p);

    const struct passwd *nobody = getpwnam("nobody");
    if (!nobody)
        skip();
    uid_t uid = nobody->pw_uid;
    gid_t gid = nobody->pw_gid;
    assert_int_equal(privileges_resolve(&p, "nobody", NULL, true, &err), 0);
    assert_int_equal(p.uid, uid);
    assert_int_equal(p.gid, gid); /* its own, not ours */
    assert_true(p.group_count >= 1);
    privileges_release(&p);
    assert_int_equal(privileges_resolve(&p, "4000000", "4000001", true, &err), 0);
    assert_int_equal(p.uid, 4000000);
    assert_int_equal(p.gid, 4000001);
    assert_int_equal(p.group_count, 1);
    privileges_release(&p);
}

static void test_privileges_unknown(void **state)
{
    struct privileges p;
    struct error err;

    (void)state;
    assert_int_equal(privileges_resolve(&p, "no-such-user", NULL, false, &err), -1);
    assert_int_equal(err.status, EXIT_USAGE);
    assert_string_equal(err.text, "user: there is no user 'no-such-user' on this system");
    assert_int_equal(privileges_resolve(&p, NULL, "no-such-group", false, &err), -1);
    assert_string_equal(err.text, "group: there is no group 'no-such-group' on this system");
    assert_int_equal(privileges_resolve(&p, "4000000", NULL, false, &err), -1);
    assert_non_null(strstr(err.text, "a group must be set"));
    assert_int_equal(privileges_resolve(&p, "4294967295", "0", false, &err), -1);
    assert_int_equal(privileges_resolve(&p, "-1", "0", false, &err), -1);
}

static void drop(void *arg)
{
    struct privileges p;
    struct error err;
    gid_t groups[8];

    (void)arg;
    CHECK(privileges_resolve(&p, "4000000", "4000001", false, &err) == 0);
    CHECK(privileges_take(&p, false, &err) == 0);
    CHECK(getuid() == 4000000 && geteuid() == 4000000 && getegid() == 4000001);
    CHECK(getgroups(8, groups) == 1 && groups[0] == 4000001);
    CHECK(setuid(0) == -1 && setgid(0) == -1);
    CHECK(privileges_take(&p, false, &err) == 0);
    p.uid = 0;
    CHECK(privileges_take(&p, false, &err) == -1);
    CHECK(strstr(err.text, "cannot become user 0, group 4000001: ") == err.text);
    privileges_release(&p);
}

static void test_privileges_take(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(drop, NULL, 0);
}

static uint64_t capability_set(const char *key)
{
    char line[256];
    unsigned long long set = ~0ull;
    FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            (void)sscanf(line + strlen(key), ": %llx", &set);
    }
    if (file)
        (void)fclose(file);
    return set;
}

static void expect_no_capabilities(uint64_t bounding)
{
    CHECK(capability_set("CapAmb") == 0);
    CHECK(capability_set("CapInh") == 0);
    CHECK(capability_set("CapPrm") == 0);
    CHECK(capability_set("CapEff") == 0);
    CHECK(capability_set("CapBnd") == bounding);
}

/* As a service manager starts a master: another user, with capabilities in every set. */
static void become_user_with_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}};
    const unsigned set = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_SETUID | 1u << CAP_SETGID;

    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    CHECK(setgroups(0, NULL) == 0 && setresgid(4000001, 4000001, 4000001) == 0);
    CHECK(setresuid(4000000, 4000000, 4000000) == 0);
    sets[0] = (struct __user_cap_data_struct){set, set, set};
    CHECK(syscall(SYS_capset, &header, sets) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0);
    CHECK(capability_set("CapAmb") == 1u << CAP_NET_BIND_SERVICE);
}

static void drop_capabilities_of_own_user(void *arg)
{
    struct privileges p;
    struct error err;
    uint64_t bounding = capability_set("CapBnd");

    (void)arg;
    become_user_with_capabilities();
    CHECK(privileges_resolve(&p, NULL, NULL, false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    expect_no_capabilities(bounding);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    CHECK(privileges_take(&p, false, &err) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    privileges_release(&p);
}

static void drop_capabilities_with_user(void *arg)
{
    struct privileges p;
    struct error err;

    become_user_with_capabilities();
    CHECK(privileges_resolve(&p, "4000002", "4000003", false, &err) == 0);
    CHECK(privileges_take(&p, arg != NULL, &err) == 0);
    CHECK(getuid() == 4000002 && getgid() == 4000003);
    expect_no_capabilities(capability_set("CapBnd")); /* to empty it takes CAP_SETPCAP */
    privileges_release(&p);
}

static void drop_capabilities_of_root(void *arg)
{
    struct privileges p;
    struct error err;
    uint64_t bounding = arg ? capability_set("CapBnd") : 0;

    CHECK(privileges_resolve(&p, "4000002", "4000003", false, &err) == 0);
    CHECK(privileges_take(&p, arg != NULL, &err) == 0);
    expect_no_capabilities(bounding);
    privileges_release(&p);
}

static void test_privileges_take_all_capabilities(void **state)
{
    int yes = 1;

    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(drop_capabilities_of_own_user, NULL, 0);
    expect_exit(drop_capabilities_with_user, NULL, 0);
    expect_exit(drop_capabilities_of_root, NULL, 0);
    expect_exit(drop_capabilities_of_root, &yes, 0);
}

static int by_number(const void *a, const void *b)
{
    gid_t v = *(const gid_t *)a, w = *(const gid_t *)b;

    return (v > w) - (v < w);
}

/* -g alone: the user is the one that the process has. */
static void take_group_with_initgroups(void *arg)
{
    const struct passwd *pw = getpwuid(geteuid());
    gid_t wanted[64], got[64];
    int count = 64;
    struct privileges p;
    struct error err;

    (void)arg;
    CHECK(pw && getgrouplist(pw->pw_name, 4000001, wanted, &count) > 0);
    CHECK(privileges_resolve(&p, NULL, "4000001", true, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgid() == 4000001 && getgroups(64, got) == count);
    qsort(wanted, (size_t)count, sizeof(*wanted), by_number);
    qsort(got, (size_t)count, sizeof(*got), by_number);
    CHECK(memcmp(wanted, got, (size_t)count * sizeof(*got)) == 0);
    privileges_release(&p);
}

/* The user and group are those that it has already; its groups are not. */
static void take_groups_of_same_user(void *arg)
{
    const gid_t inherited[] = {4000005, 4000006};
    gid_t got[8];
    struct privileges p;
    struct error err;

    (void)arg;
    CHECK(setgroups(2, inherited) == 0);
    CHECK(privileges_resolve(&p, NULL, NULL, false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgroups(8, got) == 2); /* nothing was set, nothing changes */
    privileges_release(&p);
    CHECK(privileges_resolve(&p, "0", "0", false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgroups(8, got) == 1 && got[0] == 0);
    privileges_release(&p);
}

static void test_privileges_take_groups(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(take_group_with_initgroups, NULL, 0);
    expect_exit(take_groups_of_same_user, NULL, 0);
}

/* ---- pid file ------------------------------------------------------------------------------- */

static const struct privileges own = {.uid = 0}; /* workers that are guarded from nothing */
static char dir[64], path[80];

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/gcorn-process-XXXXXX");
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
    assert_non_null(strstr(err.text, "something else than a pid"));
    assert_file("workers: 4\n");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(pidfile_open(&pf, path, &own, &err), -1);
    assert_non_null(strstr(err.text, "no regular file"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(pidfile_open(&pf, "/nonexistent/pid", &own, &err), -1);
    assert_string_equal(err.text, "pid file /nonexistent/pid: No such file or directory");
}

static void test_process_dumps_no_core(void **state)
{
    (void)state;
    assert_false(process_dumps_core(getpid()));
    assert_false(process_dumps_core(INT32_MAX)); /* there is no such process */
    assert_int_equal(process_tracer(getpid()), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_process_dumps_no_core),
        cmocka_unit_test(test_title),
        cmocka_unit_test(test_title_names_the_process),
        cmocka_unit_test(test_signals_across_fork),
        cmocka_unit_test(test_die_with_parent),
        cmocka_unit_test(test_daemon_reports),
        cmocka_unit_test(test_daemon_dies_silently),
        cmocka_unit_test(test_stdin_null),
        cmocka_unit_test(test_raise_nofile),
        cmocka_unit_test(test_privileges_resolve),
        cmocka_unit_test(test_privileges_unknown),
        cmocka_unit_test(test_privileges_take),
        cmocka_unit_test(test_privileges_take_all_capabilities),
        cmocka_unit_test(test_privileges_take_groups),
        cmocka_unit_test(test_pidfile_writes_and_removes),
        cmocka_unit_test(test_pidfile_is_locked),
        cmocka_unit_test(test_pidfile_child_removes_nothing),
        cmocka_unit_test(test_pidfile_successor_stays),
        cmocka_unit_test(test_pidfile_spares_other_files),
    };

    /* So that there is an environment of known size behind the arguments, run again with one. */
    if (!getenv("GCORN_TEST_KEPT")) {
        (void)setenv("GCORN_TEST_KEPT", "kept", 1);
        (void)setenv("GCORN_TEST_FILLER",
                     "a text that leaves room for a title of hundred bytes, "
                     "whatever the command line was, and for some more",
                     1);
        (void)execv("/proc/self/exe", argv);
    }
    arguments = process_title_init(argc, argv);
    return cmocka_run_group_tests_name("process", tests, make_dir, remove_dir);
}
