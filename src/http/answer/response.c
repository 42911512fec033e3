/* SPDX-License-Identifier: MIT
 *
 * See response.h. What the application says is copied when it says it, already in the form in which
 * it is sent; the head is put together when the first body byte is at hand, since
 * until then gcorn_start may be called anew.
 */
#include "http/answer/response.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "http/environ.h"
#include "http/request/scan.h"
#include "http/request/syntax.h"

/* A piece up to this length is copied behind the head, so that pipelined answers gather in one
 * write; a longer one costs less where it lies. */
enum { COPY_MAX = 16 * 1024 };

/* ---- gcorn_start ------------------------------------------------------------------------- */

enum answer_field {
    ANSWER_OTHER,
    ANSWER_LENGTH,
    ANSWER_DATE,
    ANSWER_SERVER,
    ANSWER_HOP, /* belongs to the connection, and so to the server (RFC 9110 7.6.1) */
};

static enum answer_field answer_field(const char *name, size_t len)
{
    static const struct {
        const char *lower[2];
        enum answer_field what[2];
    } known[] = {
        [2] = {{"te"}, {ANSWER_HOP}},
        [4] = {{"date"}, {ANSWER_DATE}},
        [6] = {{"server"}, {ANSWER_SERVER}},
        [7] = {{"trailer", "upgrade"}, {ANSWER_HOP, ANSWER_HOP}},
        [10] = {{"connection", "keep-alive"}, {ANSWER_HOP, ANSWER_HOP}},
        [14] = {{"content-length"}, {ANSWER_LENGTH}},
        [16] = {{"proxy-connection"}, {ANSWER_HOP}},
        [17] = {{"transfer-encoding"}, {ANSWER_HOP}},
        [18] = {{"proxy-authenticate"}, {ANSWER_HOP}},
        [19] = {{"proxy-authorization"}, {ANSWER_HOP}},
    };

    if (len >= ARRAY_LEN(known))
        return ANSWER_OTHER;
    for (size_t i = 0; i < 2 && known[len].lower[i]; i++) {
        if (syntax_is(name, len, known[len].lower[i]))
            return known[len].what[i];
    }
    return ANSWER_OTHER;
}

static char *put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

#define PUT_LITERAL(p, text) put(p, text, sizeof(text) - 1)

/* Not inlined, as its locals would cost every answer a stack check. */
static const char *__attribute__((noinline)) take_length(struct response *r, const char *value)
{
    int64_t length;

    if (r->content_length >= 0)
        return "given twice";
    if (value[0] == '-' || parse_int(value, 0, INT64_MAX, &length) < 0)
        return "not a length";
    r->content_length = length;
    return NULL;
}

/* One field, as it will be sent, into r->said; Content-Length not, since the framing decides it.
 * NULL, or why it cannot be sent. */
static const char *take_field(struct response *r, const struct gcorn_header *h)
{
    struct said *said = &r->said;

    if (!h->value)
        return "no value";
    size_t name_len = syntax_token_end(h->name), value_len = strlen(h->value);
    if (name_len == 0 || h->name[name_len] != '\0')
        return "not a valid field name";
    if (scan_has_control(h->value, value_len))
        return "a control character in the value";
    switch (answer_field(h->name, name_len)) {
    case ANSWER_HOP: return "the server's own business";
    case ANSWER_LENGTH: return take_length(r, h->value);
    case ANSWER_DATE: said->has_date = true; break;
    case ANSWER_SERVER: said->has_server = true; break;
    case ANSWER_OTHER: break;
    }
    char *p = strbuf_grow(&said->text, name_len + value_len + 4);
    p = put(p, h->name, name_len);
    p = PUT_LITERAL(p, ": ");
    p = put(p, h->value, value_len);
    (void)PUT_LITERAL(p, "\r\n");
    said->text.len += name_len + value_len + 4;
    if (said->field_count < SAID_FIELDS_MAX) {
        said->fields[said->field_count].name_len = (uint32_t)name_len;
        said->fields[said->field_count].value_len = (uint32_t)value_len;
    }
    said->field_count++;
    return NULL;
}

/* "NNN Reason"; 1xx answers are the server's own business, 6xx and up are none (RFC 9110 15). */
static bool status_is_valid(const char *status, size_t len)
{
    for (size_t i = 0; i < 3; i++) {
        if (status[i] < '0' || status[i] > '9')
            return false;
    }
    return status[0] >= '2' && status[0] <= '5' && (status[3] == ' ' || status[3] == '\0') &&
           !scan_has_control(status, len);
}

