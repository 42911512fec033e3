/* SPDX-License-Identifier: MIT
 *
 * wire - the only code that reads and writes clients' sockets. Above it a connection has bytes of
 * HTTP, whatever carries them: a plain socket, whose functions are inline here, or another kind,
 * whose functions are in wire_other. One predictable branch tells the two apart.
 *
 * Only the thread of the loop may call these, but for wire_peer_gone, which any thread may. A
 * crashing worker uses last.h instead. No function blocks but wire_wait_writable.
 */
#ifndef GCORN_WORKER_WIRE_WIRE_H
#define GCORN_WORKER_WIRE_WIRE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum wire_kind {
    WIRE_PLAIN,
    WIRE_OTHER, /* see wire_other */
};

struct wire {
    int fd;           /* -1: closed */
    uint8_t kind;     /* enum wire_kind */
    bool wants_write; /* the next read needs the socket to be writable (TLS may) */
    bool has_pending; /* the wire holds bytes for the next read, which epoll does not see */
    bool peer_ended;  /* the client has sent its last byte, or has said so */
};

_Static_assert(sizeof(struct wire) == 8, "each idle connection has one");

/* What a kind of wire does where it is not plain: the functions below, which say what each has to
 * do. */
struct wire_ops {
    ssize_t (*read)(struct wire *wire, char *bytes, size_t size);
    ssize_t (*send)(struct wire *wire, const struct iovec *iov, int count, bool more);
    int (*shutdown)(struct wire *wire);
    void (*reset)(struct wire *wire);
    void (*close)(struct wire *wire);
    bool (*peer_gone)(const struct wire *wire);
    void (*wait_writable)(const struct wire *wire, int other_fd, int timeout_ms);
    int64_t (*queue_delay_ms)(const struct wire *wire);
};

/* The operations of WIRE_OTHER; set once, before the first connection of that kind. NULL: not
 * set. */
extern const struct wire_ops *wire_other;

static inline bool wire_is_plain(const struct wire *wire)
{
    return __builtin_expect(wire->kind == WIRE_PLAIN, 1);
}

/* A plain wire over a socket that was accepted, non-blocking. The wire owns fd. */
static inline struct wire wire_plain(int fd)
{
    return (struct wire){.fd = fd, .kind = WIRE_PLAIN};
}

/* Reads up to size bytes, size > 0. Returns how many; 0 when the client has sent its last byte, and
 * peer_ended says so from then on; -1 with errno. EAGAIN: no bytes yet, and wire_wants says
 * what the wire waits for. Any errno but EAGAIN and EINTR: the connection is lost. */
ssize_t wire_read_other(struct wire *wire, char *bytes, size_t size);

static inline ssize_t wire_read(struct wire *wire, char *bytes, size_t size)
{
    if (!wire_is_plain(wire))
        return wire_read_other(wire, bytes, size);
    ssize_t n = read(wire->fd, bytes, size);
    if (n > 0)
        return n;
    wire->peer_ended = wire->peer_ended || n == 0;
    return n;
}

/* Sends bytes from where they lie; more: others follow at once. Returns how many it took; -1 with
 * errno. EAGAIN: the socket is full. Any errno but EAGAIN and EINTR: the connection is lost. */
ssize_t wire_send_other(struct wire *wire, const char *bytes, size_t len, bool more);

static inline ssize_t wire_send(struct wire *wire, const char *bytes, size_t len, bool more)
{
    int flags = more ? MSG_MORE : 0;

    if (!wire_is_plain(wire))
        return wire_send_other(wire, bytes, len, more);
    return send(wire->fd, bytes, len, MSG_NOSIGNAL | flags);
}

/* The same of several pieces, in order. */
ssize_t wire_send_pieces(struct wire *wire, const struct iovec *iov, int count);

/* Sends up to len bytes of a file from offset on; by the kernel alone unless *reads, which is set
 * where the kernel cannot. Returns how many; 0 when the file has no more; -1 with errno: as
 * wire_send, or EIO when the file cannot be read. */
ssize_t wire_send_file(struct wire *wire, int file_fd, int64_t offset, size_t len, bool *reads);

/* For which events (EV_READ, EV_WRITE) the socket is to be watched, when the connection waits for
 * `events`. */
static inline int wire_wants(const struct wire *wire, int events)
{
    enum { READ = 1, WRITE = 2 }; /* EV_READ, EV_WRITE */

    return (events & READ) && wire->wants_write ? events | WRITE : events;
}

/* Tells the client that nothing more is sent to it; reading goes on. 0, or -1 with errno: the
 * connection is lost. */
int wire_shutdown(struct wire *wire);

/* Makes the next wire_close a reset, by which the client learns that its answer is cut short. A
 * unix socket has no reset: there it sees the close alone. */
void wire_reset(struct wire *wire);

/* Closes the socket; fd is -1 from then on. Its watcher is stopped first. */
void wire_close(struct wire *wire);

/* Has the client closed the connection, or its side of it, which looks the same? True when the wire
 * is closed. Any thread. */
bool wire_peer_gone(const struct wire *wire);

/* Waits until the wire may take bytes, or is lost, or other_fd is readable, for timeout_ms at most:
 * for a call that holds the loop's thread anyway. */
void wire_wait_writable(const struct wire *wire, int other_fd, int timeout_ms);

/* How long ago the last bytes came, by the kernel's account, in milliseconds; -1: it does not say
 * (a unix socket). */
int64_t wire_queue_delay_ms(const struct wire *wire);

#endif
