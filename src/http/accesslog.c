/* SPDX-License-Identifier: MIT
 *
 * See accesslog.h. The atoms are gunicorn's:
 *
 *   h remote address   l '-'            u user of Basic   t time         r request line
 *   m method           U path           q query           H protocol     s status
 *   b, B body bytes    f referer        a user agent      p <pid>        {x}i request field
 *   T s  M ms  D us  L decimal seconds                    {x}o answer field   {x}e environ
 */
#include "http/accesslog.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/util.h"
#include "http/environ.h"
#include "http/syntax.h"

struct piece {
    char atom;  /* 0: the text itself */
    char *text; /* literal text, or the name in braces */
};

struct accesslog {
    size_t count;
    struct piece *pieces;
};

/* ---- the format -------------------------------------------------------------------------- */

static void add_piece(struct accesslog *log, char atom, const char *text, size_t len)
{
    log->pieces = xrealloc(log->pieces, (log->count + 1) * sizeof(*log->pieces));
    struct piece *p = &log->pieces[log->count++];

    p->atom = atom;
    p->text = xmalloc(len + 1);
    memcpy(p->text, text, len);
    p->text[len] = '\0';
}

/* At "%(": adds the atom and returns what follows its ")s"; NULL when it is none. */
static const char *add_atom(struct accesslog *log, const char *p)
{
    const char *name = p + 2;

    if (name[0] == '{') {
        const char *close = strchr(name, '}');

        if (!close || close == name + 1 || close[1] == '\0' || !strchr("ioe", close[1]) ||
            strncmp(close + 2, ")s", 2) != 0)
            return NULL;
        add_piece(log, close[1], name + 1, (size_t)(close - name - 1));
        return close + 4;
    }
    if (name[0] == '\0' || !strchr("hlutrmUqHsbBfapTMDL", name[0]) ||
        strncmp(name + 1, ")s", 2) != 0)
        return NULL;
    add_piece(log, name[0], "", 0);
    return name + 3;
}

struct accesslog *accesslog_new(const char *format, struct error *err)
{
    struct accesslog *log = xcalloc(1, sizeof(*log));
    const char *p = format;

    while (*p != '\0') {
        size_t len = strcspn(p, "%");

        if (len > 0) {
            add_piece(log, 0, p, len);
        } else if (p[1] == '%') {
            add_piece(log, 0, "%", 1);
            len = 2;
        } else {
            const char *next = p[1] == '(' ? add_atom(log, p) : NULL;

            if (!next) {
                accesslog_free(log);
                (void)error_set(err, EXIT_USAGE,
                                "access_log_format: no such atom at \"%.20s\": see README.md", p);
                return NULL;
            }
            len = (size_t)(next - p);
        }
        p += len;
    }
    return log;
}

void accesslog_free(struct accesslog *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->count; i++)
        free(log->pieces[i].text);
    free(log->pieces);
    free(log);
}

/* ---- the atoms --------------------------------------------------------------------------- */

static void add_escaped(struct strbuf *out, const char *p, size_t len)
{
    for (size_t i = 0; i < len && out->len < 2 * ACCESSLOG_LINE_MAX; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c < 0x20 || c >= 0x7f || c == '"' || c == '\\')
            strbuf_addf(out, "\\x%02x", c);
        else
            strbuf_addch(out, (char)c);
    }
}

static void add_text(struct strbuf *out, const char *text)
{
    if (text && *text != '\0')
        add_escaped(out, text, strlen(text));
    else
        strbuf_addch(out, '-');
}

static void add_span(struct strbuf *out, struct span s)
{
    add_escaped(out, s.p, s.len);
}

/* The request line as it came, if it came whole: of a refused request there may be less. */
static void add_request_line(struct strbuf *out, const struct request *r)
{
    if (r->line.p)
        add_escaped(out, r->line.p, r->line.len);
    else
        strbuf_addch(out, '-');
}

/* The user of Basic credentials (RFC 7617): base64 up to the colon. */
static void add_user(struct strbuf *out, const char *credentials)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct strbuf user = {0};
    unsigned bits = 0, value = 0;

    if (credentials && strncasecmp(credentials, "Basic ", 6) == 0) {
        for (const char *p = credentials + 6; *p != '\0'; p++) {
            const char *digit = strchr(digits, *p);

            if (!digit)
                break;
            value = (value << 6 | (unsigned)(digit - digits)) & 0xffffff;
            bits += 6;
            if (bits < 8)
                continue;
            bits -= 8;
            char c = (char)(value >> bits & 0xff);
            if (c == ':')
                break;
            strbuf_addch(&user, c);
        }
    }
    add_text(out, user.data);
    strbuf_release(&user);
}