static int refuse_start(struct gcorn_environ *env, const char *what, const char *name)
{
    env->response.refused = true;
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "gcorn_start refused: %s: %s", name,
                what);
    errno = EINVAL;
    return -1;
}

static bool is_text(const char *s, const char *text, size_t len)
{
    return s && strncmp(s, text, len) == 0 && s[len] == '\0';
}

/* Is this what was said last? Then all of it has been looked at. */
static bool says_the_same(const struct said *said, const char *status, const struct gcorn_header *h)
{
    const char *p = said->text.data;

    if (!said->is_whole || !is_text(status, p, said->status_len))
        return false;
    p += said->status_len;
    for (unsigned i = 0; i < said->field_count; i++, h++) {
        size_t name_len = said->fields[i].name_len, value_len = said->fields[i].value_len;

        if (!h || !is_text(h->name, p, name_len) || !is_text(h->value, p + name_len + 2, value_len))
            return false;
        p += name_len + 2 + value_len + 2;
    }
    return !h || !h->name;
}

/* Checks and copies what gcorn_start is told. 0, or -1 when it is refused. */
static int take_start(struct gcorn_environ *env, const char *status,
                      const struct gcorn_header *headers)
{
    struct response *r = &env->response;
    struct said *said = &r->said;
    size_t status_len = status ? strlen(status) : 0;

    said->is_whole = said->has_date = said->has_server = false;
    said->field_count = 0;
    said->head_len = 0;
    strbuf_reset(&said->text);
    if (!status || !status_is_valid(status, status_len))
        return refuse_start(env, "not a status", status ? status : "NULL");
    strbuf_add(&said->text, status, status_len);
    for (const struct gcorn_header *h = headers; h && h->name; h++) {
        const char *bad = take_field(r, h);

        if (bad)
            return refuse_start(env, bad, h->name);
    }
    said->status = (status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0');
    said->status_len = status_len;
    said->is_whole = r->content_length < 0 && said->field_count <= SAID_FIELDS_MAX;
    return 0;
}

/* The server's own start_response. */
static int start_own(void *state, const char *status, const struct gcorn_header *headers)
{
    struct gcorn_environ *env = state;
    struct response *r = &env->response;
    struct said *said = &r->said;

    if (r->phase != RESPONSE_OPEN) {
        errno = EALREADY;
        return -1;
    }
    r->started = r->refused = false;
    r->content_length = -1;
    if (!says_the_same(said, status, headers) && take_start(env, status, headers) < 0)
        return -1;
    r->status = said->status;
    r->fields = said->text.data + said->status_len;
    r->fields_len = said->text.len - said->status_len;
    r->started = true;
    return 0;
}

int gcorn_start(struct gcorn_start_response *start_response, const char *status,
                const struct gcorn_header *headers)
{
    return start_response->fn(start_response->state, status, headers);
}

/* What stands in the place of a missing function: the inner application starts nothing. */
static int refuse_wrapped(void *state, const char *status, const struct gcorn_header *headers)
{
    (void)headers;
    return refuse_start(state, "gcorn_start_wrap: fn is NULL", status ? status : "NULL");
}

struct gcorn_start_response *gcorn_start_wrap(struct gcorn_environ *env, gcorn_start_fn *fn,
                                              void *state)
{
    struct gcorn_start_response *wrap = arena_alloc(&env->arena, sizeof(*wrap));

    if (!fn) {
        fn = refuse_wrapped;
        state = env;
    }
    *wrap = (struct gcorn_start_response){.fn = fn, .state = state};
    return wrap;
}

/* ---- header lists ------------------------------------------------------------------------ */

static bool same_name(const char *a, const char *b)
{
    return ascii_same(a, b);
}

const char *gcorn_headers_get(const struct gcorn_header *headers, const char *name)
{
    for (; headers && headers->name; headers++) {
        if (same_name(headers->name, name))
            return headers->value;
    }
    return NULL;
}

/* A deep copy with room for one more; without `omitted`. *end is where the list ends. */
static struct gcorn_header *copy_headers(struct gcorn_environ *env,
                                         const struct gcorn_header *headers, const char *omitted,
                                         struct gcorn_header **end)
{
    size_t count = 0;

    while (headers && headers[count].name)
        count++;
    struct gcorn_header *copy = arena_alloc(&env->arena, (count + 2) * sizeof(*copy));
    struct gcorn_header *to = copy;
    for (size_t i = 0; i < count; i++) {
        if (omitted && same_name(headers[i].name, omitted))
            continue;
        to->name = arena_strdup(&env->arena, headers[i].name);
        to->value = arena_strdup(&env->arena, headers[i].value ? headers[i].value : "");
        to++;
    }
    *to = (struct gcorn_header){NULL, NULL};
    *end = to;
    return copy;
}

static void append_header(struct gcorn_environ *env, struct gcorn_header *end, const char *name,
                          const char *value)
{
    end[0].name = arena_strdup(&env->arena, name);
    end[0].value = arena_strdup(&env->arena, value);
    end[1] = (struct gcorn_header){NULL, NULL};
}

struct gcorn_header *gcorn_headers_set(struct gcorn_environ *env,
                                       const struct gcorn_header *headers, const char *name,
                                       const char *value)
{
    struct gcorn_header *end;
    struct gcorn_header *copy = copy_headers(env, headers, name, &end);

    if (value)
        append_header(env, end, name, value);
    return copy;
}

struct gcorn_header *gcorn_headers_add(struct gcorn_environ *env,
                                       const struct gcorn_header *headers, const char *name,
                                       const char *value)
{
    struct gcorn_header *end;
    struct gcorn_header *copy = copy_headers(env, headers, NULL, &end);

    append_header(env, end, name, value);
    return copy;
}

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
        {499, "Client Closed Request"}, /* nginx's: nobody else sees it */
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
    memset(r, 0, offsetof(struct response, said));
    r->start.fn = start_own;
    r->content_length = -1;
}

