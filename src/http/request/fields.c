/* SPDX-License-Identifier: MIT
 *
 * See fields.h. A list of fields is written as the head that HTTP/1 would have, line by line, and
 * fed to the parser: so there is one set of checks, and none that a list could pass by. Nothing in
 * the list can begin another line or field: control bytes and a colon in a name are refused before
 * they are written.
 */
#include "http/request/fields.h"

#include <assert.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/request/request.h"
#include "http/request/scan.h"
#include "http/request/syntax.h"

const char fields_no_name[] = "a header field does not begin with a name and a colon";

enum field_id field_identify(const char *name, size_t len)
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

/* ---- one field --------------------------------------------------------------------------- */

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
        request_refuse(r, 400, "Transfer-Encoding in an HTTP/1.0 request");
    else if (r->seen[FIELD_CONTENT_LENGTH] > 0)
        request_refuse(r, 400, "both Transfer-Encoding and Content-Length");
    else if (codings == 0 || r->seen[FIELD_TRANSFER_ENCODING] > 1)
        request_refuse(r, 400, "an empty or repeated Transfer-Encoding");
    else if (!ends_chunked)
        request_refuse(r, 400, "a Transfer-Encoding that does not end in chunked");
    else if (other)
        request_refuse(r, 501, "a transfer coding other than chunked");
    else if (codings > 1)
        request_refuse(r, 400, "chunked applied more than once");
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
            request_refuse(r, 417, "an expectation other than 100-continue");
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

int fields_check_one(struct request *r, const struct field *f)
{
    switch (f->id) {
    case FIELD_HOST:
        if (!host_is_valid(r, f))
            request_refuse(r, 400, "an invalid Host");
        break;
    case FIELD_CONNECTION: read_connection(r, f); break;
    case FIELD_EXPECT: check_expect(r, f); break;
    default: break;
    }
    return request_is_refused(r) ? -1 : 0;
}

/* ---- all fields -------------------------------------------------------------------------- */

static const struct field *first_of(const struct request *r, enum field_id id)
{
    const struct field *f = r->fields;

    assert(r->seen[id] > 0);
    while (f->id != id)
        f++;
    return f;
}

/* The fields by which a proxy speaks, where there may be any. 0, or -1 when they are refused. */
static int check_forwarded(struct request *r)
{
    if (!r->rules || !(r->initials & r->rules->initials))
        return 0;
    int status = forwarded_read(r, &r->refusal_reason);
    if (status == 0)
        return 0;
    request_refuse(r, status, r->refusal_reason);
    return -1;
}

int fields_check_all(struct request *r)
{
    if (r->seen[FIELD_HOST] > 1)
        request_refuse(r, 400, "more than one Host");
    else if (r->seen[FIELD_CONTENT_LENGTH] > 1)
        request_refuse(r, 400, "more than one Content-Length");
    else if (r->seen[FIELD_CONTENT_TYPE] > 1)
        request_refuse(r, 400, "more than one Content-Type");
    else if (r->seen[FIELD_HOST] == 0 && r->minor_version > 0)
        request_refuse(r, 400, "no Host");
    else if (r->seen[FIELD_TRANSFER_ENCODING] > 0)
        check_transfer_encoding(r, first_of(r, FIELD_TRANSFER_ENCODING));
    if (r->asks_close)
        r->keep_alive = false;
    return request_is_refused(r) ? -1 : check_forwarded(r);
}

/* ---- the target -------------------------------------------------------------------------- */

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
        request_refuse(r, 400, "a fragment in the request target");
    else if (!syntax_escapes_ok(p, path_len))
        request_refuse(r, 400, "an invalid percent escape in the path");
}

/* RFC 9110 7.4: over a connection without TLS only a trusted proxy can have received it. */
static int check_https(struct request *r)
{
    if (r->rules && !(r->trust & (FORWARDED_SCHEME | FORWARDED_SECURE)))
        request_refuse(r, 421, "an https URI over a connection that is not secure");
    return request_is_refused(r) ? -1 : 0;
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
        request_refuse(r, 400, "a request target that is neither a path nor an http URI");
        return;
    }
    size_t end = scheme;
    while (end < len && p[end] != '/' && p[end] != '?' && p[end] != '#')
        end++;
    r->authority = (struct span){p + scheme, end - scheme};
    if (!syntax_is_authority(p + scheme, end - scheme, false)) {
        request_refuse(r, 400, "an invalid authority in the request target");
        return;
    }
    if (scheme == 8 && check_https(r) < 0)
        return;
    split_path(r, p + end, len - end);
    if (r->path.len == 0)
        r->path = (struct span){root, 1};
}

