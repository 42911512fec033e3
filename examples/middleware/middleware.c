/* SPDX-License-Identifier: MIT
 *
 * middleware - applications around an application: how long it took, gzip, and a checksum.
 *
 *   gcorn middleware.so:handler
 *   curl --compressed -i http://127.0.0.1:8000/
 *   curl -i -H 'TE: trailers' http://127.0.0.1:8000/numbers
 *
 * What it shows: a middleware is an application that calls another one, which it is given as a
 * third parameter; the handler at the end of this file names them, from the outside in. It gives
 * the inner application a start_response of its own (gcorn_start_wrap) to change status and fields,
 * and iterates over the inner body to change that (gcorn_body_next). Whatever the inner body is,
 * bytes, a file, a stream that waits, it is the same to it: GCORN_AGAIN is passed on like
 * everything else.
 *
 * A middleware may be nested in itself, as both are here, because all of its state is in one
 * structure of the request's memory that the closures get.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include <gcorn.h>

/* ---- timing: Server-Timing says how long it took until the answer began -------------------- */

struct timing {
    struct gcorn_environ *env;
    struct gcorn_start_response *outer;
    const char *name;
    uint64_t since;
};

static int start_timed(void *state, const char *status, const struct gcorn_header *headers)
{
    struct timing *t = state;
    const char *value =
        gcorn_printf(t->env, "%s;dur=%llu", t->name, (unsigned long long)(gcorn_now() - t->since));

    struct gcorn_header_list *list = gcorn_header_list_new(t->env, headers);

    gcorn_header_append(list, "Server-Timing", value);
    return gcorn_start(t->outer, status, gcorn_header_array(list));
}

static struct gcorn_body *timing(struct gcorn_environ *env, struct gcorn_start_response *start,
                                 const char *name, gcorn_app *inner)
{
    struct timing *t = gcorn_alloc(env, sizeof(*t));

    *t = (struct timing){env, start, name, gcorn_now()};
    return inner(env, gcorn_start_wrap(env, start_timed, t)); /* the body is none of its business */
}

/* ---- gzip ---------------------------------------------------------------------------------- */

struct gzip {
    struct gcorn_environ *env;
    struct gcorn_start_response *outer;
    struct gcorn_body *inner;
    bool accepts; /* the client does */
    bool encodes; /* as the inner application's last start_response has it */
    bool handed_over;
    bool ended;     /* the inner body */
    bool unflushed; /* zlib keeps something to itself */
    bool has_stream;
    int flush; /* what zlib is to do until its output no longer fills `out` */
    z_stream stream;
    unsigned char *out; /* OUT_SIZE bytes, once there is something to encode */
};

enum { OUT_SIZE = 16 * 1024 };

/* What is behind a coding's name: a weight of 0 means "not this one" (RFC 9110 12.4.2). */
static bool is_refused(const char *p)
{
    p += strspn(p, " \t;");
    if ((*p != 'q' && *p != 'Q') || p[1] != '=')
        return false;
    p += 2;
    return strspn(p, "0.") == strcspn(p, " \t;,");
}

/* Accept-Encoding: codings, each perhaps with a weight. */
static bool accepts_gzip(const char *list)
{
    while (list && *list != '\0') {
        list += strspn(list, " \t,");
        size_t len = strcspn(list, " \t;,");
        if (len == 4 && strncasecmp(list, "gzip", 4) == 0)
            return !is_refused(list + len);
        list += strcspn(list, ",");
    }
    return false;
}

/* An inner gzip, or the application, has encoded it; or there is no body to encode. */
static bool is_to_encode(const char *status, const struct gcorn_header *headers)
{
    return strncmp(status, "200", 3) == 0 && !gcorn_headers_get(headers, "Content-Encoding");
}

/* The same content in other bytes: no longer equal byte for byte, and no parts of it to be had. */
static void make_encoded(struct gcorn_environ *env, struct gcorn_header_list *list)
{
    const char *tag = gcorn_headers_get(gcorn_header_array(list), "ETag");

    if (tag && strncmp(tag, "W/", 2) != 0)
        gcorn_header_set(list, "ETag", gcorn_printf(env, "W/%s", tag));
    gcorn_header_remove(list, "Accept-Ranges");
    gcorn_header_remove(list, "Content-Length");
    gcorn_header_set(list, "Content-Encoding", "gzip");
}

static int start_gzip(void *state, const char *status, const struct gcorn_header *headers)
{
    struct gzip *g = state;
    bool could = is_to_encode(status, headers);
    const char *vary = gcorn_headers_get(headers, "Vary");
    struct gcorn_header_list *list = gcorn_header_list_new(g->env, headers);

    if (could && (!vary || !strstr(vary, "Accept-Encoding"))) /* a cache must keep both apart */
        gcorn_header_append(list, "Vary", "Accept-Encoding");
    if (!g->handed_over)
        g->encodes = g->accepts && could;
    if (g->encodes)
        make_encoded(g->env, list);
    return gcorn_start(g->outer, status, gcorn_header_array(list));
}

/* What zlib has ready, of what it was given. */
static ssize_t deflate_some(struct gzip *g, const void **chunk)
{
    g->stream.next_out = g->out;
    g->stream.avail_out = OUT_SIZE;
    if (deflate(&g->stream, g->flush) == Z_STREAM_ERROR)
        return -1;
    *chunk = g->out;
    return (ssize_t)(OUT_SIZE - g->stream.avail_out);
}

static bool has_more(const struct gzip *g)
{
    return g->has_stream && (g->ended || g->stream.avail_in > 0 || g->stream.avail_out == 0);
}

