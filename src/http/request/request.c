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
#include "http/request/fields.h"
#include "http/request/request_body.h"
#include "http/request/syntax.h"

enum { HEAD_FIRST_SIZE = 1024 };

/* Not inlined, as it runs for few. */
void __attribute__((noinline)) request_refuse(struct request *r, int status, const char *reason)
{
    assert(status >= 400 && status < 600 && reason);
    r->state = REQUEST_REFUSED;
    r->refusal = status;
    r->refusal_reason = reason;
}

void request_init(struct request *r, const struct request_limits *limits, struct arena *arena)
{
    memset(r, 0,
           offsetof(struct request,
                    scan)); /* the rest is initialised below, or outlives the request */
    r->limits = limits;
    r->arena = arena;
    scan_init(&r->scan, false);
    chunk_line_init(&r->chunk);
    strbuf_init(&r->trailers);
    r->trailer_count = 0;
    spool_init(&r->body, &limits->body_place, limits->body_budget);
}

void request_release(struct request *r)
{
    if (r->trailers.data)
        strbuf_release(&r->trailers);
    if (r->ahead)
        body_ahead_release(r->ahead);
    spool_release(&r->body);
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
    request_refuse(r, status, reason);
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
    request_refuse(r, 400, llhttp_get_error_reason(parser));
    return -1;
}

static int feed_llhttp(struct request *r, llhttp_t *parser, const char *data, size_t len)
{
    return llhttp_execute(parser, data, len) == HPE_OK ? 0 : refuse_as_llhttp(r, parser);
}

/* The common target is a path and nothing else. */
static inline int check_target(struct request *r)
{
    if (!r->target_is_plain || r->target.p[0] != '/')
        return fields_check_target(r);
    r->path = r->target;
    r->query = (struct span){r->target.p, 0};
    return 0;
}

static int refuse_connect(struct request *r)
{
    request_refuse(r, 501, "CONNECT asks for a tunnel, which an origin server does not give");
    return -1;
}

/* llhttp has refused the request line, or would refuse what follows the method. A method is
 * any token (RFC 9110 9.1), and the application says which it knows, but llhttp has a list of them:
 * so it judges the line once more, with a method that it knows in the place of this one. */
static int __attribute__((noinline)) read_other_method(struct request *r, llhttp_t *parser)
{
    static const char known[] = "POST";
    size_t len = (size_t)(r->target.p - r->line.p) - 1;
    char *method;

    if (len > METHOD_MAX) {
        request_refuse(r, 501, "a method of more than 32 bytes");
        return -1;
    }
    method = arena_alloc(r->arena, len + 1);
    memcpy(method, r->line.p, len);
    method[len] = '\0';
    r->method = method;
    if (strcmp(method, "CONNECT") == 0) /* with a target that no tunnel has */
        return refuse_connect(r);
    llhttp_init(parser, HTTP_REQUEST, &no_callbacks);
    if (feed_llhttp(r, parser, known, sizeof(known) - 1) < 0 ||
        feed_llhttp(r, parser, r->line.p + len, r->line.len + 2 - len) < 0)
        return -1;
    return fields_check_target(r);
}

static int read_request_line(struct request *r, llhttp_t *parser)
{
    r->line.p = r->head; /* it may have moved since its line came */
    if (check_request_line(r, r->line.len) < 0)
        return -1;
    /* after PRI llhttp takes nothing but the preface of HTTP/2 */
    if (llhttp_execute(parser, r->head, r->line.len + 2) != HPE_OK || parser->method == HTTP_PRI)
        return read_other_method(r, parser);
    r->method = llhttp_method_name((llhttp_method_t)parser->method);
    return parser->method == HTTP_CONNECT ? refuse_connect(r) : check_target(r);
}

/* Writes what is white space to RFC 9110, and what is nothing in a list (5.6.1.2), as the blanks
 * that llhttp 8 knows: an HTAB or a comma at the end of a field that frames the body. */
static void normalise_framing(enum field_id id, char *end)
{
    while (end[-1] == ' ' || end[-1] == '\t' || (id == FIELD_TRANSFER_ENCODING && end[-1] == ','))
        *--end = ' ';
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
            request_refuse(r, 400, fields_no_name);
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
        if (f->id != FIELD_OTHER && fields_check_one(r, f) < 0)
            return -1;
        line = cr + 2;
    }
    r->field_count = (size_t)(f - r->fields);
    /* without such a field there is no body (RFC 9112 6.3), and nothing for llhttp to decide */
    return has_framing ? feed_llhttp(r, parser, line, 2) : 0;
}

static void __attribute__((noinline)) forget_line(struct request *r)
{
    const struct span none = {NULL, 0};

    r->method = NULL;
    r->target = r->path = r->query = r->authority = none;
}

/* Checks the request line before the head is whole: a client that speaks another protocol may never
 * send more. Nothing of the line is kept, for the head may move until it is parsed in one piece. */
static void parse_head(struct request *r)
{
    llhttp_t parser;

    llhttp_init(&parser, HTTP_REQUEST, &no_callbacks);
    r->fields = arena_alloc(r->arena, r->scan.lines * sizeof(*r->fields));
    if (read_request_line(r, &parser) < 0)
        return;
    if (r->scan.place != SCAN_END)
        forget_line(r);
    else if (read_fields(r, &parser) == 0 && fields_check_all(r) == 0)
        request_body_begin(r, &parser);
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
    assert(need <= r->head_cap);
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
        request_refuse(r, status, reason);
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

size_t request_feed(struct request *r, const char *data, size_t len)
{
    size_t used = 0;

    while (used < len && r->state < REQUEST_DONE) {
        const char *p = data + used;
        size_t left = len - used;

        if (r->state == REQUEST_HEAD)
            used += collect_head(r, p, left);
        else
            used += request_body_feed(r, p, left);
    }
    return used;
}
