/* SPDX-License-Identifier: MIT
 *
 * See open_aside.h. The child sends one packet: the socket and what is known of it, or the error.
 */
#include "master/generation/open_aside.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "system/ipc/handover.h"
#include "system/ipc/packet.h"
#include "system/net/bind_address.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/process/title.h"

struct reply {
    int error_number; /* 0: the socket comes with it */
    struct error err;
    struct handover_socket described;
};

bool open_aside_resolves(const char *text)
{
    struct bind_address a;
    struct sockaddr_storage ss;
    socklen_t len;
    struct error ignored;

    return bind_parse(&a, text, &ignored) == 0 && a.kind == BIND_TCP &&
           !bind_literal(&a, &ss, &len);
}

/* ---- the child --------------------------------------------------------------------------- */

/* Returns 0, or -1 with errno: a text is too long. */
static int describe(struct handover_socket *to, const struct listener *l)
{
    struct handover h;

    handover_init(&h);
    int result = handover_add_socket(&h, l, HANDOVER_WORKERS);
    if (result == 0)
        *to = h.sockets[0];
    handover_drop(&h);
    return result;
}

static void __attribute__((noreturn))
run_child(int fd, const char *text, int backlog, const struct listener_options *options,
          pid_t parent)
{
    struct reply reply = {.error_number = 0};
    struct listener l;

    title_set("gcorn: resolver");
    signals_default(); /* and blocked: those to the process group are the parent's */
    process_die_with_parent(parent, SIGKILL);
    if (listener_open_for(&l, text, backlog, options, &reply.err) < 0)
        reply.error_number = errno != 0 ? errno : EINVAL;
    else if (describe(&reply.described, &l) < 0)
        reply.error_number = errno;
    if (reply.error_number != 0 && reply.err.text[0] == '\0')
        (void)error_set(&reply.err, EXIT_BIND, "cannot bind %s: %s", text,
                        strerror(reply.error_number));
    bool is_open = reply.error_number == 0;
    (void)packet_send(fd, &reply, sizeof(reply), &l.fd, is_open); /* else the status says it */
    _exit(EXIT_STOPPED);
}

/* ---- the parent -------------------------------------------------------------------------- */

static int refuse(const char *text, const char *why, struct error *err)
{
    (void)error_set(err, EXIT_BIND, "cannot bind %s: %s", text, why);
    errno = EIO;
    return -1;
}

/* Takes the child's packet: 0, or -1 with err and errno. */
static int take_reply(struct listener *l, int fd, const char *text, int status, struct error *err)
{
    char end[WAIT_STATUS_TEXT_SIZE], why[WAIT_STATUS_TEXT_SIZE + 40];
    struct reply reply;
    struct packet packet = {0};
    int got = packet_recv(fd, &reply, sizeof(reply), &packet);

    if (got <= 0 || packet.len != sizeof(reply)) {
        packet_close_fds(&packet);
        (void)snprintf(why, sizeof(why), "the process that resolves it %s",
                       wait_status_text(status, end));
        return refuse(text, why, err);
    }
    if (reply.error_number != 0) {
        *err = reply.err;
        errno = reply.error_number;
        return -1;
    }
    if (packet.fd_count != 1)
        return refuse(text, "too many open files", err);
    reply.described.fd = packet.fds[0];
    int result = handover_take_socket(&reply.described, l, err);
    errno = EIO;
    return result;
}

/* The child's pid, and the parent's end of the socket to it; -1 with errno. */
static pid_t start(int *fd, const char *text, int backlog, const struct listener_options *options)
{
    pid_t parent = getpid();
    sigset_t old;
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    (void)fflush(NULL); /* what stdio holds would be written twice */
    signals_block(&old);
    pid_t pid = fork();
    if (pid == 0) {
        fd_close(&fds[0]);
        run_child(fds[1], text, backlog, options, parent);
    }
    int saved_errno = errno;
    signals_restore(&old);
    fd_close(&fds[1]);
    if (pid < 0)
        fd_close(&fds[0]);
    *fd = fds[0];
    errno = saved_errno;
    return pid;
}

int open_aside(struct listener *l, const char *text, int backlog,
               const struct listener_options *options, const struct open_wait *wait,
               struct error *err)
{
    int fd, status = 0;
    pid_t pid = start(&fd, text, backlog, options);

    *l = (struct listener){.fd = -1};
    if (pid < 0)
        return refuse(text, strerror(errno), err);
    int result = wait->wait(wait->arg, fd, err);
    if (result < 0)
        (void)kill(pid, SIGKILL); /* not reaped yet, so the pid is still its own */
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue; /* ECHILD: gcorn was started with SIGCHLD ignored */
    errno = EINTR;
    if (result == 0)
        result = take_reply(l, fd, text, status, err);
    int saved_errno = errno;
    fd_close(&fd);
    errno = saved_errno;
    return result;
}
