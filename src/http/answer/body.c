/* SPDX-License-Identifier: MIT
 *
 * See body.h. A body lives in its request's arena and hangs in its list, so that each is closed
 * once, whatever became of it.
 */
#include "http/answer/body.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/environ.h"

enum { FILE_CHUNK = 64 * 1024 };

static struct gcorn_body *body_new(struct gcorn_environ *env, enum body_kind kind)
{
    struct gcorn_body *body = arena_alloc(&env->arena, sizeof(*body));

    body->env = env;
    body->kind = kind;
    body->failed = body->ended = body->given = body->closed = false;
    body->older = env->response.bodies;
    env->response.bodies = body;
    return body; /* what belongs to its kind is the caller's to set */
}

/* What a function was given cannot be a body: one line names the function, and the body fails when
 * it is asked for, so that the client gets 500. Not inlined, as it never runs in a good program. */
static struct gcorn_body *__attribute__((noinline, cold))
fail_body(struct gcorn_body *body, const char *what)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(body->env), "%s: the body fails", what);
    body->failed = body->ended = true;
    return body;
}

struct gcorn_body *gcorn_body_bytes(struct gcorn_environ *env, const void *data, size_t len)
{
    struct gcorn_body *body = body_new(env, BODY_BYTES);

    body->data = data;
    body->len = len;
    return data || len == 0 ? body : fail_body(body, "gcorn_body_bytes: data is NULL");
}

/* ---- buffers ----------------------------------------------------------------------------- */

struct gcorn_body *gcorn_body_buffer(struct gcorn_environ *env)
{
    const struct request_limits *limits = &env->context->limits;
    struct gcorn_body *body = body_new(env, BODY_BUFFER);

    spool_init(&body->spool, limits->body_mem_max, limits->body_dir, NULL);
    return body;
}

int gcorn_write(struct gcorn_body *body, const void *data, size_t len)
{
    if (!body || body->kind != BODY_BUFFER || body->closed || body->given ||
        body->env->response.body == body) {
        errno = EINVAL;
        return -1;
    }
    if (!data && len > 0) {
        if (!body->failed)
            (void)fail_body(body, "gcorn_write: data is NULL");
        errno = EINVAL;
        return -1;
    }
    if (!body->failed && spool_append(&body->spool, data, len) == 0)
        return 0;
    if (!body->failed)
        log_request(LOG_LEVEL_ERROR, environ_request_id(body->env), "gcorn_write: %s",
                    ascii_error(errno));
    body->failed = true;
    return -1;
}

int gcorn_writef(struct gcorn_body *body, const char *fmt, ...)
{
    struct strbuf text = {0};
    va_list ap;

    va_start(ap, fmt);
    strbuf_vaddf(&text, fmt, ap);
    va_end(ap);
    int result = gcorn_write(body, text.data, text.len);
    strbuf_release(&text);
    return result;
}

/* ---- files ------------------------------------------------------------------------------- */

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
    int64_t left = file_part(fd, offset, len);

    if (left < 0) {
        fd_close(&fd); /* keeps errno */
        return NULL;
    }
    struct gcorn_body *body = body_new(env, BODY_FILE);
    body->file.fd = fd;
    body->file.offset = offset;
    body->file.left = left;
    body->file.read = NULL;
    return body;
}

/* A file that has become shorter has failed: its length has been promised. */
static ssize_t read_file(struct gcorn_body *body, const void **chunk)
{
    size_t size = body->file.left < FILE_CHUNK ? (size_t)body->file.left : FILE_CHUNK;
    ssize_t n;

    if (size == 0)
        return 0;
    if (!body->file.read)
        body->file.read = arena_alloc(&body->env->arena, size);
    do {
        n = pread(body->file.fd, body->file.read, size, body->file.offset);
    } while (n < 0 && errno == EINTR);
    if (n <= 0)
        return -1;
    body->file.offset += n;
    body->file.left -= n;
    *chunk = body->file.read;
    return n;
}

/* ---- iterating --------------------------------------------------------------------------- */

struct gcorn_body *gcorn_body_iter(struct gcorn_environ *env, gcorn_next_fn *next,
                                   gcorn_close_fn *close, void *state)
{
    struct gcorn_body *body = body_new(env, BODY_ITER);

    body->next = next;
    body->close = close;
    body->state = state;
    return next ? body : fail_body(body, "gcorn_body_iter: next is NULL");
}

static ssize_t next_of_buffer(struct gcorn_body *body, const void **chunk)
{
    if (body->failed || !(*chunk = spool_map(&body->spool)))
        return -1;
    return (ssize_t)body->spool.len;
}

static ssize_t next_of_iter(struct gcorn_body *body, const void **chunk)
{
    ssize_t n = body->next(body->env, body->state, chunk);

    if (n == GCORN_AGAIN)
        return n;
    return n < 0 || (n > 0 && !*chunk) ? -1 : n;
}

static ssize_t next_chunk(struct gcorn_body *body, const void **chunk)
{
    bool given = body->given;

    switch (body->kind) {
    case BODY_ITER: return next_of_iter(body, chunk);
    case BODY_FILE: return read_file(body, chunk);
    case BODY_BYTES:
    case BODY_BUFFER: break;
    }
    body->given = true;
    if (given)
        return 0;
    if (body->kind == BODY_BUFFER)
        return next_of_buffer(body, chunk);
    *chunk = body->data;
    return (ssize_t)body->len;
}

ssize_t body_next(struct gcorn_body *body, const void **chunk)
{
    *chunk = NULL;
    if (body->ended || body->closed)
        return body->ended && !body->failed ? 0 : -1;
    ssize_t n = next_chunk(body, chunk);
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
    switch (body->kind) {
    case BODY_BYTES: break;
    case BODY_BUFFER: spool_release(&body->spool); break;
    case BODY_FILE: fd_close(&body->file.fd); break;
    case BODY_ITER:
        if (body->close)
            body->close(body->env, body->state);
        break;
    }
}

int64_t body_len(const struct gcorn_body *body)
{
    switch (body->kind) {
    case BODY_BYTES: return body->given ? 0 : (int64_t)body->len;
    case BODY_BUFFER: return body->given ? 0 : (int64_t)body->spool.len;
    case BODY_FILE: return body->file.left;
    case BODY_ITER: break;
    }
    return -1;
}

int64_t gcorn_body_len(const struct gcorn_body *body)
{
    return body ? body_len(body) : -1;
}
