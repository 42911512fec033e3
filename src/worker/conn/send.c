/* SPDX-License-Identifier: MIT
 *
 * See send.h. The buffer is the worker's while nothing waits in it: a connection borrows it to
 * answer, and takes it along only when its client is slow.
 */
#include "worker/conn/send.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "worker/access_log_writer.h"
#include "worker/call/push.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum {
    OUT_KEEP_MAX = 256 * 1024, /* a larger buffer is not kept for the next connection */
    SEND_TURN = 1024 * 1024,   /* bytes of a file or a large piece, then others have a turn */
};

void send_borrow_buffer(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));

    if (s->x->out.data)
        return;
    s->x->out = w->out;
    w->out = (struct strbuf){0};
}

void send_return_buffer(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));

    s->x->out_sent = 0;
    strbuf_reset(&s->x->out);
    if (w->out.data || s->x->out.cap > OUT_KEEP_MAX)
        strbuf_release(&s->x->out);
    else
        w->out = s->x->out;
    s->x->out = (struct strbuf){0};
}

/* ---- the buffer, and a piece after it ---------------------------------------------------- */

/* Not inlined, as its arrays would cost every flush a stack check. After a megabyte the socket
 * counts as full: a client that takes a long piece as fast as it is sent must not hold the worker.
 */
static ssize_t __attribute__((noinline)) send_with_piece(struct stream *s)
{
    size_t len = s->x->piece_len < SEND_TURN ? s->x->piece_len : SEND_TURN;
    struct iovec iov[2] = {{exchange_unsent(s->x), s->x->out.len - s->x->out_sent},
                           {(void *)(uintptr_t)s->x->piece, len}};
    ssize_t n = -1;

    errno = EAGAIN;
    if (s->x->turn_sent < SEND_TURN)
        n = wire_send_pieces(&conn_of(s)->wire, iov, 2);
    s->x->turn_sent = n < 0 ? 0 : s->x->turn_sent + (uint32_t)n;
    return n;
}

static ssize_t send_some(struct stream *s)
{
    bool is_file_next = s->x->more && s->env->response.file.left > 0;

    if (s->x->piece_len > 0)
        return send_with_piece(s);
    return wire_send(&conn_of(s)->wire, s->x->out.data + s->x->out_sent,
                     s->x->out.len - s->x->out_sent, is_file_next);
}

static void mark_sent(struct stream *s, size_t n)
{
    size_t left = s->x->out.len - s->x->out_sent;
    size_t of_out = n < left ? n : left;

    s->x->out_sent += of_out;
    if (n > of_out) { /* else there may be no piece */
        s->x->piece += n - of_out;
        s->x->piece_len -= n - of_out;
    }
    worker_of(conn_of(s))->slot->counts.bytes_out += n;
}

/* A crash that came between the two would not know what is sent, and send it twice. */
static inline ssize_t __attribute__((always_inline)) send_and_mark(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));

    w->is_sending = true;
    ssize_t n = send_some(s);
    if (n >= 0)
        mark_sent(s, (size_t)n);
    w->is_sending = false;
    if (w->held_signal)
        crash_take_held();
    return n;
}

/* Part of send_out, and of no other function on the way of an answer that is not pushed. */
static inline enum send_result __attribute__((always_inline)) send_all(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));

    while (s->x->out_sent < s->x->out.len || s->x->piece_len > 0) {
        /* a broken answer's line says so, and is written at its end */
        bool ends = s->runs && !s->x->more && !s->env->response.broken;

        if (ends)
            access_log_writer_add_early(&w->access_log, s->env, w->now_ns - s->x->request_ns);
        if (send_and_mark(s) >= 0 || errno == EINTR)
            continue;
        if (ends)
            access_log_writer_take_back(&w->access_log);
        return errno == EAGAIN ? SEND_FULL : SEND_FAILED;
    }
    s->x->out_sent = 0;
    strbuf_reset(&s->x->out);
    return SEND_ALL;
}

