/* SPDX-License-Identifier: MIT
 *
 * See wire.h.
 */
#include "worker/wire/wire.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/owned.h"

enum { FILE_READ_SIZE = 32 * 1024 };

const struct wire_ops *wire_other;

/* ---- bytes ------------------------------------------------------------------------------- */

ssize_t wire_read_other(struct wire *wire, char *bytes, size_t size)
{
    return wire_other->read(wire, bytes, size);
}

/* Apart from wire_send: its array would cost every call of that a stack check. */
ssize_t wire_send_other(struct wire *wire, const char *bytes, size_t len, bool more)
{
    const struct iovec iov = {(void *)(uintptr_t)bytes, len};

    return wire_other->send(wire, &iov, 1, more);
}

ssize_t wire_send_pieces(struct wire *wire, const struct iovec *iov, int count)
{
    const struct msghdr message = {.msg_iov = (struct iovec *)(uintptr_t)iov,
                                   .msg_iovlen = (size_t)count};

    if (!wire_is_plain(wire))
        return wire_other->send(wire, iov, count, false);
    return sendmsg(wire->fd, &message, MSG_NOSIGNAL);
}

/* ---- files ------------------------------------------------------------------------------- */

/* What the socket does not take is read again later: a slow client holds no buffer. */
static ssize_t read_and_send(struct wire *wire, int file_fd, off_t offset, size_t len)
{
    char bytes[FILE_READ_SIZE];
    ssize_t n = pread(file_fd, bytes, len < sizeof(bytes) ? len : sizeof(bytes), offset);

    if (n < 0 && errno != EINTR)
        errno = EIO;
    return n > 0 ? wire_send(wire, bytes, (size_t)n, false) : n;
}

ssize_t wire_send_file(struct wire *wire, int file_fd, int64_t offset, size_t len, bool *reads)
{
    off_t at = offset;

    if (wire_is_plain(wire) && !*reads) {
        ssize_t n = sendfile(wire->fd, file_fd, &at, len);

        if (n >= 0 || errno == EAGAIN || errno == EINTR)
            return n;
        *reads = true; /* if it is the socket that has failed, it will again */
    }
    return read_and_send(wire, file_fd, offset, len);
}

/* ---- the socket -------------------------------------------------------------------------- */

int wire_shutdown(struct wire *wire)
{
    return wire_is_plain(wire) ? shutdown(wire->fd, SHUT_WR) : wire_other->shutdown(wire);
}

void wire_reset(struct wire *wire)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};

    if (wire_is_plain(wire))
        (void)setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    else
        wire_other->reset(wire);
}

void wire_close(struct wire *wire)
{
    if (wire_is_plain(wire))
        owned_close(&wire->fd);
    else
        wire_other->close(wire);
}

bool wire_peer_gone(const struct wire *wire)
{
    struct pollfd one = {.fd = wire->fd, .events = POLLRDHUP};

    if (wire->fd < 0)
        return true;
    return wire_is_plain(wire) ? poll(&one, 1, 0) > 0 : wire_other->peer_gone(wire);
}

void wire_wait_writable(const struct wire *wire, int other_fd, int timeout_ms)
{
    struct pollfd two[] = {{.fd = wire->fd, .events = POLLOUT}, {.fd = other_fd, .events = POLLIN}};

    if (!wire_is_plain(wire))
        wire_other->wait_writable(wire, other_fd, timeout_ms);
    else
        (void)poll(two, 2, timeout_ms); /* failed or interrupted: the caller tries again */
}

/* TCP_INFO: tcp(7). */
int64_t wire_queue_delay_ms(const struct wire *wire)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (!wire_is_plain(wire))
        return wire_other->queue_delay_ms(wire);
    if (getsockopt(wire->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return -1;
    return info.tcpi_last_data_recv;
}
