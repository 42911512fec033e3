/* SPDX-License-Identifier: MIT
 *
 * See response.h. The length of the answer is settled when the first byte of its body is at hand:
 * until then gcorn_start may be called again.
 */
#include "http/answer/response.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "http/environ.h"

/* ---- running ----------------------------------------------------------------------------- */

const char *response_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {400, "Bad Request"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"}, /* nginx's; only the access log has it */
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };

    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].reason;
    }
    return "Unknown";
}

void response_init(struct response *r)
{
    memset(r, 0, offsetof(struct response, start_cache));
    r->start.fn = start_own;
    r->content_length = -1;
}

void response_release(struct response *r)
{
    strbuf_release(&r->start_cache.text);
    r->start_cache.is_whole = false;
}

void response_close(struct gcorn_environ *env)
{
    struct gcorn_body *b;

    while ((b = env->response.bodies)) {
        env->response.bodies = b->older; /* closing it may make another */
        gcorn_body_close(b);
    }
}

void response_abandon(struct gcorn_environ *env)
{
    struct response *r = &env->response;

    r->body_len -= r->file.left;
    r->file.left = 0;
    if (r->phase == RESPONSE_OPEN)
        r->status = 499;
    r->phase = RESPONSE_ENDED;
}

void response_refuse(struct gcorn_environ *env, int status, const char *reason)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain; charset=utf-8"},
                                                  {NULL, NULL}};
    static const struct gcorn_header headers_503[] = {
        {"Content-Type", "text/plain; charset=utf-8"}, {"Retry-After", "1"}, {NULL, NULL}};
    char line[64];
    const char *text;

    assert(env->response.phase == RESPONSE_OPEN);
    (void)snprintf(line, sizeof(line), "%d %s", status, response_reason(status));
    if (reason)
        text = arena_printf(&env->arena, "%s: %s\n", line, reason);
    else
        text = arena_printf(&env->arena, "%s\n", line);
    env->response.trailers = NULL; /* of what it replaces */
    /* cannot be refused: the server has made all of it */
    (void)start_own(env, line, status == 503 ? headers_503 : headers);
    env->response.body = gcorn_body_text(env, text);
}

/* Not inlined, as the text would cost every answer a stack check. */
static void __attribute__((noinline)) fail(struct gcorn_environ *env, const char *why)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "%s: answered 500", why);
    response_refuse(env, 500, NULL);
}

/* The same of an answer whose head has left: it is broken off. */
static void __attribute__((noinline, cold)) fail_late(struct gcorn_environ *env)
{
    struct gcorn_body *body = body_new(env, NULL, sizeof(*body));

    body->failed = body->ended = true;
    env->response.body = body;
}

/* A pointer that no gcorn_body_* has made for this request is compared, and never followed: it may
 * be an integer, a body of another request, or the string itself. */
static bool __attribute__((noinline)) is_body_of(const struct response *r, const void *body)
{
    const struct gcorn_body *b = r->bodies;

    while (b && b != body)
        b = b->older;
    return b != NULL;
}

static void __attribute__((noinline))
fail_return(struct gcorn_environ *env, const char *function, const void *body)
{
    if (env->response.phase != RESPONSE_OPEN)
        fail_late(env); /* the log has its line when the body is asked for */
    else if (!body)
        fail(env, "the application failed (it returned NULL)");
    else
        fail(env, arena_printf(&env->arena,
                               "the application failed (%s returned %p, which no gcorn_body_* "
                               "function has made for this request)",
                               function ? function : "its handler", body));
}

void response_run(struct gcorn_environ *env, gcorn_app *app)
{
    struct response *r = &env->response;
    struct gcorn_body *body = app(env, &r->start);

    if (!body || (body != r->bodies && !is_body_of(r, body)))
        fail_return(env, env->context->handler, body);
    else
        r->body = body;
}

