/* SPDX-License-Identifier: MIT
 *
 * See access_log.h. A format is taken apart once, into texts and atoms; a line is then a walk over
 * them. json and logfmt have printers of their own (access_fields.h), since a line that is cut and
 * a value that is absent must leave them valid.
 */
#include "http/access_log.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/access_fields.h"
#include "http/environ.h"
#include "http/log_line.h"

static const char combined[] = "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"";

struct piece {
    char *text;
    size_t text_len;
    const struct access_atom *atom; /* its value follows the text; NULL: none does */
    char *name;                     /* in its braces */
};

struct access_log {
    /* Puts the members of json or logfmt; NULL: the pieces of a format are put. */
    void (*put_members)(struct log_line *l, struct access_line *line);
    size_t count;
    struct piece *pieces;
    struct access_second second;
};

/* ---- the format ---------------------------------------------------------------------------- */

/* Takes over text and name. */
static void add_piece(struct access_log *log, struct strbuf *text, const struct access_atom *atom,
                      char *name)
{
    log->pieces = xrealloc(log->pieces, (log->count + 1) * sizeof(*log->pieces));
    struct piece *p = &log->pieces[log->count++];

    *p = (struct piece){.text_len = text->len, .atom = atom, .name = name};
    p->text = strbuf_detach(text);
}

/* At "%(": adds the atom, after the literal text before it, and returns the position after its
 * ")s". NULL: no such atom. */
static const char *add_atom(struct access_log *log, struct strbuf *text, const char *p)
{
    const char *name = p + 2, *close = *name == '{' ? strchr(name, '}') : NULL;
    size_t name_len = close ? (size_t)(close - name - 1) : 0;
    const char *letter = close ? close + 1 : name;
    const struct access_atom *atom = access_find_atom(*letter, close != NULL);
    struct strbuf in_braces = {0};

    if (!atom || strncmp(letter + 1, ")s", 2) != 0 || (close && name_len == 0))
        return NULL;
    if (close)
        strbuf_add(&in_braces, name + 1, name_len);
    add_piece(log, text, atom, strbuf_detach(&in_braces));
    return letter + 3;
}

/* 0, or -1: what *p points to is then not of the language. */
static int parse_format(struct access_log *log, struct strbuf *text, const char **p)
{
    while (**p != '\0') {
        size_t len = strcspn(*p, "%");

        strbuf_add(text, *p, len);
        *p += len;
        if (len > 0)
            continue;
        if ((*p)[1] == '%') {
            strbuf_addch(text, '%');
            *p += 2;
            continue;
        }
        const char *next = (*p)[1] == '(' ? add_atom(log, text, *p) : NULL;
        if (!next)
            return -1;
        *p = next;
    }
    if (text->len > 0)
        add_piece(log, text, NULL, NULL);
    return 0;
}

struct access_log *access_log_new(const char *format, struct error *err)
{
    struct access_log *log = xcalloc(1, sizeof(*log));
    const char *p = strcmp(format, "combined") == 0 ? combined : format;
    struct strbuf text = {0};
    int result = 0;

    log->second.second = -1;
    if (strcmp(format, "json") == 0)
        log->put_members = access_put_json;
    else if (strcmp(format, "logfmt") == 0)
        log->put_members = access_put_logfmt;
    else
        result = parse_format(log, &text, &p);
    strbuf_release(&text);
    if (result == 0)
        return log;
    access_log_free(log);
    (void)error_set(err, EXIT_USAGE, "access_log_format: no such atom at \"%.20s\": see README.md",
                    p);
    return NULL;
}

void access_log_free(struct access_log *log)
{
    if (!log)
        return;
    for (size_t i = 0; i < log->count; i++) {
        free(log->pieces[i].text);
        free(log->pieces[i].name);
    }
    free(log->pieces);
    free(log);
}

/* ---- lines ------------------------------------------------------------------------------- */

static void set_second(struct access_second *t, int64_t second)
{
    if (t->second == second)
        return;
    t->second = second;
    (void)time_put_clf(t->clf, second);
    (void)time_put_iso(t->iso, second * 1000);
}

static void put_atom(struct log_line *l, const struct access_atom *atom, struct access_line *line)
{
    const struct access_value value = atom->get(line);

    if (value.kind == ACCESS_NUMBER)
        log_line_put_u64(l, value.number);
    else if (value.kind == ACCESS_ABSENT || (value.text.len == 0 && !atom->keeps_empty))
        log_line_put(l, "-", 1);
    else
        log_line_put_escaped(l, value.text.p, value.text.len);
}

static void put_pieces(struct log_line *l, const struct access_log *log, struct access_line *line)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct piece *p = &log->pieces[i];

        log_line_put(l, p->text, p->text_len);
        line->name = p->name;
        if (p->atom)
            put_atom(l, p->atom, line);
    }
}

size_t access_log_line(struct access_log *log, struct gcorn_environ *env,
                       const struct access_facts *facts, char *out)
{
    struct log_line l = {.p = out, .end = out + ACCESS_LOG_LINE_MAX - 1};
    struct access_line line = {.env = env, .facts = facts, .second = &log->second};

    set_second(&log->second, (int64_t)(facts->wall_ms / 1000));
    if (log->put_members)
        log->put_members(&l, &line);
    else
        put_pieces(&l, log, &line);
    assert(l.p <= l.end);
    *l.p++ = '\n';
    return (size_t)(l.p - out);
}

static struct span whole_span(const char *text, size_t len)
{
    return (struct span){.p = len > 0 ? (char *)(uintptr_t)text : NULL, .len = len};
}

size_t access_log_line_of(struct access_log *log, const struct access_request *q,
                          const struct access_facts *facts, char *out)
{
    static const struct http_context context;
    static const struct http_local local = {"", "", ""};
    struct http_peer peer = {.local = &local};
    struct forwarded forwarded = {.request_id = q->request_id};
    struct gcorn_environ env = {
        .request = {.state = REQUEST_DONE, .minor_version = 1, .forwarded = &forwarded},
        .context = &context,
        .peer = &peer};
    char line[ACCESS_LOG_LINE_MAX];
    (void)snprintf(peer.remote_addr, sizeof(peer.remote_addr), "%s", q->peer);
    size_t path_len = strcspn(q->target, "?"), len = strlen(q->target);
    int n = snprintf(line, sizeof(line), "%s %s HTTP/1.1", q->method, q->target);

    env.request.method = *q->method != '\0' ? q->method : NULL;
    env.request.line = whole_span(line, n < (int)sizeof(line) ? (size_t)n : sizeof(line) - 1);
    env.request.target = whole_span(q->target, len);
    env.request.path = whole_span(q->target, path_len);
    if (path_len < len)
        env.request.query = whole_span(q->target + path_len + 1, len - path_len - 1);
    env.response = (struct response){.status = q->status, .content_length = -1, .ended = q->ended};
    size_t result = access_log_line(log, &env, facts, out);
    environ_release(&env);
    return result;
}
