/* SPDX-License-Identifier: MIT
 *
 * See access_log.h. The atoms are gunicorn's:
 *
 *   h remote address   l '-'            u user of Basic   t time         r request line
 *   m method           U path           q query           H protocol     s status
 *   b, B body bytes    f referer        a user agent      p <pid>        {x}i request field
 *   T s  M ms  D us  L decimal seconds                    {x}o answer field   {x}e environ
 *
 * and one is gcorn's: I, the request's id. json and logfmt are no templates but code of their own:
 * what may be cut in them, and what is absent, must leave them valid.
 */
#include "http/access_log.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/util.h"
#include "http/environ.h"
#include "http/environ_fields.h"
#include "http/log_line.h"
#include "http/request/syntax.h"

static const char combined[] = "%(h)s %(l)s %(u)s %(t)s \"%(r)s\" %(s)s %(b)s \"%(f)s\" \"%(a)s\"";

enum form { FORM_TEMPLATE, FORM_JSON, FORM_LOGFMT };

struct piece {
    char atom;  /* 0: the text itself */
    char *text; /* literal text, or the name in braces */
};

/* The time of a second, which many lines share. */
struct second_text {
    int64_t second;
    char clf[TIME_TEXT_SIZE]; /* [06/Nov/1994:08:49:37 +0000] */
    char iso[TIME_TEXT_SIZE]; /* 1994-11-06T08:49:37.000+00:00, less the milliseconds of a line */
};

struct accesslog {
    enum form form;
    size_t count;
    struct piece *pieces;
    struct second_text time;
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
    if (name[0] == '\0' || !strchr("hlutrmUqHsbBfapTMDLI", name[0]) ||
        strncmp(name + 1, ")s", 2) != 0)
        return NULL;
    add_piece(log, name[0], "", 0);
    return name + 3;
}

/* 0, or -1: what *p points to is then not of the language. */
static int parse_template(struct accesslog *log, const char **p)
{
    while (**p != '\0') {
        size_t len = strcspn(*p, "%");

        if (len > 0) {
            add_piece(log, 0, *p, len);
        } else if ((*p)[1] == '%') {
            add_piece(log, 0, "%", 1);
            len = 2;
        } else {
            const char *next = (*p)[1] == '(' ? add_atom(log, *p) : NULL;

            if (!next)
                return -1;
            len = (size_t)(next - *p);
        }
        *p += len;
    }
    return 0;
}

struct accesslog *accesslog_new(const char *format, struct error *err)
{
    struct accesslog *log = xcalloc(1, sizeof(*log));
    const char *p = strcmp(format, "combined") == 0 ? combined : format;

    log->time.second = -1;
    if (strcmp(format, "json") == 0)
        log->form = FORM_JSON;
    else if (strcmp(format, "logfmt") == 0)
        log->form = FORM_LOGFMT;
    else if (parse_template(log, &p) < 0) {
        accesslog_free(log);
        (void)error_set(err, EXIT_USAGE,
                        "access_log_format: no such atom at \"%.20s\": see README.md", p);
        return NULL;
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

/* ---- what lines are made of -------------------------------------------------------------- */

static void set_second(struct second_text *t, int64_t second)
{
    if (t->second == second)
        return;
    t->second = second;
    (void)time_put_clf(t->clf, second);
    (void)time_put_iso(t->iso, second * 1000);
}

/* What the client sent, whatever the application made of SERVER_PROTOCOL. */
static const char *protocol_of(const struct request *r)
{
    if (!r->method)
        return NULL;
    return r->minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

/* The id that was made for the request, without the arena. */
static struct span id_text(const struct gcorn_environ *env, char text[16])
{
    for (int i = 0; i < 16; i++)
        text[i] = "0123456789abcdef"[env->id >> (60 - 4 * i) & 15];
    return (struct span){text, 16};
}

/* ---- the atoms --------------------------------------------------------------------------- */

static void put_absent(struct logline *l)
{
    logline_put(l, "-", 1);
}

static void put_text(struct logline *l, const char *text)
{
    if (text && *text != '\0')
        logline_put_escaped(l, text, strlen(text));
    else
        put_absent(l);
}

static void put_span(struct logline *l, struct span s)
{
    if (s.p)
        logline_put_escaped(l, s.p, s.len);
    else
        put_absent(l);
}

/* The user of Basic credentials (RFC 7617): base64 up to the colon. */
static void put_user(struct logline *l, struct gcorn_environ *env)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *credentials = environ_field(env, "authorization");
    char *user = credentials ? arena_alloc(&env->arena, strlen(credentials)) : NULL;
    size_t len = 0;
    unsigned bits = 0, value = 0;

    if (credentials && ascii_same_n(credentials, "Basic ", 6)) {
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
            user[len++] = c;
        }
    }
    put_span(l, (struct span){len > 0 ? user : NULL, len});
}

static void put_answer_field(struct logline *l, const struct response *r, const char *name)
{
    size_t name_len = strlen(name);
    const char *p = r->fields, *end = p + r->fields_len;

    if (ascii_same(name, "content-length") && r->content_length >= 0) {
        logline_put_u64(l, (uint64_t)r->content_length);
        return;
    }
    while (p && p < end) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        const char *cr = memchr(p, '\r', (size_t)(end - p));

        if ((size_t)(colon - p) == name_len && ascii_same_n(p, name, name_len)) {
            logline_put_escaped(l, colon + 2, (size_t)(cr - colon - 2));
            return;
        }
        p = cr + 2;
    }
    put_absent(l);
}

