/* SPDX-License-Identifier: MIT
 *
 * See daemon.h. The socket is global because a process has one starter.
 */
#include "system/process/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "system/process/process.h"
#include "system/process/signals.h"

static int report_fd = -1; /* in a daemon that has not reported */

/* In the process that was started: exits with the status that the daemon reports. */
static _Noreturn void await_report(int fd, pid_t child)
{
    unsigned char status;
    ssize_t n;

    signals_reset(); /* so that ^C ends the wait */
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        continue; /* the child only forks again and exits */
    do {
        n = read(fd, &status, 1);
    } while (n < 0 && errno == EINTR);
    _exit(n == 1 ? status : EXIT_FAILED);
}

static bool is_listening(int fd)
{
    int listening = 0;
    socklen_t len = sizeof(listening);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) == 0 && listening;
}

/* Closes what the starter had open, such as a lock, or a pipe whose reader waits for its end.
 * Descriptors of gcorn are close-on-exec; a listening socket was passed to be served. */
static void close_inherited(void)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name); /* "." and ".." give 0, which stays */
        int flags = fd > STDERR_FILENO ? fcntl(fd, F_GETFD) : FD_CLOEXEC;

        if (flags >= 0 && !(flags & FD_CLOEXEC) && !is_listening(fd))
            (void)close(fd);
    }
    if (dir)
        (void)closedir(dir);
}

int daemon_start(struct error *err)
{
    int fds[2];

    /* Not a pipe: if the waiting process was killed, the report must not raise SIGPIPE. */
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return error_set(err, EXIT_FAILED, "cannot become a daemon: %s", strerror(errno));
    (void)fflush(NULL); /* else buffered output is printed twice; stdio keeps errors */
    pid_t pid = fork();
    if (pid > 0) {
        fd_close(&fds[1]);
        await_report(fds[0], pid);
    }
    if (pid == 0) {
        fd_close(&fds[0]);
        (void)setsid(); /* cannot fail: a new child leads no group */
        /* The second fork: only a session leader gets a terminal by opening one. */
        pid = fork();
        if (pid > 0)
            _exit(EXIT_STOPPED);
    }
    if (pid < 0 || process_put_on_null(STDIN_FILENO, STDOUT_FILENO) < 0) {
        fd_close(&fds[0]);
        fd_close(&fds[1]);
        return error_set(err, EXIT_FAILED, "cannot become a daemon: %s", strerror(errno));
    }
    close_inherited();
    report_fd = fds[1];
    return 0;
}

void daemon_report(int status)
{
    unsigned char byte = (unsigned char)status;

    if (report_fd < 0)
        return;
    (void)send(report_fd, &byte, 1, MSG_NOSIGNAL); /* fails when the waiting process has died */
    daemon_forget();
}

bool daemon_is_starting(void)
{
    return report_fd >= 0;
}

void daemon_forget(void)
{
    if (report_fd < 0)
        return;
    /* the log's own descriptor of it, too, unless it leads to a file */
    bool is_logged = log_is_on(STDERR_FILENO) && !log_is_file(log_fd());
    fd_close(&report_fd);
    (void)process_put_on_null(STDERR_FILENO, STDERR_FILENO); /* failed: the terminal stays open */
    if (is_logged)
        (void)dup3(STDERR_FILENO, log_fd(), O_CLOEXEC);
}
