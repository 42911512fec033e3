/* SPDX-License-Identifier: MIT
 *
 * See send.h. The buffer is the worker's while nothing waits in it: a connection borrows it to
 * answer, and takes it along only when its client is slow.
 */
#include "worker/conn/send.h"

#include <errno.h>

#include "base/log.h"
#include "worker/crash/crash.h"
#include "worker/worker.h"

enum {
    OUT_KEEP_MAX = 256 * 1024, /* a larger buffer is not kept for the next connection */
    SEND_TURN = 1024 * 1024,   /* bytes of a file or a large piece, then others have a turn */
};

void out_borrow(struct conn *c)
{
    struct worker *w = worker_of(c);

    if (c->x->out.data)
        return;
    c->x->out = w->out;
    w->out = (struct strbuf){0};
}

void out_return(struct conn *c)
{
    struct worker *w = worker_of(c);

    c->x->out_sent = 0;
    strbuf_reset(&c->x->out);
    if (w->out.data || c->x->out.cap > OUT_KEEP_MAX)
        strbuf_release(&c->x->out);
    else
        w->out = c->x->out;
    c->x->out = (struct strbuf){0};
}

/* ---- the buffer, and a piece behind it --------------------------------------------------- */

/* Not inlined, as its arrays would cost every flush a stack check. After a megabyte the socket
 * counts as full: a client that takes a long piece as fast as it is sent must not hold the worker.
 */
static ssize_t __attribute__((noinline)) send_with_piece(struct conn *c)
{
    size_t len = c->x->piece_len < SEND_TURN ? c->x->piece_len : SEND_TURN;
    struct iovec iov[2] = {{exchange_unsent(c->x), c->x->out.len - c->x->out_sent},
                           {(void *)(uintptr_t)c->x->piece, len}};
    ssize_t n = -1;

    errno = EAGAIN;
    if (c->x->turn_sent < SEND_TURN)
        n = wire_send_pieces(&c->wire, iov, 2);
    c->x->turn_sent = n < 0 ? 0 : c->x->turn_sent + (uint32_t)n;
    return n;
}

static ssize_t send_some(struct conn *c)
{
    bool is_file_next = c->x->more && c->env->response.file.left > 0;

    if (c->x->piece_len > 0)
        return send_with_piece(c);
    return wire_send(&c->wire, c->x->out.data + c->x->out_sent, c->x->out.len - c->x->out_sent,
                     is_file_next);
}

static void mark_sent(struct conn *c, size_t n)
{
    size_t left = c->x->out.len - c->x->out_sent;
    size_t of_out = n < left ? n : left;

    c->x->out_sent += of_out;
    if (n > of_out) { /* else there may be no piece */
        c->x->piece += n - of_out;
        c->x->piece_len -= n - of_out;
    }
    worker_of(c)->slot->counts.bytes_out += n;
}

/* A crash that came between the two would not know what is sent, and send it twice. */
static ssize_t send_and_mark(struct conn *c)
{
    struct worker *w = worker_of(c);

    w->is_sending = true;
    ssize_t n = send_some(c);
    if (n >= 0)
        mark_sent(c, (size_t)n);
    w->is_sending = false;
    if (w->held_signal)
        crash_take_held();
    return n;
}

enum out_sent out_send(struct conn *c)
{
    struct worker *w = worker_of(c);

    while (c->x->out_sent < c->x->out.len || c->x->piece_len > 0) {
        /* a broken answer's line says so, and is written at its end */
        bool ends = c->runs && !c->x->more && !c->env->response.broken;

        if (ends)
            access_log_writer_add_early(&w->access_log, c->env, w->now_ns - c->x->request_ns);
        if (send_and_mark(c) >= 0 || errno == EINTR)
            continue;
        if (ends)
            access_log_writer_take_back(&w->access_log);
        return errno == EAGAIN ? OUT_FULL : OUT_FAILED;
    }
    c->x->out_sent = 0;
    strbuf_reset(&c->x->out);
    return OUT_ALL;
}

/* ---- a file ------------------------------------------------------------------------------ */

enum out_sent out_send_file(struct conn *c)
{
    struct worker *w = worker_of(c);
    struct response *r = &c->env->response;

    r->file.reads = r->file.reads || !w->config->sendfile;
    for (size_t turn = SEND_TURN; r->file.left > 0;) {
        size_t len = r->file.left < turn ? (size_t)r->file.left : turn;
        bool ends = len == r->file.left && r->body_len == r->body_max;

        if (len == 0)
            return OUT_TURN;
        if (ends)
            access_log_writer_add_early(&w->access_log, c->env, w->now_ns - c->x->request_ns);
        ssize_t n = wire_send_file(&c->wire, r->file.fd, r->file.offset, len, &r->file.reads);
        if (ends && n != (ssize_t)len)
            access_log_writer_take_back(&w->access_log);
        if (n > 0) {
            r->file.offset += n;
            r->file.left -= (uint64_t)n;
            turn -= (size_t)n;
            w->slot->counts.bytes_out += (uint64_t)n;
        } else if (n == 0 || errno == EIO) {
            log_warnx("a file that is being sent cannot be read any more: connection closed");
            r->body_len -= r->file.left;
            r->file.left = 0;
            r->broken = true;
            c->x->more = false;
            return OUT_ALL;
        } else if (errno == EAGAIN) {
            return OUT_FULL;
        } else if (errno != EINTR) {
            return OUT_FAILED;
        }
    }
    return OUT_ALL;
}