bool response_ask(struct gcorn_environ *env, gcorn_app *on_head)
{
    struct response *r = &env->response;

    r->head_step = HEAD_ASKED;
    struct gcorn_body *body = on_head(env, &r->start);
    r->head_step = HEAD_PASSED;
    if (body && !is_body_of(r, body))
        fail_return(env, "gcorn_on_head", body);
    else
        r->body = body;
    if (r->body)
        return false;
    if (env->request.state == REQUEST_HELD)
        request_go_on(&env->request);
    return env->request.state == REQUEST_DONE ||
           (env->request.ahead && request_in_body(&env->request));
}

/* ---- pieces ------------------------------------------------------------------------------ */

static bool has_no_body(const struct gcorn_environ *env)
{
    const struct response *r = &env->response;

    return env->request.is_head || r->status == 204 || r->status == 205 || r->status == 304;
}

/* How long the answer is (RFC 9110 8.6). known: as far as its body knows; -1: it does not. */
static inline void __attribute__((always_inline))
settle_length(struct gcorn_environ *env, int64_t known)
{
    struct response *r = &env->response;

    r->sends_body = !has_no_body(env);
    if (r->sends_body) {
        if (r->content_length < 0 && !r->trailers)
            r->content_length = known;
        r->body_max = r->content_length < 0 ? 0 : (uint64_t)r->content_length;
    } else if (r->status == 204) {
        r->content_length = -1;
    } else if (r->status == 205) { /* its length is sent, and is 0 (RFC 9110 15.3.6) */
        r->content_length = 0;
    } else if (r->content_length < 0 && r->status != 304) {
        r->content_length = known;
    }
}

/* The next piece of the body: its length, 0 at the end, -1 failed, GCORN_AGAIN. `piece` NULL: so
 * many bytes of a file, for a sender that takes them from there. */
static ssize_t pull(struct gcorn_environ *env)
{
    struct response *r = &env->response;
    struct body_file file;

    if (r->takes_files && body_take_file(r->body, &file)) {
        r->file.fd = file.fd;
        r->file.offset = file.offset;
        r->piece = NULL;
        return (ssize_t)file.len;
    }
    return body_next(r->body, &r->piece);
}

/* A longer body than promised would be read as the next answer, so it is cut; a shorter one cannot
 * be mended, only broken off. */
static inline size_t __attribute__((always_inline))
clip_counted(struct gcorn_environ *env, size_t n)
{
    struct response *r = &env->response;
    assert(r->body_len <= r->body_max);
    uint64_t left = r->body_max - r->body_len;

    if (n > left) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "the body is longer than its Content-Length of %llu; cutting it",
                    (unsigned long long)r->body_max);
        return (size_t)left;
    }
    if (n == 0 && left > 0) {
        log_request(
            LOG_LEVEL_ERROR, environ_request_id(env),
            "the body is %llu bytes shorter than its Content-Length; closing the connection",
            (unsigned long long)left);
        r->broken = true;
    }
    return n;
}

/* ---- pushes ------------------------------------------------------------------------------ */

/* In the place of start_own: the bytes of a push are lost, so no later gcorn_start mends it. */
static int refuse_start(void *state, const char *status, const struct gcorn_header *headers)
{
    (void)state;
    (void)status;
    (void)headers;
    errno = EINVAL;
    return -1;
}

int response_spoil(struct gcorn_environ *env, const char *why)
{
    struct response *r = &env->response;

    if (!r->spoiled)
        log_request(LOG_LEVEL_ERROR, environ_request_id(env), "%s", why);
    r->spoiled = true;
    if (r->phase == RESPONSE_OPEN) {
        r->start.fn = refuse_start;
        r->refused = true;
    }
    errno = EINVAL;
    return -1;
}

/* Says once that it is too long, however many pushes follow. */
static size_t clip_push(struct gcorn_environ *env, size_t len)
{
    struct response *r = &env->response;
    uint64_t left = r->body_max - r->body_len;

    if (r->content_length < 0 || len <= left)
        return len;
    if (!r->cut)
        len = clip_counted(env, len);
    r->cut = true;
    return len < left ? len : (size_t)left;
}

