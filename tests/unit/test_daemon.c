/* SPDX-License-Identifier: MIT
 *
 * Becoming a daemon and its report, of real processes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/util.h"
#include "in_child.h"
#include "system/process/daemon.h"

static void become_daemon(void *status)
{
    struct error err;
    struct stat out, null;
    pid_t starter = getpid(), session = getsid(0);

    CHECK(daemon_start(&err) == 0);
    CHECK(getpid() != starter && getsid(0) != getpid() && getppid() != starter);
    CHECK(getsid(0) != session);
    CHECK(fstat(STDOUT_FILENO, &out) == 0 && stat("/dev/null", &null) == 0);
    CHECK(out.st_rdev == null.st_rdev);
    daemon_report(*(int *)status);
    daemon_report(7); /* the first one counts */
    _exit(0);
}

static void test_daemon_reports(void **state)
{
    int ready = 0, no_app = EXIT_APP;

    (void)state;
    expect_exit(become_daemon, &ready, 0);
    expect_exit(become_daemon, &no_app, EXIT_APP);
    daemon_report(0); /* not a daemon: nothing happens */
}

/* What the starter has open: a pipe, a listening socket, and both again close-on-exec. */
static void inherit_descriptors(void *arg)
{
    struct error err;
    int passed[2], kept[2], listener = socket(AF_UNIX, SOCK_STREAM, 0);
    const struct sockaddr_un any = {.sun_family = AF_UNIX};

    (void)arg;
    CHECK(pipe2(passed, 0) == 0 && pipe2(kept, O_CLOEXEC) == 0);
    CHECK(bind(listener, (const struct sockaddr *)&any, sizeof(sa_family_t)) == 0);
    CHECK(listen(listener, 1) == 0);
    CHECK(daemon_start(&err) == 0);
    CHECK(fcntl(passed[0], F_GETFD) < 0 && fcntl(passed[1], F_GETFD) < 0);
    CHECK(fcntl(listener, F_GETFD) >= 0);
    CHECK(fcntl(kept[0], F_GETFD) >= 0 && fcntl(kept[1], F_GETFD) >= 0);
    CHECK(fcntl(STDERR_FILENO, F_GETFD) >= 0);
    daemon_report(0);
    _exit(0);
}

static void test_daemon_keeps_listening_sockets_alone(void **state)
{
    (void)state;
    expect_exit(inherit_descriptors, NULL, 0);
}

static void starts_once(void *arg)
{
    struct error err;

    (void)arg;
    CHECK(!daemon_is_starting());
    CHECK(daemon_start(&err) == 0);
    CHECK(daemon_is_starting());
    daemon_report(0);
    CHECK(!daemon_is_starting());
    _exit(0);
}

static void test_daemon_starts_until_it_reports(void **state)
{
    (void)state;
    expect_exit(starts_once, NULL, 0);
}

/* Leaves a worker that outlives its master, as long as the test holds the pipe. */
static void die_as_daemon(int fd)
{
    struct error err;
    char byte;

    CHECK(daemon_start(&err) == 0);
    if (fork() == 0) {
        daemon_forget();
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_daemon_reports),
        cmocka_unit_test(test_daemon_keeps_listening_sockets_alone),
        cmocka_unit_test(test_daemon_starts_until_it_reports),
        cmocka_unit_test(test_daemon_dies_silently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