static void put_atom_of_request(struct logline *l, struct gcorn_environ *env, char atom)
{
    const struct request *r = &env->request;

    switch (atom) {
    case 'h': put_text(l, environ_remote_addr(env)); break;
    case 'u': put_user(l, env); break;
    case 'r': put_span(l, r->line); break;
    case 'm': put_text(l, r->method); break;
    case 'U': put_span(l, r->path); break;
    case 'q': put_span(l, r->query); break;
    case 'H': put_text(l, protocol_of(r)); break;
    case 'f': put_text(l, environ_field(env, "referer")); break;
    case 'a': put_text(l, environ_field(env, "user-agent")); break;
    case 'I': put_text(l, environ_request_id(env)); break;
    default: put_absent(l); break; /* l */
    }
}

static void put_atom_of_answer(struct logline *l, const struct response *r, char atom,
                               const struct access_facts *facts)
{
    uint64_t us = facts->duration_us;

    switch (atom) {
    case 's': logline_put_u64(l, (uint64_t)r->status); break;
    case 'b':
        if (r->body_len == 0) {
            put_absent(l);
            break;
        }
        /* fall through */
    case 'B': logline_put_u64(l, r->body_len); break;
    case 'p':
        logline_put(l, "<", 1);
        logline_put_u64(l, (uint64_t)facts->pid);
        logline_put(l, ">", 1);
        break;
    case 'T': logline_put_u64(l, us / 1000000); break;
    case 'M': logline_put_u64(l, us / 1000); break;
    case 'D': logline_put_u64(l, us); break;
    case 'L':
        logline_put_u64(l, us / 1000000);
        logline_put(l, ".", 1);
        logline_put_digits(l, us % 1000000, 6);
        break;
    default: break;
    }
}

static void put_pieces(struct logline *l, const struct accesslog *log, struct gcorn_environ *env,
                       const struct access_facts *facts)
{
    for (size_t i = 0; i < log->count; i++) {
        const struct piece *p = &log->pieces[i];

        if (p->atom == 0)
            logline_put_str(l, p->text);
        else if (p->atom == 't')
            logline_put_str(l, log->time.clf);
        else if (p->atom == 'i')
            put_text(l, environ_field(env, p->text));
        else if (p->atom == 'o')
            put_answer_field(l, &env->response, p->text);
        else if (p->atom == 'e')
            put_text(l, env->request.method ? gcorn_get(env, p->text) : NULL);
        else if (strchr("sbBpTMDL", p->atom))
            put_atom_of_answer(l, &env->response, p->atom, facts);
        else
            put_atom_of_request(l, env, p->atom);
    }
}

/* ---- json and logfmt --------------------------------------------------------------------- */

/* Both have the same members. Which of them a function writes is a constant in its two callers, so
 * each has its own code in the end. A member's key is given as JSON has it, a literal. */
#define FORCE_INLINE inline __attribute__((always_inline))
#define KEY(name)    ",\"" name "\":", sizeof(name) - 1

enum {
    SHARE = 512, /* what a long value leaves to each that follows it */
    TAIL = 32,   /* for the end, which is never cut */
};

static FORCE_INLINE void put_key(struct logline *l, bool json, const char *key, size_t name_len)
{
    if (json) {
        logline_put(l, key, name_len + 4);
    } else {
        logline_put(l, " ", 1);
        logline_put(l, key + 2, name_len);
        logline_put(l, "=", 1);
    }
}

static FORCE_INLINE void put_number(struct logline *l, bool json, const char *key, size_t name_len,
                                    uint64_t n)
{
    put_key(l, json, key, name_len);
    logline_put_u64(l, n);
}

/* What is absent (p NULL) is null in JSON, and no pair in logfmt. `after` long values follow. */
static FORCE_INLINE void put_member(struct logline *l, bool json, const char *key, size_t name_len,
                                    struct span value, size_t after)
{
    if (json) {
        put_key(l, json, key, name_len);
        if (value.p)
            logline_put_quoted(l, value.p, value.len, after * SHARE);
        else
            logline_put(l, "null", 4);
    } else if (value.p) {
        put_key(l, json, key, name_len);
        logline_put_value(l, value.p, value.len, after * SHARE);
    }
}

static inline struct span text_span(const char *text)
{
    return (struct span){(char *)(uintptr_t)text, text ? strlen(text) : 0};
}

