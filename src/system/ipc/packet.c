/* SPDX-License-Identifier: MIT
 *
 * See packet.h.
 */
#include "system/ipc/packet.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/util.h"

/* Room for the descriptors and the sender of one message, aligned as the kernel's header wants it.
 */
union control {
    struct cmsghdr align;
    char bytes[CMSG_SPACE(sizeof(int) * PACKET_FDS_MAX) + CMSG_SPACE(sizeof(struct ucred))];
};

int packet_send(int fd, const void *data, size_t len, const int *fds, size_t fd_count)
{
    struct iovec iov = {.iov_base = (void *)data, .iov_len = len}; /* is only read */
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union control control;
    ssize_t n;

    assert(fd_count <= PACKET_FDS_MAX);
    if (fd_count > 0) {
        memset(&control, 0, sizeof(control));
        msg.msg_control = control.bytes;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * fd_count);
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(sizeof(int) * fd_count);
        memcpy(CMSG_DATA(cmsg), fds, sizeof(int) * fd_count);
    }
    do {
        n = sendmsg(fd, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static void take_fds(struct packet *p, const struct cmsghdr *cmsg)
{
    size_t n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < n && p->fd_count < PACKET_FDS_MAX; i++)
        memcpy(&p->fds[p->fd_count++], CMSG_DATA(cmsg) + i * sizeof(int), sizeof(int));
}

static void take_control(struct packet *p, struct msghdr *msg)
{
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg; cmsg = CMSG_NXTHDR(msg, cmsg)) {
        struct ucred sender;

        if (cmsg->cmsg_level != SOL_SOCKET)
            continue;
        if (cmsg->cmsg_type == SCM_RIGHTS) {
            take_fds(p, cmsg);
        } else if (cmsg->cmsg_type == SCM_CREDENTIALS) {
            memcpy(&sender, CMSG_DATA(cmsg), sizeof(sender));
            p->sender = sender.pid;
        }
    }
}

int packet_recv(int fd, void *data, size_t size, struct packet *p)
{
    struct iovec iov = {.iov_base = data, .iov_len = size};
    union control control;
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = sizeof(control.bytes)};
    ssize_t n;

    *p = (struct packet){0};
    do {
        n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    take_control(p, &msg);
    p->len = (size_t)n;
    p->is_cut = (msg.msg_flags & MSG_TRUNC) != 0;
    p->fds_lost = (msg.msg_flags & MSG_CTRUNC) != 0;
    if (n == 0 && p->fd_count == 0 && p->sender == 0) { /* else it is an empty message */
        errno = EPIPE;
        return -1;
    }
    return 1;
}

void packet_close_fds(struct packet *p)
{
    for (size_t i = 0; i < p->fd_count; i++)
        fd_close(&p->fds[i]);
    p->fd_count = 0;
}
