/* SPDX-License-Identifier: MIT
 *
 * See request.h. The order of a head's life:
 *
 *   collect_head   the bytes are scanned as they come, and copied into one piece; the request line
 *                  is judged as soon as it ends
 *   parse_head     the request line's form and llhttp's word on it; where names and values lie,
 *                  and llhttp's word on those that frame the body
 *   check_*        what llhttp lets through or cannot know: counts, Host, target, codings, limits
 *
 * llhttp runs strict, with no lenient flag, and is given what it decides: the request line, the
 * fields that frame the body, and later chunks and trailers. Of another field it would say no more
 * than that its name is a token and that no control byte stands in its value, which the scan has
 * made sure of; and what to do about the connection it is not asked, for it misses some tokens.
 */
#include "http/request/request.h"

#include <assert.h>
#include <errno.h>
#include <llhttp.h>
#include <stddef.h>
#include <string.h>

#include "base/ascii.h"
#include "base/util.h"
#include "http/request/syntax.h"

enum { HEAD_FIRST_SIZE = 1024 };

static void __attribute__((noinline)) refuse(struct request *r, int status, const char *reason)
{
    r->state = REQUEST_REFUSED;
    r->refusal = status;
    r->refusal_reason = reason;
}

static inline int refused(const struct request *r)
{
    return r->state == REQUEST_REFUSED ? -1 : 0;
}

void request_init(struct request *r, const struct request_limits *limits, struct arena *arena)
{
    memset(r, 0, offsetof(struct request, scan)); /* what follows has inits of its own, or stays */
    r->limits = limits;
    r->arena = arena;
    scan_init(&r->scan, false);
    chunk_line_init(&r->chunk);
    strbuf_init(&r->trailers);
    spool_init(&r->body, limits->body_mem_max, limits->body_dir, limits->body_budget);
}

void request_release(struct request *r)
{
    if (r->trailers.data)
        strbuf_release(&r->trailers);
    spool_release(&r->body);
}

/* ---- rules for the head ------------------------------------------------------------------ */

/* Connection is a list of tokens (RFC 9110 7.6.1); the version gives the default (RFC 9112 9.3). */
static void read_connection(struct request *r, const struct field *f)
{
    const char *list = f->value, *token;
    size_t len = f->value_len, token_len;

    while (syntax_next_element(&list, &len, &token, &token_len)) {
        if (token_len == 5 && syntax_is(token, 5, "close"))
            r->asks_close = true;
        else if (token_len == 10 && syntax_is(token, 10, "keep-alive"))
            r->keep_alive = true;
    }
}

/* Only chunked, only once, only in 1.1: how the body ends must not be open to interpretation
 * (RFC 9112 6.1, 6.3). */
static void check_transfer_encoding(struct request *r, const struct field *f)
{
    const char *list = f->value, *coding;
    size_t len = f->value_len, coding_len;
    size_t codings = 0;
    bool other = false, ends_chunked = false;

    while (syntax_next_element(&list, &len, &coding, &coding_len)) {
        codings++;
        ends_chunked = coding_len == 7 && syntax_is(coding, 7, "chunked");
        other |= !ends_chunked;
    }
    if (r->minor_version == 0)
        refuse(r, 400, "Transfer-Encoding in an HTTP/1.0 request");
    else if (r->seen[FIELD_CONTENT_LENGTH] > 0)
        refuse(r, 400, "both Transfer-Encoding and Content-Length");
    else if (codings == 0 || r->seen[FIELD_TRANSFER_ENCODING] > 1)
        refuse(r, 400, "an empty or repeated Transfer-Encoding");
    else if (!ends_chunked)
        refuse(r, 400, "a Transfer-Encoding that does not end in chunked");
    else if (other)
        refuse(r, 501, "a transfer coding other than chunked");
    else if (codings > 1)
        refuse(r, 400, "chunked applied more than once");
    else
        r->chunked = true;
}

