/* SPDX-License-Identifier: MIT
 *
 * See body.h. A body lives in its request's arena and hangs in its list, so that each is closed
 * once, whatever becomes of it. Bytes that are at hand are a body without operations, which costs
 * the common answer no indirect call.
 */
#include "http/answer/body.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/code_place.h"
#include "base/log.h"
#include "base/spool.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/environ.h"

enum { FILE_CHUNK = 64 * 1024 };

/* ---- every body -------------------------------------------------------------------------- */

struct gcorn_body *body_new(struct gcorn_environ *env, const struct body_ops *ops, size_t size)
{
    assert(size >= sizeof(struct gcorn_body));
    struct gcorn_body *body = arena_alloc(&env->arena, size);

    body->env = env;
    body->ops = ops;
    body->chunk = NULL;
    body->chunk_len = 0;
    body->failed = body->ended = body->closed = false;
    body->older = env->response.bodies;
    env->response.bodies = body;
    return body;
}

/* What a function of gcorn.h was given cannot be a body: one line names the function, and the body
 * fails when it is asked for, so that the client gets 500. Not inlined, as it never runs in a good
 * program. */
static struct gcorn_body *__attribute__((noinline, cold))
fail_body(struct gcorn_body *body, const char *what)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(body->env), "%s: the body fails", what);
    body->failed = body->ended = true;
    return body;
}

static ssize_t take_chunk(struct gcorn_body *body, const void **chunk)
{
    *chunk = body->chunk;
    body->chunk = NULL;
    return (ssize_t)body->chunk_len;
}

ssize_t body_next(struct gcorn_body *body, const void **chunk)
{
    ssize_t n = 0;

    *chunk = NULL;
    if (body->ended || body->closed)
        return body->ended && !body->failed ? 0 : -1;
    if (body->chunk)
        n = take_chunk(body, chunk);
    else if (body->ops && body->ops->next)
        n = body->ops->next(body, chunk);
    if (n == 0 || n == -1) {
        body->ended = true;
        body->failed = n < 0;
    }
    return n;
}

ssize_t gcorn_body_next(struct gcorn_body *body, const void **chunk)
{
    if (body)
        return body_next(body, chunk);
    *chunk = NULL;
    errno = EINVAL;
    return -1;
}

void gcorn_body_close(struct gcorn_body *body)
{
    if (!body || body->closed)
        return;
    body->closed = true;
    if (body->ops && body->ops->close)
        body->ops->close(body);
}

int64_t body_len(const struct gcorn_body *body)
{
    int64_t at_hand = body->chunk ? (int64_t)body->chunk_len : 0;

    if (!body->ops)
        return at_hand;
    return body->ops->len ? at_hand + body->ops->len(body) : -1;
}

int64_t gcorn_body_len(const struct gcorn_body *body)
{
    return body ? body_len(body) : -1;
}

bool body_take_file(struct gcorn_body *body, struct body_file *file)
{
    if (!body->ops || !body->ops->fd || body->closed)
        return false;
    const struct response *r = &body->env->response;
    if (r->trailers && r->content_length < 0)
        return false;     /* it is sent in chunks */
    assert(!body->chunk); /* it would have to come first */
    *file = body->ops->fd(body);
    return true;
}

/* ---- bytes ------------------------------------------------------------------------------- */

static inline struct gcorn_body *copy(struct gcorn_environ *env, const void *data, size_t len)
{
    struct gcorn_body *body = body_new(env, NULL, sizeof(*body) + len);

    body->chunk = memcpy(body + 1, data, len);
    body->chunk_len = len;
    return body;
}

struct gcorn_body *gcorn_body_bytes(struct gcorn_environ *env, const void *data, size_t len)
{
    if (data)
        return copy(env, data, len);
    struct gcorn_body *body = copy(env, "", 0);
    return len == 0 ? body : fail_body(body, "gcorn_body_bytes: data is NULL");
}