static void add_answer_field(struct strbuf *out, const struct response *r, const char *name)
{
    size_t name_len = strlen(name);
    const char *p = r->fields, *end = p + r->fields_len;

    if (strcasecmp(name, "content-length") == 0 && r->content_length >= 0) {
        strbuf_addf(out, "%lld", (long long)r->content_length);
        return;
    }
    while (p && p < end) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        const char *cr = memchr(p, '\r', (size_t)(end - p));

        if ((size_t)(colon - p) == name_len && strncasecmp(p, name, name_len) == 0) {
            add_escaped(out, colon + 2, (size_t)(cr - colon - 2));
            return;
        }
        p = cr + 2;
    }
    strbuf_addch(out, '-');
}

static void add_time(struct strbuf *out, time_t wall)
{
    struct tm tm;
    char text[40];

    (void)localtime_r(&wall, &tm);
    strbuf_add(out, text, strftime(text, sizeof(text), "[%d/%b/%Y:%H:%M:%S %z]", &tm));
}

/* What the client sent, whatever the application made of SERVER_PROTOCOL. */
static const char *protocol_of(const struct request *r)
{
    if (!r->method)
        return NULL;
    return r->minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

static void add_atom_of_request(struct strbuf *out, struct gcorn_environ *env, char atom)
{
    const struct request *r = &env->request;

    switch (atom) {
    case 'h': add_text(out, environ_remote_addr(env)); break;
    case 'u': add_user(out, environ_field(env, "authorization")); break;
    case 'r': add_request_line(out, r); break;
    case 'm': add_text(out, r->method); break;
    case 'U': r->path.p ? add_span(out, r->path) : strbuf_addch(out, '-'); break;
    case 'q': r->query.p ? add_span(out, r->query) : strbuf_addch(out, '-'); break;
    case 'H': add_text(out, protocol_of(r)); break;
    case 'f': add_text(out, environ_field(env, "referer")); break;
    case 'a': add_text(out, environ_field(env, "user-agent")); break;
    default: strbuf_addch(out, '-'); break; /* l */
    }
}

static void add_atom_of_answer(struct strbuf *out, const struct gcorn_environ *env, char atom,
                               const struct access_facts *facts)
{
    const struct response *r = &env->response;
    unsigned long long us = facts->duration_us;

    switch (atom) {
    case 't': add_time(out, facts->wall); break;
    case 's': strbuf_addf(out, "%d", r->status); break;
    case 'b':
        if (r->body_len == 0) {
            strbuf_addch(out, '-');
            break;
        }
        /* fall through */
    case 'B': strbuf_addu(out, r->body_len); break;
    case 'p': strbuf_addf(out, "<%d>", facts->pid); break;
    case 'T': strbuf_addu(out, us / 1000000); break;
    case 'M': strbuf_addu(out, us / 1000); break;
    case 'D': strbuf_addu(out, us); break;
    case 'L': strbuf_addf(out, "%llu.%06llu", us / 1000000, us % 1000000); break;
    default: break;
    }
}

void accesslog_add(const struct accesslog *log, struct gcorn_environ *env,
                   const struct access_facts *facts, struct strbuf *out)
{
    struct strbuf line = {0};

    for (size_t i = 0; i < log->count; i++) {
        const struct piece *p = &log->pieces[i];

        if (p->atom == 0)
            strbuf_addstr(&line, p->text);
        else if (p->atom == 'i')
            add_text(&line, environ_field(env, p->text));
        else if (p->atom == 'o')
            add_answer_field(&line, &env->response, p->text);
        else if (p->atom == 'e')
            add_text(&line, env->request.method ? gcorn_get(env, p->text) : NULL);
        else if (strchr("tsbBpTMDL", p->atom))
            add_atom_of_answer(&line, env, p->atom, facts);
        else
            add_atom_of_request(&line, env, p->atom);
    }
    strbuf_add(out, line.data ? line.data : "",
               line.len < ACCESSLOG_LINE_MAX ? line.len : ACCESSLOG_LINE_MAX - 1);
    strbuf_addch(out, '\n');
    strbuf_release(&line);
}