enum send_result send_out(struct stream *s)
{
    return send_all(s);
}

/* ---- interim answers --------------------------------------------------------------------- */

/* A signal that ends the worker is held meanwhile: `out` has to be whole for it. The answer meets an
 * error again. */
void send_interims(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));
    struct exchange *x = s->x;
    ssize_t n = 0;

    assert(x->piece_len == 0); /* an earlier answer's has left before the call */
    w->is_sending = true;
    framing_h1_interims(s->env, &x->out);
    x->whole_len = x->out.len;
    while (x->out_sent < x->out.len && (n >= 0 || errno == EINTR)) {
        n = send_some(s);
        if (n > 0)
            mark_sent(s, (size_t)n);
    }
    if (x->out_sent == x->out.len) {
        x->out_sent = x->whole_len = 0;
        strbuf_reset(&x->out);
    }
    w->is_sending = false;
    if (w->held_signal)
        crash_take_held();
}

/* `out` is the thread's, so the rest is kept beside it. */
void send_handed(struct stream *s, const char *bytes, size_t len)
{
    struct worker *w = worker_of(conn_of(s));
    struct strbuf *early = &s->x->early;
    ssize_t n = 0;

    assert(s->phase == STREAM_CALLING);
    w->is_sending = true;
    strbuf_add(early, bytes, len);
    while (early->len > 0 && (n >= 0 || errno == EINTR)) {
        n = wire_send(&conn_of(s)->wire, early->data, early->len, false);
        if (n > 0) {
            memmove(early->data, early->data + n, early->len - (size_t)n);
            early->len -= (size_t)n;
            w->slot->counts.bytes_out += (uint64_t)n;
        }
    }
    w->is_sending = false;
    if (w->held_signal)
        crash_take_held();
}

void send_join_early(struct stream *s)
{
    struct exchange *x = s->x;
    struct strbuf out = x->out;

    if (x->early.len > 0) {
        x->whole_len = x->early.len;
        strbuf_add(&x->early, out.data ? out.data : "", out.len);
        x->out = x->early;
    }
    strbuf_release(x->early.len > 0 ? &out : &x->early);
    x->early = (struct strbuf){0};
}

enum send_result send_pushed(struct stream *s)
{
    for (size_t turn = 0; turn < SEND_TURN; turn += s->x->out.len) {
        enum send_result sent = send_all(s);

        if (sent != SEND_ALL || !push_take(s))
            return sent;
    }
    return SEND_TURN_OVER;
}

/* ---- a file ------------------------------------------------------------------------------ */

enum send_result send_file(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));
    struct response *r = &s->env->response;

    r->file.reads = r->file.reads || !w->config->sendfile;
    for (size_t turn = SEND_TURN; r->file.left > 0;) {
        size_t len = r->file.left < turn ? (size_t)r->file.left : turn;
        bool ends = len == r->file.left && r->body_len == r->body_max;

        if (len == 0)
            return SEND_TURN_OVER;
        if (ends)
            access_log_writer_add_early(&w->access_log, s->env, w->now_ns - s->x->request_ns);
        ssize_t n =
            wire_send_file(&conn_of(s)->wire, r->file.fd, r->file.offset, len, &r->file.reads);
        if (ends && n != (ssize_t)len)
            access_log_writer_take_back(&w->access_log);
        if (n > 0) {
            assert((size_t)n <= len);
            r->file.offset += n;
            r->file.left -= (uint64_t)n;
            turn -= (size_t)n;
            w->slot->counts.bytes_out += (uint64_t)n;
        } else if (n == 0 || errno == EIO) {
            log_warnx("a file that is being sent cannot be read any more: connection closed");
            r->body_len -= r->file.left;
            r->file.left = 0;
            r->broken = true;
            s->x->more = false;
            return SEND_ALL;
        } else if (errno == EAGAIN) {
            return SEND_FULL;
        } else if (errno != EINTR) {
            return SEND_FAILED;
        }
    }
    return SEND_ALL;
}