size_t response_push(struct gcorn_environ *env, size_t len)
{
    struct response *r = &env->response;

    assert(response_takes_pushes(r) && r->started && !r->refused);
    if (r->phase == RESPONSE_OPEN) {
        settle_length(env, -1);
        r->phase = RESPONSE_BODY;
    }
    if (!r->sends_body)
        return 0;
    len = clip_push(env, len);
    r->body_len += len;
    return len;
}

void response_end_pushes(struct gcorn_environ *env)
{
    if (env->response.spoiled)
        fail_late(env);
}

void response_unpush(struct gcorn_environ *env, uint64_t unsent)
{
    struct response *r = &env->response;

    r->body_len -= unsent < r->body_len ? unsent : r->body_len;
}

/* ---- the first piece --------------------------------------------------------------------- */

/* Gets the first piece, whose making may still start the answer. NULL, or why it failed. */
static const char *first_piece(struct gcorn_environ *env, ssize_t *n)
{
    struct response *r = &env->response;

    /* once, also of a body that is not sent: an answer that is late for GET is late for HEAD */
    *n = pull(env);
    if (*n == GCORN_AGAIN) {
        if (!r->started || r->refused || !has_no_body(env))
            return NULL;
        *n = 0; /* bytes that are not sent are not waited for */
    }
    if (*n < 0)
        return "the application failed (its body could not be read)";
    if (r->refused)
        return "the application failed (its gcorn_start was refused)";
    if (!r->started)
        return "the application failed (it did not call gcorn_start)";
    return NULL;
}

/* The length of the body, of which the first n bytes have been taken; -1: unknown. */
static int64_t whole_len(const struct gcorn_body *body, ssize_t n)
{
    int64_t left = body_len(body);

    return left < 0 || n < 0 ? left : left + n;
}

static ssize_t open_response(struct gcorn_environ *env)
{
    ssize_t n;
    const char *failure = first_piece(env, &n);

    if (failure) {
        fail(env, failure);
        n = pull(env);
    } else if (n == GCORN_AGAIN) {
        return n; /* the head leaves with the first byte */
    }
    settle_length(env, whole_len(env->response.body, n));
    env->response.phase = RESPONSE_BODY;
    return n;
}

/* The piece that was pulled, as far as it is sent. True while more may follow. */
static bool take_piece(struct gcorn_environ *env, size_t n)
{
    struct response *r = &env->response;
    bool more = n > 0;

    if (!r->sends_body)
        return false;
    if (r->content_length >= 0) {
        if (r->body_max > 0 || n > 0)
            n = clip_counted(env, n);
        more = !r->broken && r->body_len + n < r->body_max;
        if (n > 0 && !r->piece) {
            r->file.left = n;
            more = true; /* until it has been sent */
        }
    }
    r->piece_len = n;
    r->body_len += n;
    return more;
}

/* The application has nothing yet. After pushes the head has left, and where no body is sent there
 * is nothing to wait for. */
static bool __attribute__((noinline)) ends_anyway(struct response *r)
{
    r->waits = r->phase == RESPONSE_OPEN || r->sends_body;
    return !r->waits;
}

bool response_next(struct gcorn_environ *env)
{
    struct response *r = &env->response;
    bool more = false;

    r->piece_len = 0;
    ssize_t n = r->phase == RESPONSE_OPEN ? open_response(env) : pull(env);
    r->waits = n == GCORN_AGAIN;
    if (r->waits && !ends_anyway(r))
        return true;
    if (n == -1) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "the application failed within its body; closing the connection");
        r->broken = true;
    } else {
        more = take_piece(env, (size_t)n);
    }
    if (!more)
        r->phase = RESPONSE_ENDED;
    return more;
}
