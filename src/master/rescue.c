/* SPDX-License-Identifier: MIT
 *
 * See rescue.h. It needs the right to trace the worker (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS),
 * which root has, and a worker's own user where no security module forbids it.
 */
#include "master/rescue.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/util.h"
#include "system/scoreboard.h"

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif

static const char answer[] =
    "HTTP/1.1 504 Gateway Timeout\r\nServer: gcorn\r\nConnection: close\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 20\r\n\r\n"
    "504 Gateway Timeout\n";

/* A copy of the worker's descriptor, or -1 with errno. */
static int borrow(pid_t pid, int fd)
{
    int process = (int)syscall(SYS_pidfd_open, pid, 0);
    int copy = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, fd, 0);

    fd_close(&process);
    return copy;
}

static int answer_one(pid_t pid, const struct slot_call *call)
{
    int fd = *(const volatile int32_t *)&call->client_fd;

    if (fd < 0) {
        errno = ENOTCONN;
        return -1;
    }
    int client = borrow(pid, fd);
    if (client < 0)
        return -1;
    ssize_t n = send(client, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)shutdown(client, SHUT_WR);
    fd_close(&client);
    return n == (ssize_t)sizeof(answer) - 1 ? 0 : -1;
}

int rescue_clients(pid_t pid, const struct slot *s)
{
    bool any = false, all_answered = true;

    (void)kill(pid, SIGSTOP); /* so that it does not answer after all, amid ours */
    for (unsigned i = 0; i < slot_call_count(s); i++) {
        /* between two calls the number is that of an earlier one's client, or of anything by now */
        if (!slot_call_runs(&s->calls[i]))
            continue;
        any = true;
        all_answered = answer_one(pid, &s->calls[i]) == 0 && all_answered;
    }
    return any && all_answered ? 0 : -1;
}