void response_release(struct response *r)
{
    strbuf_release(&r->said.text);
    r->said.is_whole = false;
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
    /* cannot be refused: all of it is ours */
    (void)start_own(env, line, status == 503 ? headers_503 : headers);
    env->response.body = gcorn_body_text(env, text);
}

/* Not inlined, as the text would cost every answer a stack check. */
static void __attribute__((noinline)) fail(struct gcorn_environ *env, const char *why)
{
    log_request(LOG_LEVEL_ERROR, environ_request_id(env), "%s: answered 500", why);
    response_refuse(env, 500, NULL);
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

static void __attribute__((noinline)) fail_return(struct gcorn_environ *env, const void *body)
{
    const char *handler = env->context->handler ? env->context->handler : "its handler";

    if (!body)
        fail(env, "the application failed (it returned NULL)");
    else
        fail(env, arena_printf(&env->arena,
                               "the application failed (%s returned %p, which no gcorn_body_* "
                               "function has made for this request)",
                               handler, body));
}

void response_run(struct gcorn_environ *env, gcorn_app *app)
{
    struct response *r = &env->response;
    struct gcorn_body *body = app(env, &r->start);

    if (!body || (body != r->bodies && !is_body_of(r, body)))
        fail_return(env, body);
    else
        r->body = body;
}

/* ---- the head ---------------------------------------------------------------------------- */

static bool has_no_body(const struct gcorn_environ *env)
{
    const struct response *r = &env->response;

    return env->request.is_head || r->status == 204 || r->status == 205 || r->status == 304;
}

/* RFC 9112 6.1 and 6.3, RFC 9110 8.6. The first piece has been taken off the body. */
static void choose_framing(struct gcorn_environ *env, size_t first_len)
{
    struct response *r = &env->response;
    int64_t known = body_len(r->body);

    if (known >= 0)
        known += (int64_t)first_len;
    if (has_no_body(env)) {
        r->framing = FRAMING_NONE;
        if (r->status == 204)
            r->content_length = -1;
        else if (r->status == 205) /* its length is sent, and is 0 (RFC 9110 15.3.6) */
            r->content_length = 0;
        else if (r->content_length < 0 && r->status != 304)
            r->content_length = known;
        return;
    }
    if (r->content_length < 0)
        r->content_length = known;
    if (r->content_length >= 0) {
        r->framing = FRAMING_COUNTED;
        r->body_max = (uint64_t)r->content_length;
    } else if (env->request.minor_version > 0) {
        r->framing = FRAMING_CHUNKED;
    } else {
        r->framing = FRAMING_CLOSE;
        r->close = true;
    }
}

/* Date and Server that the application did not give, behind the end of the status line. */
static char *put_common(const struct gcorn_environ *env, char *p)
{
    const struct http_context *c = env->context;
    const struct said *said = &env->response.said;

    if (!said->has_date && !said->has_server) {
        memcpy(p, c->common_fields, sizeof(c->common_fields)); /* of a fixed size: in a few moves */
        return p + c->common_fields_len;
    }
    const char *date = strstr(c->common_fields, "Date:");
    size_t server_len = (size_t)(date - c->common_fields);
    p = put(p, c->common_fields, said->has_server ? 2 : server_len);
    return said->has_date ? p : put(p, date, c->common_fields_len - server_len);
}

static char *put_decimal(char *p, uint64_t n)
{
    size_t digits = 1;

    for (uint64_t power = 10; digits < 20 && n >= power; power *= 10)
        digits++;
    for (size_t i = digits; i-- > 0; n /= 10)
        p[i] = (char)('0' + n % 10);
    return p + digits;
}

#define ADD_LITERAL(out, text) strbuf_add(out, text, sizeof(text) - 1)

/* The id in the answer, unless the application has put a field of that name there. */
static void render_request_id(struct gcorn_environ *env, struct strbuf *out)
{
    const struct response *r = &env->response;
    const char *name = env->context->id_field, *end = r->fields + r->fields_len;
    size_t len = strlen(name);

    for (const char *p = r->fields; p && p < end;
         p = (const char *)memchr(p, '\n', (size_t)(end - p)) + 1) {
        if (ascii_same_n(p, name, len) && p[len] == ':')
            return;
    }
    strbuf_addstr(out, name);
    ADD_LITERAL(out, ": ");
    strbuf_addstr(out, environ_request_id(env));
    ADD_LITERAL(out, "\r\n");
}

/* What of a head is not the application's: no more than this before its fields, and behind them. */
enum { HEAD_OWN_MAX = 160 };

static void render_head(struct gcorn_environ *env, struct strbuf *out)
{
    struct response *r = &env->response;
    const struct said *said = &r->said;

    char *p = strbuf_grow(out, HEAD_OWN_MAX + said->text.len + HEAD_OWN_MAX);
    /* the version is the highest that the server speaks, whatever the client's (RFC 9110 2.5) */
    p = PUT_LITERAL(p, "HTTP/1.1 ");
    p = put(p, said->text.data, said->status_len);
    if (said->status_len == 3)
        *p++ = ' ';
    p = put_common(env, p);
    if (r->close)
        p = PUT_LITERAL(p, "Connection: close\r\n");
    else if (env->request.minor_version == 0)
        p = PUT_LITERAL(p, "Connection: keep-alive\r\n");
    if (env->context->id_field) {
        strbuf_set_end(out, p);
        render_request_id(env, out);
        p = strbuf_grow(out, r->fields_len + HEAD_OWN_MAX);
    }
    p = put(p, r->fields, r->fields_len);
    if (r->framing == FRAMING_CHUNKED) {
        p = PUT_LITERAL(p, "Transfer-Encoding: chunked\r\n");
    } else if (r->content_length >= 0) {
        p = PUT_LITERAL(p, "Content-Length: ");
        p = put_decimal(p, (uint64_t)r->content_length);
        p = PUT_LITERAL(p, "\r\n");
    }
    p = PUT_LITERAL(p, "\r\n");
    strbuf_set_end(out, p);
}

/* Does nothing but what the application said, the second and the framing make this head? */
static bool head_is_ordinary(const struct gcorn_environ *env)
{
    return !env->response.close && env->request.minor_version > 0 && !env->context->id_field;
}

static bool head_is_kept(const struct gcorn_environ *env)
{
    const struct response *r = &env->response;
    const struct said *said = &r->said;

    return said->head_len > 0 && said->head_date == env->context->date &&
           said->head_content_length == r->content_length && said->head_framing == r->framing;
}

static void keep_head(struct gcorn_environ *env, const char *head, size_t len)
{
    struct said *said = &env->response.said;

    said->head_len = len <= sizeof(said->head) ? len : 0;
    said->head_date = env->context->date;
    said->head_content_length = env->response.content_length;
    said->head_framing = env->response.framing;
    memcpy(said->head, head, said->head_len);
}

/* Appends the head: the one before again, where it is the same. */
static void add_head(struct gcorn_environ *env, struct strbuf *out, size_t first_len)
{
    size_t before = out->len;

    choose_framing(env, first_len);
    if (!head_is_ordinary(env)) {
        render_head(env, out);
    } else if (head_is_kept(env)) {
        strbuf_add(out, env->response.said.head, env->response.said.head_len);
    } else {
        render_head(env, out);
        keep_head(env, out->data + before, out->len - before);
    }
}

/* The next piece of the body: its length, 0 at the end, -1 failed, GCORN_AGAIN. `pulled` NULL: so
 * many bytes of a file, for a sender who takes them himself. */
static ssize_t pull(struct gcorn_environ *env)
{
    struct response *r = &env->response;
    struct body_file file;

    if (r->takes_files && body_take_file(r->body, &file)) {
        r->file.fd = file.fd;
        r->file.offset = file.offset;
        r->pulled = NULL;
        return (ssize_t)file.len;
    }
    return body_next(r->body, &r->pulled);
}

/* Gets the first piece, whose making may still start the answer. NULL, or why there is none. */
static const char *first_piece(struct gcorn_environ *env, ssize_t *n)
{
    struct response *r = &env->response;

    /* once, also of a body that nobody will see: what is late for GET is late for HEAD */
    *n = pull(env);
    if (*n == GCORN_AGAIN) {
        if (!r->started || r->refused || !has_no_body(env))
            return NULL;
        *n = 0; /* nobody waits for bytes that are not sent */
    }
    if (*n < 0)
        return "the application failed (its body could not be read)";
    if (r->refused)
        return "the application failed (its gcorn_start was refused)";
    if (!r->started)
        return "the application failed (it did not call gcorn_start)";
    return NULL;
}

static ssize_t open_response(struct gcorn_environ *env, struct strbuf *out)
{
    ssize_t n;
    const char *failure = first_piece(env, &n);

    if (failure) {
        fail(env, failure);
        n = pull(env);
    } else if (n == GCORN_AGAIN) {
        return n; /* the head leaves with the first byte */
    }
    add_head(env, out, n > 0 ? (size_t)n : 0);
    env->response.phase = RESPONSE_BODY;
    return n;
}

/* ---- the body ---------------------------------------------------------------------------- */

static void add_piece(struct strbuf *out, const char *piece, size_t n, const char **data,
                      size_t *len)
{
    if (n <= COPY_MAX) {
        strbuf_add(out, piece, n);
    } else {
        *data = piece;
        *len = n;
    }
}

/* A piece that was sent from where it lies has the end of its chunk in the next bytes of out. */
static void end_chunk(struct response *r, struct strbuf *out)
{
    if (r->owes_crlf)
        ADD_LITERAL(out, "\r\n");
    r->owes_crlf = false;
}

static void add_chunk(struct gcorn_environ *env, struct strbuf *out, const char *piece, size_t n,
                      const char **data, size_t *len)
{
    struct response *r = &env->response;

    end_chunk(r, out);
    if (n == 0) {
        ADD_LITERAL(out, "0\r\n\r\n");
        return;
    }
    strbuf_addf(out, "%zx\r\n", n);
    add_piece(out, piece, n, data, len);
    if (*len == 0)
        ADD_LITERAL(out, "\r\n");
    else
        r->owes_crlf = true;
}

/* A longer body than promised would be read as the next answer, so it is cut; a shorter one cannot
 * be mended, only broken off. */
static size_t clip_counted(struct gcorn_environ *env, size_t n)
{
    struct response *r = &env->response;
    uint64_t left = r->body_max - r->body_len;

    if (n > left) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "the body is longer than its Content-Length of %llu: cut",
                    (unsigned long long)r->body_max);
        return (size_t)left;
    }
    if (n == 0 && left > 0) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "the body is %llu bytes shorter than its Content-Length: connection closed",
                    (unsigned long long)left);
        r->broken = true;
    }
    return n;
}

