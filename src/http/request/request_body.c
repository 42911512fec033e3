/* SPDX-License-Identifier: MIT
 *
 * See request_body.h. A counted body goes to the spool as it is. In a chunked one llhttp decides,
 * and gets sizes, data and trailers; extensions are checked and left out before (chunk.h).
 */
#include "http/request/request_body.h"

#include <assert.h>
#include <errno.h>
#include <llhttp.h>
#include <string.h>

#include "base/arena.h"
#include "base/ascii.h"
#include "http/request/request.h"
#include "http/request/trailers.h"

static uint64_t limit_of_all(const struct request *r)
{
    return r->limits->body_max > 0 ? r->limits->body_max : UINT64_MAX;
}

static void refuse_large(struct request *r)
{
    request_refuse(r, 413,
                   r->body_max == limit_of_all(r)
                       ? "the body is larger than limit_request_body"
                       : "the body is larger than the application allows for this request");
}

void request_body_begin(struct request *r, const struct llhttp__internal_s *parser)
{
    r->body_left = parser->content_length;
    if (!r->chunked && r->body_left == 0) {
        r->state = REQUEST_DONE;
        return;
    }
    r->body_max = limit_of_all(r);
    if (r->limits->takes_no_body) {
        request_refuse(r, 413, "no request body is taken here");
        return;
    }
    if (r->chunked) {
        r->body_parser = arena_alloc(r->arena, sizeof(*parser));
        *r->body_parser = *parser;
        r->body_parser->data = r;
        chunk_line_init(&r->chunk);
    }
    r->state = REQUEST_HELD;
    if (!r->limits->holds_body)
        request_go_on(r);
}

void request_go_on(struct request *r)
{
    assert(r->state == REQUEST_HELD);
    if (r->chunked)
        r->state = REQUEST_CHUNKS;
    else if (r->body_left > r->body_max)
        refuse_large(r);
    else
        r->state = REQUEST_COUNTED;
    if (!r->ahead)
        spool_expect(&r->body, r->body_left); /* 0, unknown, of a chunked one */
}

static void refuse_body(struct request *r)
{
    request_refuse(r, 507, errno == ENOBUFS ? "tmp_upload_max is reached" : ascii_error(errno));
}

static int add_to_body(struct request *r, const char *data, size_t len)
{
    if (r->ahead) {
        body_ahead_add(r->ahead, data, len);
        return 0;
    }
    if (spool_append(&r->body, data, len) == 0)
        return 0;
    refuse_body(r);
    return -1;
}

static void end_body(struct request *r)
{
    if (spool_finish(&r->body) == 0)
        r->state = REQUEST_DONE;
    else
        refuse_body(r);
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
    return add_to_body(parser->data, at, len);
}

static int on_message_complete(llhttp_t *parser)
{
    end_body(parser->data);
    return 0;
}

static const llhttp_settings_t body_settings = {
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

static void feed_parser(struct request *r, const char *data, size_t len)
{
    llhttp_t *parser = r->body_parser;

    parser->settings = (void *)(uintptr_t)&body_settings; /* llhttp keeps its const settings so */
    llhttp_errno_t error = llhttp_execute(parser, data, len);
    if (error != HPE_OK && r->state != REQUEST_REFUSED)
        request_refuse(r, 400, llhttp_get_error_reason(parser));
}

static size_t feed_counted(struct request *r, const char *data, size_t len)
{
    size_t n = len < r->body_left ? len : (size_t)r->body_left;

    r->body_left -= n;
    if (add_to_body(r, data, n) == 0 && r->body_left == 0)
        end_body(r);
    return n;
}

/* A size line is complete: hand llhttp the size alone. */
static void begin_chunk(struct request *r)
{
    char line[CHUNK_DIGITS_MAX + 2];

    if (r->chunk.size > UINT64_MAX - 2 - request_body_len(r) ||
        request_body_len(r) + r->chunk.size > r->body_max) {
        refuse_large(r);
        return;
    }
    assert(r->chunk.digits > 0 && r->chunk.digits <= CHUNK_DIGITS_MAX);
    memcpy(line, r->chunk.hex, r->chunk.digits);
    memcpy(line + r->chunk.digits, "\r\n", 2);
    feed_parser(r, line, (size_t)r->chunk.digits + 2);
    r->body_left = r->chunk.size + 2;
    if (r->chunk.size == 0 && r->state != REQUEST_REFUSED) {
        r->state = REQUEST_TRAILERS;
        scan_init(&r->scan, true);
    }
}

static size_t __attribute__((noinline)) feed_chunks(struct request *r, const char *data, size_t len)
{
    const char *reason;
    size_t n;

    if (r->body_left > 0) {
        n = len < r->body_left ? len : (size_t)r->body_left;
        r->body_left -= n;
        feed_parser(r, data, n);
        if (r->body_left == 0)
            chunk_line_next(&r->chunk);
        return n;
    }
    int status = chunk_line_feed(&r->chunk, r->limits->chunk_ext_max, data, len, &n, &reason);
    if (status != 0)
        request_refuse(r, status, reason);
    else if (r->chunk.place == CHUNK_LINE_END)
        begin_chunk(r);
    return n;
}

/* The trailer section is there whole, and the bytes of a caller's buffer are copied: the request
 * keeps them. */
static void end_trailers(struct request *r, const char *data, size_t len)
{
    char *text = r->trailers.data;

    if (r->trailers.len == 0)
        text = arena_strndup(r->arena, data, len);
    else
        len = r->trailers.len;
    if (trailers_read(r, text, len) < 0)
        return;
    feed_parser(r, text, len);
    if (r->state == REQUEST_TRAILERS)
        request_refuse(r, 400, "invalid trailers");
}

/* Trailers are checked like the head, but never merged into the environ: they would let a client
 * add fields after every check (RFC 9110 6.5.1). llhttp gets them in one piece too: were it asked
 * sooner, what it refuses and what scan_head refuses would come in the order of the cuts. */
static size_t __attribute__((noinline))
feed_trailers(struct request *r, const char *data, size_t len)
{
    const char *reason;
    size_t used;
    int status = scan_head(&r->scan, &r->limits->head, data, len, &used, &reason);

    if (status != 0) {
        request_refuse(r, status, reason);
        return used;
    }
    if (r->scan.place != SCAN_END || r->trailers.len > 0)
        strbuf_add(&r->trailers, data, used);
    if (r->scan.place == SCAN_END && r->scan.lines == 0)
        feed_parser(r, "\r\n", 2);
    else if (r->scan.place == SCAN_END)
        end_trailers(r, data, used);
    return used;
}

char *request_body_room(struct request *r, size_t *size)
{
    uint64_t left = r->body_left;

    if (r->state == REQUEST_CHUNKS)
        left = left > 2 ? left - 2 : 0; /* without the chunk's CRLF */
    else if (r->state != REQUEST_COUNTED)
        return NULL;
    return spool_room(&r->body, left, size);
}

size_t request_body_feed(struct request *r, const char *data, size_t len)
{
    switch (r->state) {
    case REQUEST_COUNTED: return feed_counted(r, data, len);
    case REQUEST_CHUNKS: return feed_chunks(r, data, len);
    default: break;
    }
    assert(r->state == REQUEST_TRAILERS);
    return feed_trailers(r, data, len);
}