/* RFC 9110 10.1.1: a list in which one expectation exists; a 1.0 client cannot mean it. */
static void check_expect(struct request *r, const struct field *f)
{
    const char *list = f->value, *expectation;
    size_t len = f->value_len, expectation_len;

    if (r->minor_version == 0)
        return;
    while (syntax_next_element(&list, &len, &expectation, &expectation_len)) {
        if (expectation_len == 12 && syntax_is(expectation, 12, "100-continue"))
            r->expects_continue = true;
        else
            refuse(r, 417, "an expectation other than 100-continue");
    }
}

static bool host_is_valid(struct request *r, const struct field *f)
{
    if (f->value_len == r->known_host_len && memcmp(f->value, r->known_host, f->value_len) == 0)
        return true; /* also an empty one */
    if (!syntax_is_authority(f->value, f->value_len, true))
        return false;
    if (f->value_len <= sizeof(r->known_host)) {
        memcpy(r->known_host, f->value, f->value_len);
        r->known_host_len = f->value_len;
    }
    return true;
}

/* What one field says, or may not say. Transfer-Encoding has to wait until all are there. */
static int check_field(struct request *r, const struct field *f)
{
    switch (f->id) {
    case FIELD_HOST:
        if (!host_is_valid(r, f))
            refuse(r, 400, "an invalid Host");
        break;
    case FIELD_CONNECTION: read_connection(r, f); break;
    case FIELD_EXPECT: check_expect(r, f); break;
    default: break;
    }
    return refused(r);
}

static const struct field *first_of(const struct request *r, enum field_id id)
{
    const struct field *f = r->fields;

    while (f->id != id)
        f++;
    return f;
}

/* What all of them say together. */
static int check_fields(struct request *r)
{
    if (r->seen[FIELD_HOST] > 1)
        refuse(r, 400, "more than one Host");
    else if (r->seen[FIELD_CONTENT_LENGTH] > 1)
        refuse(r, 400, "more than one Content-Length");
    else if (r->seen[FIELD_CONTENT_TYPE] > 1)
        refuse(r, 400, "more than one Content-Type");
    else if (r->seen[FIELD_HOST] == 0 && r->minor_version > 0)
        refuse(r, 400, "no Host");
    else if (r->seen[FIELD_TRANSFER_ENCODING] > 0)
        check_transfer_encoding(r, first_of(r, FIELD_TRANSFER_ENCODING));
    if (r->asks_close)
        r->keep_alive = false;
    return refused(r);
}

/* Splits path?query; the target has no fragment (RFC 9112 3.2). */
static void split_path(struct request *r, char *p, size_t len)
{
    if (r->target_is_plain) {
        r->path = (struct span){p, len};
        r->query = (struct span){p, 0};
        return;
    }
    char *question = memchr(p, '?', len);
    size_t path_len = question ? (size_t)(question - p) : len;

    r->path = (struct span){p, path_len};
    r->query = question ? (struct span){question + 1, len - path_len - 1} : (struct span){p, 0};
    if (memchr(p, '#', len))
        refuse(r, 400, "a fragment in the request target");
    else if (!syntax_escapes_ok(p, path_len))
        refuse(r, 400, "an invalid percent escape in the path");
}

/* http://authority/path?query. */
static void check_absolute_target(struct request *r)
{
    static char root[] = "/";
    char *p = r->target.p;
    size_t len = r->target.len;
    size_t scheme = len > 7 && syntax_is(p, 7, "http://")    ? 7
                    : len > 8 && syntax_is(p, 8, "https://") ? 8
                                                             : 0;

    if (scheme == 0) {
        refuse(r, 400, "a request target that is neither a path nor an http URI");
        return;
    }
    size_t end = scheme;
    while (end < len && p[end] != '/' && p[end] != '?' && p[end] != '#')
        end++;
    r->authority = (struct span){p + scheme, end - scheme};
    if (!syntax_is_authority(p + scheme, end - scheme, false)) {
        refuse(r, 400, "an invalid authority in the request target");
        return;
    }
    /* RFC 9110 7.4: only a trusted proxy can have received it as https; here there is no TLS */
    if (scheme == 8 && r->rules && !(r->trust & (FORWARDED_SCHEME | FORWARDED_SECURE))) {
        refuse(r, 421, "an https URI over a connection that is not secure");
        return;
    }
    split_path(r, p + end, len - end);
    if (r->path.len == 0)
        r->path = (struct span){root, 1};
}