/* What is known to be plain: no more than put. logfmt has such values without quotes. */
static FORCE_INLINE void put_plain(struct logline *l, bool json, const char *key, size_t name_len,
                                   struct span value)
{
    if (!value.p) {
        put_member(l, json, key, name_len, value, 0);
        return;
    }
    put_key(l, json, key, name_len);
    if (json)
        logline_put(l, "\"", 1);
    logline_put(l, value.p, value.len);
    if (json)
        logline_put(l, "\"", 1);
}

/* A field of the request, found by the walk below: the joined value if it is there again. */
static void note_field(struct gcorn_environ *env, const struct field *f, const char *lower,
                       struct span *value)
{
    if (!syntax_is(f->name, f->name_len, lower))
        return;
    *value =
        value->p ? text_span(environ_field(env, lower)) : (struct span){f->value, f->value_len};
}

static void find_fields(struct gcorn_environ *env, struct span *referer, struct span *user_agent)
{
    const struct request *r = &env->request;

    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];

        if (f->name_len == sizeof("referer") - 1)
            note_field(env, f, "referer", referer);
        else if (f->name_len == sizeof("user-agent") - 1)
            note_field(env, f, "user-agent", user_agent);
    }
}

static FORCE_INLINE void put_start(struct logline *l, bool json, const struct second_text *t,
                                   unsigned ms)
{
    if (json)
        logline_put(l, "{\"time\":\"", 9);
    else
        logline_put(l, "time=", 5);
    logline_put(l, t->iso, sizeof("1994-11-06T08:49:37.") - 1);
    logline_put_digits(l, ms, 3);
    logline_put(l, t->iso + sizeof("1994-11-06T08:49:37.000") - 1, sizeof("+00:00") - 1);
    if (json)
        logline_put(l, "\"", 1);
}

/* What is short comes first, then what a client can make as long as it likes. */
static FORCE_INLINE void put_members(struct logline *l, bool json, const struct accesslog *log,
                                     struct gcorn_environ *env, const struct access_facts *facts)
{
    const struct request *r = &env->request;
    const char *given = environ_given_id(env), *addr = environ_remote_addr(env);
    struct span referer = {0}, user_agent = {0};
    char id[16];

    find_fields(env, &referer, &user_agent);
    l->end -= TAIL;
    put_start(l, json, &log->time, (unsigned)(facts->wall_ms % 1000));
    put_member(l, json, KEY("remote_addr"), text_span(*addr ? addr : NULL), 4);
    if (given)
        put_member(l, json, KEY("request_id"), text_span(given), 4);
    else
        put_plain(l, json, KEY("request_id"), id_text(env, id));
    put_number(l, json, KEY("pid"), (uint64_t)facts->pid);
    put_number(l, json, KEY("worker"), facts->worker);
    put_number(l, json, KEY("status"), (uint64_t)env->response.status);
    put_number(l, json, KEY("bytes"), env->response.body_len);
    put_number(l, json, KEY("duration_us"), facts->duration_us);
    if (env->response.ended)
        put_member(l, json, KEY("ended"), text_span(env->response.ended), 4);
    put_plain(l, json, KEY("protocol"), text_span(protocol_of(r)));
    put_member(l, json, KEY("method"), text_span(r->method), 4); /* a dead worker's: any bytes */
    put_member(l, json, KEY("path"), r->path, 3);
    put_member(l, json, KEY("query"), r->query, 2);
    put_member(l, json, KEY("referer"), referer, 1);
    put_member(l, json, KEY("user_agent"), user_agent, 0);
    l->end += TAIL;
    if (l->cut) {
        put_key(l, json, KEY("truncated"));
        logline_put(l, "true", 4);
    }
    if (json)
        logline_put(l, "}", 1);
}

static void put_json(struct logline *l, const struct accesslog *log, struct gcorn_environ *env,
                     const struct access_facts *facts)
{
    put_members(l, true, log, env, facts);
}

static void put_logfmt(struct logline *l, const struct accesslog *log, struct gcorn_environ *env,
                       const struct access_facts *facts)
{
    put_members(l, false, log, env, facts);
}

size_t accesslog_line(struct accesslog *log, struct gcorn_environ *env,
                      const struct access_facts *facts, char *out)
{
    struct logline line = {.p = out, .end = out + ACCESSLOG_LINE_MAX - 1};

    set_second(&log->time, (int64_t)(facts->wall_ms / 1000));
    switch (log->form) {
    case FORM_TEMPLATE: put_pieces(&line, log, env, facts); break;
    case FORM_JSON: put_json(&line, log, env, facts); break;
    case FORM_LOGFMT: put_logfmt(&line, log, env, facts); break;
    }
    *line.p++ = '\n';
    return (size_t)(line.p - out);
}

static struct span whole_span(const char *text, size_t len)
{
    return (struct span){.p = len > 0 ? (char *)(uintptr_t)text : NULL, .len = len};
}

size_t accesslog_line_of(struct accesslog *log, const struct access_request *q,
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
    char line[ACCESSLOG_LINE_MAX];
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
    size_t result = accesslog_line(log, &env, facts, out);
    environ_release(&env);
    return result;
}