int fields_check_target(struct request *r)
{
    if (r->target.p[0] == '/') {
        split_path(r, r->target.p, r->target.len);
    } else if (r->target.len == 1 && r->target.p[0] == '*') {
        r->path = r->target;
        r->query = (struct span){r->target.p, 0};
        if (strcmp(r->method, "OPTIONS") != 0)
            request_refuse(r, 400, "the request target * with a method other than OPTIONS");
    } else {
        check_absolute_target(r);
    }
    return request_is_refused(r) ? -1 : 0;
}

/* ---- a list of fields -------------------------------------------------------------------- */

static bool text_is(const struct bytes *t, const char *lower)
{
    return t->len == strlen(lower) && syntax_is(t->p, t->len, lower);
}

/* What a list can say and a request line cannot. */
static int check_origin(struct request *r, const struct request_list *list)
{
    if (list->scheme.p && text_is(&list->scheme, "https"))
        return check_https(r);
    if (list->scheme.p && !text_is(&list->scheme, "http"))
        request_refuse(r, 400, "a scheme other than http and https");
    return request_is_refused(r) ? -1 : 0;
}

/* Adds the line, with its CRLF; what could be taken for the end of a line is refused. */
static void feed_line(struct request *r, struct strbuf *line)
{
    if (scan_has_control(line->data, line->len)) {
        request_refuse(r, 400, scan_bad_line);
        return;
    }
    strbuf_addstr(line, "\r\n");
    size_t used = request_feed(r, line->data, line->len);
    assert(used == line->len || request_is_refused(r));
    strbuf_reset(line);
}

static void feed_field(struct request *r, struct strbuf *line, const struct bytes *name,
                       const struct bytes *value)
{
    if (memchr(name->p, ':', name->len) && name->p[0] != ':') { /* then it has no name at all */
        request_refuse(r, 400, fields_no_name);
        return;
    }
    strbuf_add(line, name->p, name->len);
    strbuf_addch(line, ':');
    strbuf_add(line, value->p, value->len);
    feed_line(r, line);
}

/* :authority stands for Host, which may be there as well, if it says the same (RFC 9113 8.3.1). */
static void feed_authority(struct request *r, struct strbuf *line, const struct request_list *list)
{
    static const struct bytes host = {"Host", 4};
    const struct bytes *authority = &list->authority;
    bool has_host = false;

    if (!syntax_is_authority(authority->p, authority->len, false))
        request_refuse(r, 400, "an invalid authority");
    for (size_t i = 0; i < list->count; i++) {
        const struct bytes *value = &list->fields[i].value;

        if (!text_is(&list->fields[i].name, "host"))
            continue;
        has_host = true;
        if (value->len != authority->len || !ascii_same_n(value->p, authority->p, value->len))
            request_refuse(r, 400, "a Host that differs from the authority");
    }
    if (!has_host && !request_is_refused(r))
        feed_field(r, line, &host, authority);
}

int request_from_fields(struct request *r, const struct request_list *list)
{
    struct strbuf line = {0};

    assert(!request_has_begun(r));
    if (syntax_token_len(list->method.p, list->method.len) == 0) {
        request_refuse(r, 400, scan_no_method);
        return -1;
    }
    strbuf_add(&line, list->method.p, list->method.len);
    strbuf_addch(&line, ' ');
    strbuf_add(&line, list->target.p, list->target.len);
    strbuf_addstr(&line, list->is_1_0 ? " HTTP/1.0" : " HTTP/1.1");
    feed_line(r, &line);
    if (!request_is_refused(r) && check_origin(r, list) == 0 && list->authority.p)
        feed_authority(r, &line, list);
    for (size_t i = 0; i < list->count && !request_is_refused(r); i++)
        feed_field(r, &line, &list->fields[i].name, &list->fields[i].value);
    if (!request_is_refused(r))
        feed_line(r, &line);
    strbuf_release(&line);
    return request_is_refused(r) ? -1 : 0;
}
