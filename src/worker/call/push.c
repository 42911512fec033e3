/* SPDX-License-Identifier: MIT
 *
 * See push.h. A call frames what it pushes into a buffer of its own, then adds it to what waits for
 * the loop. The loop swaps its buffer, when that is sent, for the one that waits, so bytes are copied
 * and no thread works on a buffer that another one has.
 */
#include "worker/call/push.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "worker/call/call.h"
#include "worker/call/call_inline.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum {
    SLICE = 64 * 1024,                /* framed and handed on at once */
    MEMORY_MAX = 1024 * 1024,         /* of one answer; the rest is in its file */
    MEMORY_FREE = 64 * 1024,          /* the same while the worker has more than: */
    WORKER_MEMORY = 16 * 1024 * 1024, /* above MEMORY_FREE, of all answers together */
    BUFFER_KEEP_MAX = 128 * 1024,     /* a larger buffer is not kept while it is empty */
};

/* ---- beginning and end ------------------------------------------------------------------- */

/* The head leaves now, so whether the connection ends with this answer is settled. Fair closes are
 * for answers that are ready when their call is over. */
static struct push *begin(struct worker *w, struct stream *s)
{
    struct push *p = xcalloc(1, sizeof(*p));
    const struct request_limits *limits = &w->http.limits;

    p->stream = s;
    p->obeyed_ms = p->alive_ms = now_ms();
    (void)pthread_mutex_init(&p->lock, NULL); /* these cannot fail: the defaults */
    (void)pthread_cond_init(&p->taken, NULL);
    overflow_init(&p->file, w->config->stream_spool, limits->body_place.dir, limits->body_budget);
    bool closes = w->calls ? s->x->call.closes : w->answers_close;
    s->env->h1.close = closes || !s->env->request.keep_alive || w->draining ||
                       s->env->request.state != REQUEST_DONE;
    s->x->more = true;
    s->x->push = p;
    return p;
}

void push_release(struct stream *s)
{
    struct push *p = s->x->push;
    struct worker *w = worker_of(conn_of(s));

    assert(p && !p->is_listed);
    s->x->push = NULL;
    (void)atomic_fetch_sub(&w->pushed_bytes, p->counted);
    overflow_release(&p->file);
    strbuf_release(&p->frame);
    strbuf_release(&p->ready);
    (void)pthread_mutex_destroy(&p->lock);
    (void)pthread_cond_destroy(&p->taken);
    free(p);
}

static struct {
    const char *name;
    int error;
} const ends[] = {
    [PUSH_GOES_ON] = {NULL, 0},
    [PUSH_CLIENT_GONE] = {"client gone", ECONNRESET},
    [PUSH_WRITE_TIMEOUT] = {"write_timeout", ECONNRESET},
    [PUSH_STOPPED] = {"stopped", ESHUTDOWN},
    [PUSH_LOST] = {"application", ECONNRESET},
};

const char *push_end_name(enum push_end end)
{
    return ends[end].name;
}

void push_end(struct push *p, enum push_end end)
{
    (void)pthread_mutex_lock(&p->lock);
    if (push_ended(p) == PUSH_GOES_ON)
        atomic_store(&p->end, (uint8_t)end);
    (void)pthread_cond_signal(&p->taken);
    (void)pthread_mutex_unlock(&p->lock);
}

/* ---- the call ---------------------------------------------------------------------------- */

/* Bytes above MEMORY_FREE count for the worker's sum. Under the lock. */
static void count_memory(struct worker *w, struct push *p)
{
    size_t held = p->ready.len + p->in_out;
    size_t counts = held > MEMORY_FREE ? held - MEMORY_FREE : 0;

    if (counts == p->counted)
        return;
    (void)atomic_fetch_add(&w->pushed_bytes, counts - p->counted); /* modulo 2^64 */
    p->counted = counts;
}

static bool has_memory(struct worker *w, const struct push *p, size_t len)
{
    size_t held = p->ready.len + p->in_out + len, max = MEMORY_MAX;

    if (held > MEMORY_FREE && atomic_load(&w->pushed_bytes) >= WORKER_MEMORY)
        max = MEMORY_FREE;
    return held <= max && overflow_len(&p->file) == 0;
}

enum room { ROOM_NONE, ROOM_MEMORY, ROOM_FILE };

/* Where the next bytes may wait. An answer that has nothing unsent may always push. Under the
 * lock. */
static enum room find_room(struct worker *w, const struct push *p, size_t len)
{
    uint64_t unsent = p->ready.len + p->in_out + overflow_len(&p->file);

    if (unsent > 0 && unsent + len > w->config->stream_spool)
        return ROOM_NONE;
    if (unsent == 0 || has_memory(w, p, len))
        return ROOM_MEMORY;
    return p->file_failed ? ROOM_NONE : ROOM_FILE;
}

/* The bytes did not fit: the call waits for its client from here on. */
static void note_file_failed(struct push *p)
{
    p->file_failed = true;
    log_request(LOG_LEVEL_WARNING, environ_request_id(p->stream->env),
                "cannot keep pushed bytes in a file: %s; gcorn_send waits for the client",
                ascii_error(errno));
}

/* One try. False: there is no room. The file is written without the lock: only this thread writes
 * it, and while it has bytes all go there. */