struct gcorn_body *gcorn_body_text(struct gcorn_environ *env, const char *text)
{
    return text ? copy(env, text, strlen(text)) : NULL;
}

struct gcorn_body *gcorn_body_printf(struct gcorn_environ *env, const char *fmt, ...)
{
    struct gcorn_body *body = body_new(env, NULL, sizeof(*body));
    va_list ap;

    va_start(ap, fmt);
    body->chunk = arena_vprintf(&env->arena, fmt, ap);
    va_end(ap);
    body->chunk_len = strlen(body->chunk);
    return body;
}

static _Thread_local const char *stack_top;

void body_note_stack(const void *top)
{
    stack_top = top;
}

/* The stack grows downwards: the frames of the application, and of all that it has called, lie below
 * the one that was noted. */
static bool is_on_stack(const char *data, const char *frame)
{
    return stack_top && data >= frame && data < stack_top;
}

static struct gcorn_body *__attribute__((noinline, cold))
fail_borrow(struct gcorn_body *body, const void *caller)
{
    char place[128];

    code_place(place, sizeof(place), caller);
    (void)fail_body(body, arena_printf(&body->env->arena,
                                       "gcorn_body_borrow: the bytes lie on the stack of %s, and "
                                       "are gone when it returns; gcorn_body_bytes copies",
                                       place));
    errno = EINVAL;
    return body;
}

struct gcorn_body *gcorn_body_borrow(struct gcorn_environ *env, const void *data, size_t len)
{
    struct gcorn_body *body = body_new(env, NULL, sizeof(*body));

    body->chunk = data;
    body->chunk_len = len;
    if (is_on_stack(data, __builtin_frame_address(0)))
        return fail_borrow(body, __builtin_return_address(0));
    return data || len == 0 ? body : fail_body(body, "gcorn_body_borrow: data is NULL");
}

/* ---- buffers ----------------------------------------------------------------------------- */

struct buffer {
    struct gcorn_body body;
    struct spool spool;
    bool given; /* handed over as the one chunk that it is */
};

static ssize_t buffer_next(struct gcorn_body *body, const void **chunk)
{
    struct buffer *b = (struct buffer *)body;
    bool given = b->given;

    b->given = true;
    if (given)
        return 0;
    if (body->failed || !(*chunk = spool_map(&b->spool)))
        return -1;
    return (ssize_t)b->spool.len;
}

static void buffer_close(struct gcorn_body *body)
{
    spool_release(&((struct buffer *)body)->spool);
}

static int64_t buffer_len(const struct gcorn_body *body)
{
    const struct buffer *b = (const struct buffer *)body;

    return b->given ? 0 : (int64_t)b->spool.len;
}

static const struct body_ops buffer_ops = {
    .next = buffer_next, .close = buffer_close, .len = buffer_len};

struct gcorn_body *gcorn_body_buffer(struct gcorn_environ *env)
{
    struct buffer *b = (struct buffer *)body_new(env, &buffer_ops, sizeof(*b));

    spool_init(&b->spool, &env->context->limits.body_place, NULL);
    b->given = false;
    return &b->body;
}

/* The buffer that may still be written to; NULL with EINVAL. */
static struct buffer *open_buffer(struct gcorn_body *body)
{
    struct buffer *b = (struct buffer *)body;

    if (body && body->ops == &buffer_ops && !body->closed && !b->given &&
        body->env->response.body != body)
        return b;
    errno = EINVAL;
    return NULL;
}

int gcorn_buffer_write(struct gcorn_body *body, const void *data, size_t len)
{
    struct buffer *b = open_buffer(body);

    if (!b)
        return -1;
    if (!data && len > 0) {
        if (!body->failed)
            (void)fail_body(body, "gcorn_buffer_write: data is NULL");
        errno = EINVAL;
        return -1;
    }
    if (!body->failed && spool_append(&b->spool, data, len) == 0)
        return 0;
    if (!body->failed)
        log_request(LOG_LEVEL_ERROR, environ_request_id(body->env), "gcorn_buffer_write: %s",
                    ascii_error(errno));
    body->failed = true;
    return -1;
}

