/* SPDX-License-Identifier: MIT
 *
 * See fake_wire.h. What the server must not do with a wire (send after it has shut its side, use it
 * after it has closed it) ends the test.
 */
#include "fake_wire.h"

#include <errno.h>
#include <ev.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "fake_loop.h"

enum { FIRST_FD = 1 << 24 }; /* no process reaches it */

struct fake_client fake_clients[FAKE_CLIENTS];

struct fake_client *fake_client_of(int fd)
{
    return fd >= FIRST_FD && fd < FIRST_FD + FAKE_CLIENTS ? &fake_clients[fd - FIRST_FD] : NULL;
}

static struct fake_client *open_client(const struct wire *wire)
{
    struct fake_client *c = fake_client_of(wire->fd);

    if (!c || !c->is_open)
        abort();
    return c;
}

static int fails(struct fake_client *c)
{
    if (c->interrupts > 0) {
        c->interrupts--;
        errno = EINTR;
        return -1;
    }
    errno = c->error;
    return c->error != 0 ? -1 : 0;
}

/* ---- the wire ---------------------------------------------------------------------------- */

/* False: the read has to wait until the socket is writable. */
static bool may_read(struct fake_client *c, struct wire *wire)
{
    wire->wants_write = c->needs_write && c->window == 0;
    c->needs_write = wire->wants_write;
    return !wire->wants_write;
}

static ssize_t fake_read(struct wire *wire, char *bytes, size_t size)
{
    struct fake_client *c = open_client(wire);
    size_t n = c->sent.len - c->read_len;

    if (size == 0)
        abort();
    if (fails(c) < 0)
        return -1;
    if (!may_read(c, wire) || (n == 0 && !c->has_ended)) {
        errno = EAGAIN;
        return -1;
    }
    n = n < size ? n : size;
    n = c->read_max > 0 && c->read_max < n ? c->read_max : n;
    if (n > 0)
        memcpy(bytes, c->sent.data + c->read_len, n);
    c->read_len += n;
    c->buffered_len = c->buffers ? c->sent.len : c->read_len;
    wire->has_pending = c->buffered_len > c->read_len;
    wire->peer_ended = wire->peer_ended || n == 0;
    return (ssize_t)n;
}

static ssize_t fake_send(struct wire *wire, const struct iovec *iov, int count, bool more)
{
    struct fake_client *c = open_client(wire);
    size_t total = 0;

    (void)more;
    if (c->is_shut)
        abort();
    if (fails(c) < 0)
        return -1;
    for (int i = 0; i < count; i++) {
        size_t n = iov[i].iov_len < c->window ? iov[i].iov_len : c->window;

        if (n > 0)
            strbuf_add(&c->taken, iov[i].iov_base, n);
        c->window -= n;
        total += n;
    }
    errno = EAGAIN;
    return total > 0 ? (ssize_t)total : -1;
}

static int fake_shutdown(struct wire *wire)
{
    struct fake_client *c = open_client(wire);

    if (c->is_shut)
        abort();
    errno = ENOTCONN;
    if (c->error != 0)
        return -1;
    c->is_shut = true;
    return 0;
}

static void fake_reset(struct wire *wire)
{
    open_client(wire)->is_reset = true;
}

static void fake_close(struct wire *wire)
{
    open_client(wire)->is_open = false;
    wire->fd = -1;
}

static bool fake_peer_gone(const struct wire *wire)
{
    const struct fake_client *c = open_client(wire);

    return c->has_ended || c->error != 0;
}

/* Time goes on; other_fd is not looked at. */
static void fake_wait_writable(const struct wire *wire, int other_fd, int timeout_ms)
{
    struct fake_client *c = open_client(wire);

    (void)other_fd;
    if (c->window > 0 || c->error != 0)
        return;
    c->window += c->wait_window;
    fake_loop_advance_ns((c->wait_window > 0 ? 1 : (uint64_t)timeout_ms) * 1000000);
}

static int64_t fake_queue_delay_ms(const struct wire *wire)
{
    return open_client(wire)->queued_ms;
}

/* ---- the script -------------------------------------------------------------------------- */

struct wire fake_wire_open(unsigned i)
{
    static const struct wire_ops ops = {.read = fake_read,
                                        .send = fake_send,
                                        .shutdown = fake_shutdown,
                                        .reset = fake_reset,
                                        .close = fake_close,
                                        .peer_gone = fake_peer_gone,
                                        .wait_writable = fake_wait_writable,
                                        .queue_delay_ms = fake_queue_delay_ms};
    struct fake_client *c = &fake_clients[i];

    if (i >= FAKE_CLIENTS || c->is_open)
        abort();
    strbuf_release(&c->sent);
    strbuf_release(&c->taken);
    *c = (struct fake_client){.window = SIZE_MAX / 2, .is_open = true, .queued_ms = -1};
    wire_other = &ops;
    return (struct wire){.fd = FIRST_FD + (int)i, .kind = WIRE_OTHER};
}

int fake_wire_ready(int fd, int wanted)
{
    const struct fake_client *c = fake_client_of(fd);
    int ready = 0;

    if (!c || !c->is_open)
        return 0;
    if (c->error != 0 || c->has_ended || c->sent.len > c->buffered_len)
        ready |= EV_READ;
    if (c->error != 0 || c->window > 0)
        ready |= EV_WRITE;
    return ready & wanted;
}

void fake_client_sends_bytes(unsigned i, const void *bytes, size_t len)
{
    if (!fake_clients[i].has_ended && len > 0)
        strbuf_add(&fake_clients[i].sent, bytes, len);
}

void fake_client_sends(unsigned i, const char *text)
{
    fake_client_sends_bytes(i, text, strlen(text));
}

void fake_wire_release(void)
{
    for (unsigned i = 0; i < FAKE_CLIENTS; i++) {
        strbuf_release(&fake_clients[i].sent);
        strbuf_release(&fake_clients[i].taken);
        fake_clients[i] = (struct fake_client){0};
    }
}