/* The four forms of RFC 9112 3.2. */
static int check_target(struct request *r, int method)
{
    if (method == HTTP_CONNECT) {
        refuse(r, 501, "CONNECT asks for a tunnel, which an origin server does not give");
    } else if (r->target.p[0] == '/') {
        split_path(r, r->target.p, r->target.len);
    } else if (r->target.len == 1 && r->target.p[0] == '*') {
        r->path = r->target;
        r->query = (struct span){r->target.p, 0};
        if (method != HTTP_OPTIONS)
            refuse(r, 400, "the request target * with a method other than OPTIONS");
    } else {
        check_absolute_target(r);
    }
    return refused(r);
}

/* ---- the head ---------------------------------------------------------------------------- */

static const llhttp_settings_t no_callbacks; /* its state says it all */

/* A line that is not a request line. Its first word tells two protocols that a client or a proxy
 * may be set to by mistake. */
static int __attribute__((noinline)) refuse_line(struct request *r, int status, const char *reason)
{
    static const char http2[] = "PRI * HTTP/2.0", proxy[] = "PROXY ";
    const struct span *line = &r->line;

    if (line->len == sizeof(http2) - 1 && memcmp(line->p, http2, line->len) == 0)
        r->foreign = FOREIGN_HTTP2;
    else if (line->len >= sizeof(proxy) - 1 && memcmp(line->p, proxy, sizeof(proxy) - 1) == 0)
        r->foreign = FOREIGN_PROXY;
    refuse(r, status, reason);
    return -1;
}

/* method SP target SP HTTP/1.x, single blanks. llhttp would take other versions, other protocols
 * and none at all. A minor version above 1 is treated as 1 (RFC 9110 2.5), which is written into
 * the head, because llhttp 8 refuses it. */
static int check_request_line(struct request *r, size_t len)
{
    char *line = r->line.p, *end = line + len;
    size_t method_len = syntax_token_end(line);

    r->minor_version = 1;
    r->keep_alive = true;
    if (method_len == 0 || line[method_len] != ' ')
        return refuse_line(r, 400, scan_no_method);
    r->method_len = (unsigned char)method_len; /* a longer one: read_other_method */
    char *target = line + method_len + 1;
    char *mark = target + syntax_find_mark(target, (size_t)(end - target));
    char *target_end = mark < end && *mark == ' ' ? mark : memchr(mark, ' ', (size_t)(end - mark));
    if (!target_end || target_end == target)
        return refuse_line(r, 400,
                           "the request line is not method, target and version with single blanks");
    r->target = (struct span){target, (size_t)(target_end - target)};
    r->target_is_plain = mark == target_end;
    char *version = target_end + 1;
    if (end - version == 8 && memcmp(version, "HTTP/1.1", 8) == 0)
        return 0;
    if (end - version != 8 || memcmp(version, "HTTP/", 5) != 0 || version[5] < '0' ||
        version[5] > '9' || version[6] != '.' || version[7] < '0' || version[7] > '9')
        return refuse_line(r, 400, "the request line does not end in an HTTP version");
    if (version[5] != '1')
        return refuse_line(r, 505, "an HTTP version other than 1.0 and 1.1");
    r->minor_version = version[7] == '0' ? 0 : 1;
    version[7] = (char)('0' + r->minor_version);
    r->keep_alive = r->minor_version == 1;
    return 0;
}

static int refuse_as_llhttp(struct request *r, const llhttp_t *parser)
{
    refuse(r, 400, llhttp_get_error_reason(parser));
    return -1;
}

static int feed_llhttp(struct request *r, llhttp_t *parser, const char *data, size_t len)
{
    return llhttp_execute(parser, data, len) == HPE_OK ? 0 : refuse_as_llhttp(r, parser);
}