int gcorn_buffer_printf(struct gcorn_body *body, const char *fmt, ...)
{
    struct strbuf text = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vaddf(&text, fmt, ap);
    va_end(ap);
    int result = gcorn_buffer_write(body, text.data, text.len);
    strbuf_release(&text);
    return result;
}

/* ---- files ------------------------------------------------------------------------------- */

struct file {
    struct gcorn_body body;
    struct body_file rest; /* what is still to come */
    char *read;            /* where chunks are read to; NULL until one is */
};

/* A file that has become shorter has failed: its length has been promised. */
static ssize_t file_next(struct gcorn_body *body, const void **chunk)
{
    struct file *f = (struct file *)body;
    size_t size = f->rest.len < FILE_CHUNK ? (size_t)f->rest.len : FILE_CHUNK;
    ssize_t n;

    assert(f->rest.len >= 0);
    if (size == 0)
        return 0;
    if (!f->read)
        f->read = arena_alloc(&body->env->arena, size);
    do {
        n = pread(f->rest.fd, f->read, size, f->rest.offset);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -1;
    f->rest.offset += n;
    f->rest.len -= n;
    *chunk = f->read;
    return n;
}

static void file_close(struct gcorn_body *body)
{
    fd_close(&((struct file *)body)->rest.fd);
}

static int64_t file_len(const struct gcorn_body *body)
{
    return ((const struct file *)body)->rest.len;
}

static struct body_file file_fd(struct gcorn_body *body)
{
    struct file *f = (struct file *)body;
    struct body_file rest = f->rest;

    f->rest.len = 0;
    return rest;
}

static const struct body_ops file_ops = {
    .next = file_next, .close = file_close, .len = file_len, .fd = file_fd};

/* How many bytes there are to send, -1 with errno. */
static int64_t file_part(int fd, int64_t offset, int64_t len)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -1;
    if (!S_ISREG(st.st_mode) || offset < 0 || offset > st.st_size || len < -1 ||
        len > st.st_size - offset) {
        errno = EINVAL;
        return -1;
    }
    return len < 0 ? st.st_size - offset : len;
}

struct gcorn_body *gcorn_body_file(struct gcorn_environ *env, int fd, int64_t offset, int64_t len)
{
    int64_t part = file_part(fd, offset, len);

    if (part < 0) {
        fd_close(&fd); /* keeps errno */
        return NULL;
    }
    struct file *f = (struct file *)body_new(env, &file_ops, sizeof(*f));
    f->rest = (struct body_file){fd, offset, part};
    f->read = NULL;
    return &f->body;
}

/* ---- iterators --------------------------------------------------------------------------- */

struct iter {
    struct gcorn_body body;
    gcorn_next_fn *next;
    gcorn_close_fn *close;
    void *state;
};

static ssize_t iter_next(struct gcorn_body *body, const void **chunk)
{
    const struct iter *i = (const struct iter *)body;
    ssize_t n = i->next(body->env, i->state, chunk);

    if (n == GCORN_AGAIN)
        return n;
    return n < 0 || (n > 0 && !*chunk) ? -1 : n;
}

static void iter_close(struct gcorn_body *body)
{
    const struct iter *i = (const struct iter *)body;

    if (i->close)
        i->close(body->env, i->state);
}

static const struct body_ops iter_ops = {.next = iter_next, .close = iter_close, .runs_app = true};

struct gcorn_body *gcorn_body_iter(struct gcorn_environ *env, gcorn_next_fn *next,
                                   gcorn_close_fn *close, void *state)
{
    struct iter *i = (struct iter *)body_new(env, &iter_ops, sizeof(*i));

    i->next = next;
    i->close = close;
    i->state = state;
    return next ? &i->body : fail_body(&i->body, "gcorn_body_iter: next is NULL");
}
