/* SPDX-License-Identifier: MIT
 *
 * See environ.h. The life of a request's environ, its input, and the memory and deferred functions
 * that an application gets of it.
 */
#include "http/environ.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/log.h"

const char gcorn_abi_2 = 2;

/* Not inlined, as its locals would cost every request a stack check. */
static void __attribute__((noinline)) render_date(struct http_context *c, time_t wall)
{
    char date[TIME_TEXT_SIZE];

    (void)time_put_http(date, wall);
    c->date = wall;
    c->common_fields_len = (size_t)snprintf(c->common_fields, sizeof(c->common_fields),
                                            "\r\nServer: gcorn\r\nDate: %s\r\n", date);
    assert(c->common_fields_len < sizeof(c->common_fields));
}

void http_context_set_date(struct http_context *c, time_t wall)
{
    if (wall != c->date || c->common_fields_len == 0)
        render_date(c, wall);
}

void environ_init(struct gcorn_environ *env, const struct http_context *context,
                  const struct http_peer *peer, uint64_t id)
{
    request_init(&env->request, &context->limits, &env->arena);
    env->request.rules = &context->forwarded;
    env->request.trust = peer->trust;
    response_init(&env->response);
    framing_h1_init(&env->h1);
    env->response.start.state = env;
    env->context = context;
    env->peer = peer;
    env->id = id;
    env->was_run = false;
    env->input_offset = 0;
    env->vars = NULL;
    env->objects = NULL;
    env->deferred = NULL;
    env->listed = NULL;
    env->listed_count = 0;
}

bool environ_has_code(const struct gcorn_environ *env)
{
    const struct gcorn_body *body = env->response.bodies;

    while (body && !body_runs_app(body))
        body = body->older;
    return body || env->deferred;
}

void environ_reset(struct gcorn_environ *env)
{
    response_close(env);
    while (env->deferred) {
        struct environ_deferred *d = env->deferred;

        env->deferred = d->next;
        d->fn(d->arg);
        response_close(env); /* bodies that it has made */
    }
    request_release(&env->request);
    arena_reset(&env->arena);
}

void environ_release(struct gcorn_environ *env)
{
    response_release(&env->response);
    arena_release(&env->arena);
}

/* ---- what logs ask too ------------------------------------------------------------------- */

const char *environ_remote_addr(const struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f && f->remote_addr ? f->remote_addr : env->peer->remote_addr;
}

const char *environ_given_id(const struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f ? f->request_id : NULL;
}

const char *environ_request_id(struct gcorn_environ *env)
{
    const char *given = environ_given_id(env);

    if (given)
        return given;
    /* made each time, but in one place: an endless stream may log for days */
    ascii_put_hex_u64(env->id_text, env->id);
    env->id_text[16] = '\0';
    return env->id_text;
}

/* ---- input ------------------------------------------------------------------------------- */

/* Has the application to be told that the whole body is not to be had: in gcorn_on_head, or because
 * it asked for the body as it comes? EINVAL. */
static int require_whole(const struct gcorn_environ *env)
{
    if (env->request.state == REQUEST_DONE && !env->request.ahead)
        return 0;
    errno = EINVAL;
    return -1;
}

/* What has come and is not read. */
static size_t read_ahead(struct gcorn_environ *env, void *buf, size_t size)
{
    struct request *r = &env->request;

    return r->ahead ? body_ahead_read(r->ahead, buf, size) : 0;
}

static ssize_t await(struct body_ahead *ahead)
{
    ahead->is_awaited = true;
    return GCORN_AGAIN;
}

/* There is nothing to read. 0: nor will there be; GCORN_AGAIN; -1 with errno. */
static ssize_t read_nothing(struct gcorn_environ *env)
{
    struct request *r = &env->request;

    if (r->state == REQUEST_DONE)
        return 0;
    if (request_is_refused(r))
        errno = r->refusal == 413 ? EMSGSIZE : r->refusal == 408 ? ETIMEDOUT : EBADMSG;
    else if (!r->ahead || r->state == REQUEST_HELD)
        errno = EINVAL;
    else if (r->ahead->is_lost)
        errno = ECONNRESET;
    else
        return await(r->ahead);
    return -1;
}

ssize_t gcorn_input_read(struct gcorn_environ *env, void *buf, size_t size)
{
    ssize_t n = spool_read(&env->request.body, env->input_offset, buf, size);

    if (n > 0)
        env->input_offset += (uint64_t)n;
    if (n == 0)
        n = (ssize_t)read_ahead(env, buf, size);
    return n != 0 || size == 0 ? n : read_nothing(env);
}

const char *gcorn_input_all(struct gcorn_environ *env, size_t *len)
{
    const char *data = require_whole(env) == 0 ? spool_map(&env->request.body) : NULL;

    if (data && len)
        *len = (size_t)env->request.body.len;
    return data;
}

/* Does gcorn_on_head run for this request? Else -1 with EINVAL: it is too late, or too early. */
static int require_hook(const struct gcorn_environ *env)
{
    if (env->response.head_step == HEAD_ASKED)
        return 0;
    errno = EINVAL;
    return -1;
}

int gcorn_limit_body(struct gcorn_environ *env, int64_t bytes)
{
    if (require_hook(env) < 0)
        return -1;
    if (bytes < -1) {
        errno = EINVAL;
        return -1;
    }
    env->request.body_max = bytes < 0 ? UINT64_MAX : (uint64_t)bytes;
    return 0;
}

int gcorn_stream_body(struct gcorn_environ *env)
{
    struct request *r = &env->request;

    if (require_hook(env) < 0)
        return -1;
    if (!r->ahead)
        r->ahead = gcorn_alloc(env, sizeof(*r->ahead));
    return 0;
}

/* ---- memory and log ---------------------------------------------------------------------- */

void *gcorn_alloc(struct gcorn_environ *env, size_t size)
{
    return memset(arena_alloc(&env->arena, size), 0, size);
}

char *gcorn_printf(struct gcorn_environ *env, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = arena_vprintf(&env->arena, fmt, ap);
    va_end(ap);
    return text;
}

void gcorn_defer(struct gcorn_environ *env, void (*fn)(void *arg), void *arg)
{
    struct environ_deferred *d = arena_alloc(&env->arena, sizeof(*d));

    if (!fn) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "gcorn_defer: fn is NULL: nothing is deferred");
        return;
    }
    *d = (struct environ_deferred){.fn = fn, .arg = arg, .next = env->deferred};
    env->deferred = d;
}

void gcorn_log(struct gcorn_environ *env, enum gcorn_level level, const char *fmt, ...)
{
    enum log_level to = level > GCORN_CRITICAL ? LOG_LEVEL_CRITICAL : (enum log_level)level;
    char text[LOG_LINE_MAX];
    va_list ap;

    if (!log_wants(to))
        return;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, ap); /* a longer text is cut, as log lines are */
    va_end(ap);
    if (len > 0 && len < (int)sizeof(text) && text[len - 1] == '\n') /* a line ends by itself */
        text[len - 1] = '\0';
    log_request(to, env ? environ_request_id(env) : NULL, "%s", text);
}