/* llhttp has refused the request line, or would refuse what comes behind its method. A method is
 * any token (RFC 9110 9.1), and the application says which it knows, but llhttp has a list of them:
 * so it judges the line once more, with a method that it knows in the place of this one. */
static int __attribute__((noinline)) read_other_method(struct request *r, llhttp_t *parser)
{
    static const char known[] = "POST";
    size_t len = (size_t)(r->target.p - r->line.p) - 1;
    char *method;

    if (len > METHOD_MAX) {
        refuse(r, 501, "a method of more than 32 bytes");
        return -1;
    }
    method = arena_alloc(r->arena, len + 1);
    memcpy(method, r->line.p, len);
    method[len] = '\0';
    r->method = method;
    if (strcmp(method, "CONNECT") == 0) /* with a target that no tunnel has */
        return check_target(r, HTTP_CONNECT);
    llhttp_init(parser, HTTP_REQUEST, &no_callbacks);
    if (feed_llhttp(r, parser, known, sizeof(known) - 1) < 0 ||
        feed_llhttp(r, parser, r->line.p + len, r->line.len + 2 - len) < 0)
        return -1;
    return check_target(r, HTTP_POST);
}

static int read_request_line(struct request *r, llhttp_t *parser)
{
    r->line.p = r->head; /* it may have moved since its line came */
    if (check_request_line(r, r->line.len) < 0)
        return -1;
    /* behind PRI it would take nothing but the preface of HTTP/2 */
    if (llhttp_execute(parser, r->head, r->line.len + 2) != HPE_OK || parser->method == HTTP_PRI)
        return read_other_method(r, parser);
    r->method = llhttp_method_name((llhttp_method_t)parser->method);
    return check_target(r, parser->method);
}

static void begin_body(struct request *r, const llhttp_t *parser)
{
    const uint64_t max = r->limits->body_max;

    r->body_left = parser->content_length;
    if (!r->chunked && r->body_left == 0) {
        r->state = REQUEST_DONE;
    } else if (r->limits->takes_no_body) {
        refuse(r, 413, "no request body is taken here");
    } else if (r->chunked) {
        r->body_parser = arena_alloc(r->arena, sizeof(*parser));
        *r->body_parser = *parser;
        r->body_parser->data = r;
        chunk_line_init(&r->chunk);
        r->state = REQUEST_CHUNKS;
    } else if (max > 0 && r->body_left > max) {
        refuse(r, 413, "the body is larger than limit_request_body");
    } else {
        r->state = REQUEST_COUNTED;
    }
}

/* Writes what is white space to RFC 9110, and what is nothing in a list (5.6.1.2), as the blanks
 * that llhttp 8 knows: an HTAB or a comma at the end of a field that frames the body. */
static void normalise_framing(enum field_id id, char *end)
{
    while (end[-1] == ' ' || end[-1] == '\t' || (id == FIELD_TRANSFER_ENCODING && end[-1] == ','))
        *--end = ' ';
}

static enum field_id field_identify(const char *name, size_t len)
{
    static const struct {
        char lower[20];
        enum field_id id;
    } known[] = {
        [4] = {"host", FIELD_HOST},
        [6] = {"expect", FIELD_EXPECT},
        [10] = {"connection", FIELD_CONNECTION},
        [12] = {"content-type", FIELD_CONTENT_TYPE},
        [14] = {"content-length", FIELD_CONTENT_LENGTH},
        [17] = {"transfer-encoding", FIELD_TRANSFER_ENCODING},
    };

    if (len >= ARRAY_LEN(known) || (name[0] | 0x20) != known[len].lower[0] ||
        !syntax_is(name, len, known[len].lower))
        return FIELD_OTHER;
    return known[len].id;
}

/* field-line = field-name ":" OWS field-value OWS (RFC 9112 5). The CR that the scan has left at
 * the end of each line, and nowhere else, ends every search. */
