/* SPDX-License-Identifier: MIT
 *
 * See channel.h. Both directions keep the borders of messages, so a message is whole or absent, and
 * nothing is buffered. Workers are untrusted: the master checks lengths and types, and a malformed
 * packet is EPROTO.
 */
#include "system/ipc/channel.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"
#include "system/ipc/packet.h"

int channel_open(struct channel *c)
{
    int up[2], down[2];

    *c = (struct channel){-1, -1, -1, -1};
    if (pipe2(up, O_DIRECT | O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    c->up_read = up[0];
    c->up_write = up[1];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, down) < 0) {
        channel_close(c);
        return -1;
    }
    c->down_master = down[0];
    c->down_worker = down[1];
    return 0;
}

void channel_keep_master_end(struct channel *c)
{
    fd_close(&c->up_write);
    fd_close(&c->down_worker);
}

void channel_keep_worker_end(struct channel *c)
{
    fd_close(&c->up_read);
    fd_close(&c->down_master);
}

void channel_close(struct channel *c)
{
    channel_keep_master_end(c);
    channel_keep_worker_end(c);
}

/* ---- up: one byte of type, then the text ------------------------------------------------- */

int channel_send_up(int fd, enum up_type type, const char *text)
{
    char packet[1 + UP_TEXT_MAX];
    size_t len = text ? strnlen(text, UP_TEXT_MAX) : 0;
    ssize_t n;

    packet[0] = (char)type;
    if (len > 0)
        memcpy(packet + 1, text, len);
    do {
        n = write(fd, packet, 1 + len);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0; /* a packet of less than PIPE_BUF is written whole */
}

int channel_recv_up(int fd, struct up_message *m)
{
    char packet[1 + UP_TEXT_MAX + 1]; /* one byte more than a message: a longer one is malformed */
    ssize_t n;

    do {
        n = read(fd, packet, sizeof(packet));
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN ? 0 : -1;
    if (n == 0) {
        errno = EPIPE;
        return -1;
    }
    if ((size_t)n == sizeof(packet) || packet[0] < UP_READY || packet[0] > UP_RECYCLE) {
        errno = EPROTO;
        return -1;
    }
    m->type = (enum up_type)packet[0];
    assert((size_t)n - 1 < sizeof(m->text));
    memcpy(m->text, packet + 1, (size_t)n - 1);
    m->text[n - 1] = '\0';
    return 1;
}

/* ---- down -------------------------------------------------------------------------------- */

struct down_wire {
    uint32_t type;
    uint32_t ms;
    uint32_t fd_mask; /* which of fds are sent, in order; the others are -1 */
};

int channel_send_down(int fd, const struct down_message *m)
{
    struct down_wire wire = {.type = (uint32_t)m->type, .ms = m->ms};
    int fds[DOWN_FDS_MAX];
    size_t count = 0;

    assert(m->type >= DOWN_RETIRE && m->type <= DOWN_CLOSE);

    for (size_t i = 0; i < DOWN_FDS_MAX; i++) {
        if (m->fds[i] >= 0) {
            wire.fd_mask |= 1u << i;
            fds[count++] = m->fds[i];
        }
    }
    return packet_send(fd, &wire, sizeof(wire), fds, count);
}

/* Stores the descriptors at the indices in the mask. Returns false when their numbers differ. */
static bool place_fds(struct down_message *m, uint32_t mask, const int *fds, size_t count)
{
    size_t used = 0;

    if (mask >> DOWN_FDS_MAX != 0 || (size_t)__builtin_popcount(mask) != count)
        return false;
    for (size_t i = 0; i < DOWN_FDS_MAX; i++) {
        if (mask & (1u << i))
            m->fds[i] = fds[used++];
    }
    return true;
}

int channel_recv_down(int fd, struct down_message *m)
{
    struct down_wire wire;
    struct packet packet;
    int got = packet_recv(fd, &wire, sizeof(wire), &packet);

    if (got <= 0)
        return got;
    *m = (struct down_message){.fds = {-1, -1}};
    /* When this process has no free descriptors, the kernel passes some or none, and not which: so
     * none are used. The command itself is valid: the worker keeps its old logs and logs that. */
    m->fds_lost = packet.fds_lost;
    bool whole = packet.len == sizeof(wire) && !packet.is_cut && wire.type >= DOWN_RETIRE &&
                 wire.type <= DOWN_CLOSE;
    if (!whole || m->fds_lost || !place_fds(m, wire.fd_mask, packet.fds, packet.fd_count)) {
        packet_close_fds(&packet);
        if (!whole || !m->fds_lost) {
            errno = EPROTO;
            return -1;
        }
    }
    m->type = (enum down_type)wire.type;
    m->ms = wire.ms;
    return 1;
}