/* Gives zlib the inner body's chunk, or its end. */
static int feed(struct gzip *g, const void *data, size_t len)
{
    if (len > UINT_MAX)
        return -1; /* more than zlib takes at once */
    if (!g->out)
        g->out = gcorn_alloc(g->env, OUT_SIZE);
    if (!g->has_stream &&
        deflateInit2(&g->stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -1;
    g->has_stream = true;
    g->ended = len == 0;
    g->unflushed = true;
    g->flush = g->ended ? Z_FINISH : Z_NO_FLUSH;
    g->stream.next_in = (Bytef *)(uintptr_t)data;
    g->stream.avail_in = (uInt)len;
    return 0;
}

static ssize_t next_gzip(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct gzip *g = state;
    const void *data;

    (void)env;
    for (;;) {
        ssize_t n = has_more(g) ? deflate_some(g, chunk) : 0;
        if (n != 0 || g->ended)
            return n;
        n = gcorn_body_next(g->inner, &data);
        if (n == GCORN_AGAIN && g->unflushed) {
            g->unflushed = false; /* an event leaves when it comes, not when the next one does */
            g->flush = Z_SYNC_FLUSH;
            return deflate_some(g, chunk);
        }
        if (n < 0)
            return n; /* failed, or GCORN_AGAIN */
        g->handed_over = true;
        if (!g->encodes) {
            *chunk = data;
            return n;
        }
        if (feed(g, data, (size_t)n) < 0)
            return -1;
    }
}

/* However the answer ends. The inner body is closed too: who iterates over it owns it. */
static void close_gzip(struct gcorn_environ *env, void *state)
{
    struct gzip *g = state;

    (void)env;
    if (g->has_stream)
        deflateEnd(&g->stream);
    gcorn_body_close(g->inner);
}

static struct gcorn_body *gzip(struct gcorn_environ *env, struct gcorn_start_response *start,
                               gcorn_app *inner)
{
    struct gzip *g = gcorn_alloc(env, sizeof(*g));
    g->env = env;
    g->outer = start;
    g->accepts = accepts_gzip(gcorn_get(env, "HTTP_ACCEPT_ENCODING"));
    g->encodes = g->accepts; /* until the inner application has started */
    g->inner = inner(env, gcorn_start_wrap(env, start_gzip, g));
    if (!g->inner || !g->encodes)
        return g->inner; /* untouched, sendfile and all */
    return gcorn_body_iter(env, next_gzip, close_gzip, g);
}

/* ---- checksum: of the bytes that were sent, in a trailer ------------------------------------ */

struct checksum {
    struct gcorn_start_response *outer;
    struct gcorn_environ *env;
    struct gcorn_body *inner;
    uLong crc;
};

/* A body whose length is told before has no trailers. */
static int start_checksum(void *state, const char *status, const struct gcorn_header *headers)
{
    struct checksum *c = state;
    struct gcorn_header_list *list = gcorn_header_list_new(c->env, headers);

    gcorn_header_remove(list, "Content-Length");
    return gcorn_start(c->outer, status, gcorn_header_array(list));
}

static ssize_t next_checksum(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct checksum *c = state;
    ssize_t n = gcorn_body_next(c->inner, chunk);

    if (n > 0)
        c->crc = crc32_z(c->crc, *chunk, (size_t)n);
    if (n == 0)
        gcorn_trailer(env, "X-CRC32", gcorn_printf(env, "%08lx", c->crc));
    return n;
}

static void close_checksum(struct gcorn_environ *env, void *state)
{
    struct checksum *c = state;

    (void)env;
    gcorn_body_close(c->inner);
}

/* Around a body only where the client asks for trailers: others keep their Content-Length. */
static struct gcorn_body *checksum(struct gcorn_environ *env, struct gcorn_start_response *start,
                                   gcorn_app *inner)
{
    const char *te = gcorn_get(env, "HTTP_TE");

    if (!te || !strstr(te, "trailers"))
        return inner(env, start);
    struct checksum *c = gcorn_alloc(env, sizeof(*c));
    c->env = env;
    c->outer = start;
    c->inner = inner(env, gcorn_start_wrap(env, start_checksum, c));
    return c->inner ? gcorn_body_iter(env, next_checksum, close_checksum, c) : NULL;
}

/* ---- the application, and what is around it -------------------------------------------------- */

struct numbers {
    int last;
    char line[16];
};

static ssize_t next_number(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct numbers *n = state;

    (void)env;
    if (n->last == 10000)
        return 0;
    *chunk = n->line;
    return sprintf(n->line, "%d\n", ++n->last);
}

static struct gcorn_body *application(struct gcorn_environ *env,
                                      struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, strcmp(path, "/nothing") == 0 ? "404 Not Found" : "200 OK",
                headers);
    if (strcmp(path, "/numbers") == 0)
        return gcorn_body_iter(env, next_number, NULL, gcorn_alloc(env, sizeof(struct numbers)));
    return gcorn_body_text(env, "the same text, the same text, the same text, the same text\n");
}

static struct gcorn_body *inner_gzip(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    return gzip(env, start, application);
}

static struct gcorn_body *inner_timing(struct gcorn_environ *env,
                                       struct gcorn_start_response *start)
{
    return timing(env, start, "application", inner_gzip);
}

static struct gcorn_body *outer_gzip(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    return gzip(env, start, inner_timing);
}

static struct gcorn_body *checked(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    return checksum(env, start, outer_gzip);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    return timing(env, start_response, "all", checked);
}