static int read_fields(struct request *r, llhttp_t *parser)
{
    char *line = r->head + r->line.len + 2;
    struct field *f = r->fields;
    bool has_framing = false;

    for (size_t i = 1; i < r->scan.lines; i++, f++) {
        size_t name_len = syntax_token_end(line);

        if (name_len == 0 || line[name_len] != ':') {
            refuse(r, 400, "a header field does not begin with a name and a colon");
            return -1;
        }
        char *cr = r->head + scan_line_end(&r->scan, i, r->head, (size_t)(line - r->head));
        f->name = line;
        f->name_len = (uint32_t)name_len;
        f->id = field_identify(line, name_len);
        r->initials |= forwarded_initial(line);
        r->seen[f->id]++;
        if (f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_TRANSFER_ENCODING) {
            has_framing = true;
            normalise_framing(f->id, cr);
            if (feed_llhttp(r, parser, line, (size_t)(cr + 2 - line)) < 0)
                return -1;
        }
        char *value = line + name_len + 1, *value_end = cr;
        while (syntax_is_blank(*value))
            value++;
        while (value_end > value && syntax_is_blank(value_end[-1]))
            value_end--;
        f->value = value;
        f->value_len = (uint32_t)(value_end - value);
        if (f->id != FIELD_OTHER && check_field(r, f) < 0)
            return -1;
        line = cr + 2;
    }
    r->field_count = (size_t)(f - r->fields);
    /* without such a field there is no body (RFC 9112 6.3), and nothing for llhttp to decide */
    return has_framing ? feed_llhttp(r, parser, line, 2) : 0;
}

/* The fields by which a proxy speaks, where there may be any. 0, or -1 when they are refused. */
static int check_forwarded(struct request *r)
{
    if (!r->rules || !(r->initials & r->rules->initials))
        return 0;
    int status = forwarded_read(r, &r->refusal_reason);
    if (status == 0)
        return 0;
    refuse(r, status, r->refusal_reason);
    return -1;
}

static void __attribute__((noinline)) forget_line(struct request *r)
{
    const struct span none = {NULL, 0};

    r->method = NULL;
    r->target = r->path = r->query = r->authority = none;
}

/* Of a head that is not whole the request line is judged: what is no HTTP at all may never send
 * more. Nothing of the line is kept, for the head may move until it is parsed in one piece. */
static void parse_head(struct request *r)
{
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &no_callbacks);
    r->fields = arena_alloc(r->arena, r->scan.lines * sizeof(*r->fields));
    if (read_request_line(r, &parser) < 0)
        return;
    if (r->scan.place != SCAN_END)
        forget_line(r);
    else if (read_fields(r, &parser) == 0 && check_fields(r) == 0 && check_forwarded(r) == 0)
        begin_body(r, &parser);
}

/* Before the first byte of a head came one that no method begins with. */
static void name_first_byte(struct request *r, unsigned char c)
{
    enum { TLS_HANDSHAKE = 0x16, PROXY_V2_BLANKS = 4 }; /* RFC 8446 5.1; "\r\n\r\n\0\r\nQUIT\n" */

    if (c == TLS_HANDSHAKE)
        r->foreign = FOREIGN_TLS;
    else if (c == '\0' && r->scan.skipped == PROXY_V2_BLANKS)
        r->foreign = FOREIGN_PROXY;
}

static void append_head(struct request *r, const char *data, size_t len, size_t had)
{
    size_t need = had + len;

    if (need > r->head_cap) {
        size_t cap = r->scan.place == SCAN_END ? need
                     : need > HEAD_FIRST_SIZE  ? 2 * need
                                               : HEAD_FIRST_SIZE;
        char *head = arena_alloc(r->arena, cap);

        if (had > 0)
            memcpy(head, r->head, had);
        r->head = head;
        r->head_cap = cap;
    }
    memcpy(r->head + had, data, len);
}

/* "HEAD " is there, or no longer to come. */
static void read_is_head(struct request *r)
{
    r->is_head = r->scan.len >= 5 && memcmp(r->head, "HEAD ", 5) == 0;
}

