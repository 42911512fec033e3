/* SPDX-License-Identifier: MIT
 *
 * See last.h.
 */
#include "worker/wire/last.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static bool is_usable(const struct wire *wire)
{
    if (wire->kind == WIRE_PLAIN)
        return true;
    errno = EPIPE;
    return false;
}

ssize_t wire_last_read(struct wire *wire, char *bytes, size_t size)
{
    return is_usable(wire) ? recv(wire->fd, bytes, size, MSG_DONTWAIT) : -1;
}

ssize_t wire_last_send(struct wire *wire, const struct iovec *iov, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                                   .msg_iovlen = (size_t)count};

    return is_usable(wire) ? sendmsg(wire->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
}

int wire_last_shutdown(struct wire *wire)
{
    return is_usable(wire) ? shutdown(wire->fd, SHUT_WR) : -1;
}

void wire_last_close(struct wire *wire, bool resets)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (resets)
        (void)setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)close(wire->fd);
    wire->fd = -1; /* the number may soon be a file of an application that recovers */
}