/* Adds one piece in its framing. True while more may follow. */
static bool add_body(struct gcorn_environ *env, struct strbuf *out, size_t n, const char **data,
                     size_t *len)
{
    struct response *r = &env->response;
    const char *piece = r->pulled;
    bool more = n > 0;

    switch (r->framing) {
    case FRAMING_NONE: return false;
    case FRAMING_CHUNKED: add_chunk(env, out, piece, n, data, len); break;
    case FRAMING_CLOSE: add_piece(out, piece, n, data, len); break;
    case FRAMING_COUNTED:
        if (r->body_max > 0 || n > 0)
            n = clip_counted(env, n);
        more = !r->broken && r->body_len + n < r->body_max;
        if (n > 0 && !piece) {
            r->file.left = n;
            more = true; /* until it has been sent */
        } else {
            add_piece(out, piece, n, data, len);
        }
        break;
    }
    r->body_len += n;
    return more;
}

bool response_next(struct gcorn_environ *env, struct strbuf *out, const char **data, size_t *len)
{
    struct response *r = &env->response;
    ssize_t n;
    bool more = false;

    *len = 0;
    if (r->phase == RESPONSE_OPEN)
        n = open_response(env, out);
    else
        n = pull(env);
    r->waits = n == GCORN_AGAIN;
    if (r->waits) {
        end_chunk(r, out); /* some clients take a chunk only when it is whole */
        return true;
    }
    if (n < 0) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "the application failed amid its body: connection closed");
        r->broken = true;
    } else {
        more = add_body(env, out, (size_t)n, data, len);
    }
    if (!more)
        r->phase = RESPONSE_ENDED;
    return more;
}