/* Not inlined, as it would cost the common head more registers. */
static size_t __attribute__((noinline))
collect_piece(struct request *r, const char *data, size_t len)
{
    const char *reason;
    size_t had = r->scan.len, skipped = r->scan.skipped, used;
    int status = scan_head(&r->scan, &r->limits->head, data, len, &used, &reason);

    skipped = r->scan.skipped - skipped; /* by this call; they come before the head's first byte */
    if (r->scan.len > had)
        append_head(r, data + skipped, r->scan.len - had, had);
    if (had < 5) /* not later: what is refused has no body either */
        read_is_head(r);
    if (!r->line.p && r->scan.lines > 0) {
        r->line = (struct span){r->head, r->scan.ends[0]};
        if (r->scan.place != SCAN_END)
            parse_head(r);
    }
    if (r->state == REQUEST_REFUSED)
        return used;
    if (status != 0 && r->scan.place == SCAN_BEFORE)
        name_first_byte(r, (unsigned char)data[used]);
    if (status != 0)
        refuse(r, status, reason);
    else if (r->scan.place == SCAN_END)
        parse_head(r);
    return used;
}

static size_t collect_head(struct request *r, const char *data, size_t len)
{
    size_t whole = 0;

    if (r->scan.place == SCAN_BEFORE && r->scan.skipped == 0)
        whole = scan_whole(&r->scan, &r->limits->head, data, len);
    if (whole == 0)
        return collect_piece(r, data, len);
    r->head = arena_alloc(r->arena, whole);
    memcpy(r->head, data, whole);
    read_is_head(r);
    r->line = (struct span){r->head, r->scan.ends[0]};
    parse_head(r);
    return whole;
}

/* ---- the body ---------------------------------------------------------------------------- */

static void refuse_body(struct request *r)
{
    refuse(r, 507, errno == ENOBUFS ? "tmp_upload_max is reached" : ascii_error(errno));
}

static int add_to_body(struct request *r, const char *data, size_t len)
{
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
        refuse(r, 400, llhttp_get_error_reason(parser));
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
    const uint64_t max = r->limits->body_max;
    char line[CHUNK_DIGITS_MAX + 2];

    if (r->chunk.size > UINT64_MAX - 2 - r->body.len ||
        (max > 0 && r->body.len + r->chunk.size > max)) {
        refuse(r, 413, "the body is larger than limit_request_body");
        return;
    }
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
        refuse(r, status, reason);
    else if (r->chunk.place == CHUNK_LINE_END)
        begin_chunk(r);
    return n;
}

/* Trailers are checked like the head and then forgotten: merged into the environ they would let a
 * client add fields after every check (RFC 9110 6.5.1). llhttp gets them in one piece too: were it
 * asked sooner, what it refuses and what scan_head refuses would come in the order of the cuts. */
static size_t __attribute__((noinline))
feed_trailers(struct request *r, const char *data, size_t len)
{
    const char *reason;
    size_t used;
    int status = scan_head(&r->scan, &r->limits->head, data, len, &used, &reason);

    if (status != 0) {
        refuse(r, status, reason);
        return used;
    }
    if (r->scan.place != SCAN_END || r->trailers.len > 0)
        strbuf_add(&r->trailers, data, used);
    if (r->scan.place != SCAN_END)
        return used;
    if (r->trailers.len > 0)
        feed_parser(r, r->trailers.data, r->trailers.len);
    else
        feed_parser(r, data, used);
    if (r->state == REQUEST_TRAILERS)
        refuse(r, 400, "invalid trailers");
    return used;
}

size_t request_feed(struct request *r, const char *data, size_t len)
{
    size_t used = 0;

    while (used < len && r->state < REQUEST_DONE) {
        const char *p = data + used;
        size_t left = len - used;

        switch (r->state) {
        case REQUEST_HEAD: used += collect_head(r, p, left); break;
        case REQUEST_COUNTED: used += feed_counted(r, p, left); break;
        case REQUEST_CHUNKS: used += feed_chunks(r, p, left); break;
        case REQUEST_TRAILERS: used += feed_trailers(r, p, left); break;
        default: break;
        }
    }
    return used;
}
