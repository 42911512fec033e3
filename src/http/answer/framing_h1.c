/* SPDX-License-Identifier: MIT
 *
 * See framing_h1.h. The head is put together when the first piece of the body is at hand, and kept:
 * the next answer with the same status, fields, length and Date copies it.
 */
#include "http/answer/framing_h1.h"

#include <assert.h>
#include <string.h>

#include "base/ascii.h"
#include "http/environ.h"

/* A piece up to this length is copied after the head, so that pipelined answers gather in one
 * write; a longer one costs less where it lies. */
enum { COPY_MAX = 16 * 1024 };

/* ---- the head ---------------------------------------------------------------------------- */

/* RFC 9112 6.1 and 6.3. */
static void choose_framing(struct gcorn_environ *env)
{
    const struct response *r = &env->response;
    struct framing_h1 *h1 = &env->h1;

    if (!r->sends_body) {
        h1->framing = FRAMING_NONE;
    } else if (r->content_length >= 0) {
        h1->framing = FRAMING_COUNTED;
    } else if (env->request.minor_version > 0) {
        h1->framing = FRAMING_CHUNKED;
    } else {
        h1->framing = FRAMING_CLOSE;
        h1->close = true;
    }
}

/* Date and Server that the application did not give, after the end of the status line. */
static char *put_common(const struct gcorn_environ *env, char *p)
{
    const struct http_context *c = env->context;
    const struct start_cache *start = &env->response.start_cache;

    if (!start->has_date && !start->has_server) {
        memcpy(p, c->common_fields, sizeof(c->common_fields)); /* of a fixed size: in a few moves */
        return p + c->common_fields_len;
    }
    const char *date = strstr(c->common_fields, "Date:");
    size_t server_len = (size_t)(date - c->common_fields);
    p = strbuf_put(p, c->common_fields, start->has_server ? 2 : server_len);
    return start->has_date ? p : strbuf_put(p, date, c->common_fields_len - server_len);
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

/* Trailer names those that are known by now (RFC 9110 6.6.2), each once. */
static void announce_trailers(struct strbuf *out, const struct trailer *trailer)
{
    strbuf_addf(out, "Trailer: %s", trailer->name);
    while ((trailer = trailer->next)) {
        if (!trailer->is_repeated)
            strbuf_addf(out, ", %s", trailer->name);
    }
    strbuf_addf(out, "\r\n");
}

/* The most that the server adds before the application's fields, and after them. */
enum { HEAD_OWN_MAX = 160 };

static void render_head(struct gcorn_environ *env, struct strbuf *out)
{
    struct response *r = &env->response;
    const struct start_cache *start = &r->start_cache;

    char *p = strbuf_grow(out, HEAD_OWN_MAX + start->text.len + HEAD_OWN_MAX);
    /* the version is the highest that the server speaks, whatever the client's (RFC 9110 2.5) */
    p = STRBUF_PUT_LITERAL(p, "HTTP/1.1 ");
    p = strbuf_put(p, start->text.data, start->status_len);
    if (start->status_len == 3)
        *p++ = ' ';
    p = put_common(env, p);
    if (env->h1.close)
        p = STRBUF_PUT_LITERAL(p, "Connection: close\r\n");
    else if (env->request.minor_version == 0)
        p = STRBUF_PUT_LITERAL(p, "Connection: keep-alive\r\n");
    if (env->context->id_field) {
        strbuf_set_end(out, p);
        render_request_id(env, out);
        p = strbuf_grow(out, r->fields_len + HEAD_OWN_MAX);
    }
    p = strbuf_put(p, r->fields, r->fields_len);
    if (env->h1.framing == FRAMING_CHUNKED && r->trailers) {
        strbuf_set_end(out, p);
        announce_trailers(out, r->trailers);
        p = strbuf_grow(out, HEAD_OWN_MAX);
    }
    if (env->h1.framing == FRAMING_CHUNKED) {
        p = STRBUF_PUT_LITERAL(p, "Transfer-Encoding: chunked\r\n");
    } else if (r->content_length >= 0) {
        p = STRBUF_PUT_LITERAL(p, "Content-Length: ");
        p = put_decimal(p, (uint64_t)r->content_length);
        p = STRBUF_PUT_LITERAL(p, "\r\n");
    }
    p = STRBUF_PUT_LITERAL(p, "\r\n");
    strbuf_set_end(out, p);
}

/* Does the head depend only on what the application said, the second and the framing? */
static bool head_is_ordinary(const struct gcorn_environ *env)
{
    return !env->h1.close && env->request.minor_version > 0 && !env->context->id_field;
}

static bool head_is_kept(const struct gcorn_environ *env)
{
    const struct h1_head *kept = &env->h1.kept;

    return kept->serial == env->response.start_cache.serial && kept->date == env->context->date &&
           kept->content_length == env->response.content_length && kept->framing == env->h1.framing;
}

static void keep_head(struct gcorn_environ *env, const char *head, size_t len)
{
    struct h1_head *kept = &env->h1.kept;

    kept->serial = 0;
    if (len > sizeof(kept->text) || env->response.trailers)
        return;
    kept->serial = env->response.start_cache.serial;
    kept->date = env->context->date;
    kept->content_length = env->response.content_length;
    kept->framing = env->h1.framing;
    kept->len = len;
    assert(len <= sizeof(kept->text));
    memcpy(kept->text, head, len);
}

void framing_h1_interims(struct gcorn_environ *env, struct strbuf *out)
{
    const struct interim *interim = env->response.interims;

    for (; interim; interim = interim->next)
        strbuf_addf(out, "HTTP/1.1 %s%s\r\n%.*s\r\n", interim->status,
                    interim->status_len == 3 ? " " : "", (int)interim->fields_len, interim->fields);
    env->response.interims = NULL;
}

/* Not one that is kept. */
static void add_new_head(struct gcorn_environ *env, struct strbuf *out)
{
    if (env->response.interims)
        framing_h1_interims(env, out);
    size_t before = out->len;
    render_head(env, out);
    if (head_is_ordinary(env))
        keep_head(env, out->data + before, out->len - before);
}

/* Appends the head: a copy of the last one, where it is the same. */
static inline void __attribute__((always_inline))
add_head(struct gcorn_environ *env, struct strbuf *out)
{
    choose_framing(env);
    if (head_is_ordinary(env) && head_is_kept(env))
        strbuf_add(out, env->h1.kept.text, env->h1.kept.len);
    else
        add_new_head(env, out);
}

/* ---- the body ---------------------------------------------------------------------------- */

static void add_piece(struct strbuf *out, const struct response *r, const char **data, size_t *len)
{
    if (r->piece_len <= COPY_MAX) {
        strbuf_add(out, r->piece, r->piece_len);
    } else {
        *data = r->piece;
        *len = r->piece_len;
    }
}

/* A piece that was sent from where it lies has the end of its chunk in the next bytes of out. */
static void end_chunk(struct framing_h1 *h1, struct strbuf *out)
{
    if (h1->owes_crlf)
        ADD_LITERAL(out, "\r\n");
    h1->owes_crlf = false;
}

enum { CHUNK_SIZE_MAX = 2 * sizeof(size_t) + 2 }; /* a size line has */

static char *put_chunk_size(char *p, size_t size)
{
    int shift = 0;

    while (shift + 4 < 64 && size >> (shift + 4) != 0)
        shift += 4;
    for (; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[size >> shift & 0xf];
    return STRBUF_PUT_LITERAL(p, "\r\n");
}

static void end_chunks(const struct response *r, struct strbuf *out)
{
    strbuf_addf(out, "0\r\n");
    for (const struct trailer *t = r->trailers; t; t = t->next)
        strbuf_addf(out, "%s: %s\r\n", t->name, t->value);
    strbuf_addf(out, "\r\n");
}

/* The piece as one chunk; without bytes it is the last one, and trailers follow. */
static void add_chunk(struct gcorn_environ *env, struct strbuf *out, const char **data, size_t *len)
{
    const struct response *r = &env->response;

    assert(r->piece || r->piece_len == 0); /* a file's length is known, and so counted */
    end_chunk(&env->h1, out);
    if (r->piece_len == 0) {
        end_chunks(r, out);
        return;
    }
    strbuf_set_end(out, put_chunk_size(strbuf_grow(out, CHUNK_SIZE_MAX), r->piece_len));
    add_piece(out, r, data, len);
    if (*len == 0)
        ADD_LITERAL(out, "\r\n");
    else
        env->h1.owes_crlf = true;
}

bool framing_h1_next(struct gcorn_environ *env, struct strbuf *out, const char **data, size_t *len)
{
    const struct response *r = &env->response;
    bool has_head = r->phase != RESPONSE_OPEN;
    bool more = response_next(env);

    *len = 0;
    if (r->waits) {
        end_chunk(&env->h1, out); /* some clients take a chunk only when it is whole */
        return true;
    }
    if (!has_head)
        add_head(env, out);
    if (env->h1.framing == FRAMING_CHUNKED && !r->broken)
        add_chunk(env, out, data, len);
    else if (r->piece_len > 0 && r->piece) /* else the bytes are in a file */
        add_piece(out, r, data, len);
    return more;
}

static void add_push(const struct gcorn_environ *env, struct strbuf *out, const void *data,
                     size_t len)
{
    bool is_chunk = env->h1.framing == FRAMING_CHUNKED;
    char *p = strbuf_grow(out, CHUNK_SIZE_MAX + len + 2);

    if (is_chunk)
        p = put_chunk_size(p, len);
    p = strbuf_put(p, data, len);
    if (is_chunk)
        p = STRBUF_PUT_LITERAL(p, "\r\n");
    strbuf_set_end(out, p);
}

bool framing_h1_push(struct gcorn_environ *env, struct strbuf *out, const void *data, size_t len)
{
    bool has_head = env->response.phase != RESPONSE_OPEN;
    size_t sent = response_push(env, len);

    if (!has_head) {
        choose_framing(env);
        add_new_head(env, out); /* add_head stays part of its one caller, which is faster */
    }
    if (sent > 0)
        add_push(env, out, data, sent);
    return sent == len || !env->response.sends_body;
}