static bool try_add(struct worker *w, struct push *p)
{
    (void)pthread_mutex_lock(&p->lock);
    enum room room = find_room(w, p, p->frame.len);

    p->seen_count = p->take_count;
    p->stage = p->stream->env->h1.framing == FRAMING_CLOSE ? ANSWER_BY_CLOSE : ANSWER_BEGUN;
    if (room == ROOM_MEMORY) {
        strbuf_add(&p->ready, p->frame.data, p->frame.len);
        count_memory(w, p);
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (room != ROOM_FILE)
        return room == ROOM_MEMORY;
    if (overflow_append(&p->file, p->frame.data, p->frame.len) == 0)
        return true;
    note_file_failed(p);
    return false;
}

/* The worker is to be gone before its master kills it. */
static bool is_over(const struct worker *w, uint64_t now)
{
    return w->draining && now >= w->drain_over_ms;
}

/* Also what a wait needs: else the call would be ended as one that takes too long. */
static void renew_timeout(struct worker *w, struct stream *s, uint64_t now)
{
    struct slot_call *call = &w->slot->calls[s->x->call.slot_index];
    uint64_t until_ms = now + w->config->timeout_ms;

    if (w->config->timeout_ms > 0 &&
        until_ms > atomic_load_explicit(&call->until_ms, memory_order_relaxed))
        atomic_store_explicit(&call->until_ms, until_ms, memory_order_relaxed);
}

static void hand_to_loop(struct worker *w, struct stream *s)
{
    if (w->calls)
        w->calls->send(w, s);
    else
        call_inline_send(w, s);
}

static bool wait_for_room(struct worker *w, struct stream *s)
{
    return w->calls ? w->calls->wait_taken(w, s) : call_inline_wait_taken(w, s);
}

/* The bytes of p->frame. 0, or -1 with errno. */
static int hand_on(struct worker *w, struct stream *s, struct push *p)
{
    while (push_ended(p) == PUSH_GOES_ON && !try_add(w, p)) {
        bool goes_on = wait_for_room(w, s);
        uint64_t now = now_ms();

        renew_timeout(w, s, now);
        if (!goes_on || is_over(w, now))
            push_end(p, PUSH_STOPPED);
    }
    if (push_ended(p) == PUSH_GOES_ON && p->frame.len > 0)
        hand_to_loop(w, s);
    errno = ends[push_ended(p)].error;
    return errno == 0 ? 0 : -1;
}

int push_send(struct gcorn_environ *env, const void *data, size_t len)
{
    struct worker *w = worker_this();
    struct stream *s = w ? stream_of(env) : NULL;
    const char *bytes = data;
    uint64_t now = now_ms();
    bool fits;

    errno = ENOTSUP;
    if (!s)
        return -1;
    errno = ESHUTDOWN;
    if (!s->x->push && is_over(w, now)) /* nothing has left: the handler may still answer */
        return -1;
    struct push *p = s->x->push ? s->x->push : begin(w, s);
    renew_timeout(w, s, now);
    p->asked_ms = now;
    if (is_over(w, now))
        push_end(p, PUSH_STOPPED);
    do {
        size_t slice = len < SLICE ? len : SLICE;

        errno = ends[push_ended(p)].error;
        if (errno != 0)
            return -1;
        strbuf_reset(&p->frame);
        fits = framing_h1_push(env, &p->frame, bytes, slice);
        if (hand_on(w, s, p) < 0)
            return -1;
        bytes = slice > 0 ? bytes + slice : bytes; /* NULL where len is 0 */
        len -= slice;
    } while (fits && len > 0);
    errno = EINVAL;
    return fits ? 0 : -1;
}

/* ---- the loop ---------------------------------------------------------------------------- */

static bool take_ready(struct worker *w, struct push *p, struct exchange *x)
{
    struct strbuf sent = x->out;

    (void)pthread_mutex_lock(&p->lock);
    bool has_any = p->ready.len > 0 && push_ended(p) == PUSH_GOES_ON;
    if (has_any) {
        x->answer = p->stage; /* first, for a crash */
        atomic_signal_fence(memory_order_seq_cst);
        x->out = p->ready;
        p->ready = sent;
    }
    p->in_out = has_any ? x->out.len : 0;
    p->take_count++;
    count_memory(w, p);
    (void)pthread_cond_signal(&p->taken);
    (void)pthread_mutex_unlock(&p->lock);
    return has_any;
}

static bool take_from_file(struct push *p, struct exchange *x)
{
    ssize_t n = overflow_take(&p->file, strbuf_grow(&x->out, SLICE), SLICE);

    if (n < 0)
        push_end(p, PUSH_LOST);
    if (n <= 0)
        return false;
    strbuf_set_end(&x->out, x->out.data + n);
    (void)pthread_mutex_lock(&p->lock);
    p->in_out = (size_t)n;
    p->take_count++;
    (void)pthread_cond_signal(&p->taken);
    (void)pthread_mutex_unlock(&p->lock);
    return true;
}

bool push_take(struct stream *s)
{
    struct exchange *x = s->x;

    assert(x->out.len == 0);
    if (x->out.cap > BUFFER_KEEP_MAX)
        strbuf_release(&x->out); /* or the call would have it next, mostly empty */
    if (take_ready(worker_of(conn_of(s)), x->push, x))
        return true;
    if (overflow_len(&x->push->file) > 0)
        return push_ended(x->push) == PUSH_GOES_ON && take_from_file(x->push, x);
    return false;
}

void push_drop_unsent(struct stream *s)
{
    struct exchange *x = s->x;

    response_unpush(s->env,
                    x->out.len - x->out_sent + x->push->ready.len + overflow_len(&x->push->file));
    strbuf_reset(&x->out);
    x->out_sent = 0;
}

void push_cut(struct stream *s)
{
    response_unpush(s->env, s->x->push->ready.len + overflow_len(&s->x->push->file));
    push_release(s);
}
