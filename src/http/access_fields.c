/* SPDX-License-Identifier: MIT
 *
 * See access_fields.h. The atoms are gunicorn's, but for I, the request's id. A worker that crashes
 * makes its last lines with these functions, too: those of the members allocate only to join a
 * field that is repeated.
 */
#include "http/access_fields.h"

#include <assert.h>
#include <string.h>

#include "base/util.h"
#include "http/environ.h"
#include "http/environ_fields.h"
#include "http/request/syntax.h"

/* Inlined into the printers, where their kinds are constants. */
#define VALUE static inline struct access_value

VALUE number(uint64_t n)
{
    return (struct access_value){.kind = ACCESS_NUMBER, .number = n};
}

VALUE plain(const char *p, size_t len)
{
    return (struct access_value){.kind = ACCESS_PLAIN, .text = {p, len}};
}

VALUE text(const char *p, size_t len)
{
    return (struct access_value){.kind = p ? ACCESS_TEXT : ACCESS_ABSENT, .text = {p, len}};
}

VALUE text_of(const char *s)
{
    return text(s, s ? strlen(s) : 0);
}

/* ---- time and process -------------------------------------------------------------------- */

/* The text of the second, with the milliseconds of this line. */
VALUE get_time(struct access_line *line)
{
    static const size_t whole = sizeof("1994-11-06T08:49:37.") - 1, len = whole + 3 + 6;
    struct log_line ms = {.p = line->scratch + whole, .end = line->scratch + len};

    memcpy(line->scratch, line->second->iso, len);
    log_line_put_digits(&ms, line->facts->wall_ms % 1000, 3);
    return plain(line->scratch, len);
}

VALUE get_clf_time(struct access_line *line)
{
    return plain(line->second->clf, strlen(line->second->clf));
}

VALUE get_pid(struct access_line *line)
{
    return number((uint64_t)line->facts->pid);
}

VALUE get_pid_in_brackets(struct access_line *line)
{
    struct log_line l = {.p = line->scratch, .end = line->scratch + sizeof(line->scratch)};

    log_line_put(&l, "<", 1);
    log_line_put_u64(&l, (uint64_t)line->facts->pid);
    log_line_put(&l, ">", 1);
    return plain(line->scratch, (size_t)(l.p - line->scratch));
}

VALUE get_worker(struct access_line *line)
{
    return number(line->facts->worker);
}

VALUE get_s(struct access_line *line)
{
    return number(line->facts->duration_us / 1000000);
}

VALUE get_ms(struct access_line *line)
{
    return number(line->facts->duration_us / 1000);
}

VALUE get_us(struct access_line *line)
{
    return number(line->facts->duration_us);
}

VALUE get_decimal_s(struct access_line *line)
{
    struct log_line l = {.p = line->scratch, .end = line->scratch + sizeof(line->scratch)};

    log_line_put_u64(&l, line->facts->duration_us / 1000000);
    log_line_put(&l, ".", 1);
    log_line_put_digits(&l, line->facts->duration_us % 1000000, 6);
    return plain(line->scratch, (size_t)(l.p - line->scratch));
}

/* ---- the request ------------------------------------------------------------------------- */

VALUE get_absent(struct access_line *line)
{
    (void)line;
    return (struct access_value){.kind = ACCESS_ABSENT};
}

VALUE get_remote_addr(struct access_line *line)
{
    const char *addr = environ_remote_addr(line->env);

    return text_of(*addr != '\0' ? addr : NULL);
}

/* The id that was made for the request needs no escaping. */
VALUE get_request_id(struct access_line *line)
{
    const char *given = environ_given_id(line->env);

    return given ? text_of(given) : plain(environ_request_id(line->env), 16);
}

VALUE get_line(struct access_line *line)
{
    return text(line->env->request.line.p, line->env->request.line.len);
}

/* What the client sent, whatever the application made of SERVER_PROTOCOL. */
VALUE get_protocol(struct access_line *line)
{
    const struct request *r = &line->env->request;

    if (!r->method)
        return get_absent(line);
    return plain(r->minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1", 8);
}

/* A dead worker's may be any bytes, and has no length. */
VALUE get_method(struct access_line *line)
{
    const struct request *r = &line->env->request;

    return r->method && r->method_len > 0 ? text(r->method, r->method_len) : text_of(r->method);
}

VALUE get_path(struct access_line *line)
{
    return text(line->env->request.path.p, line->env->request.path.len);
}

VALUE get_query(struct access_line *line)
{
    return text(line->env->request.query.p, line->env->request.query.len);
}

/* A field by its name in lower case: what environ_field says, for less. */
static inline struct access_value find_field(struct access_line *line, const char *lower,
                                             size_t len)
{
    const struct request *r = &line->env->request;
    const struct field *found = NULL;

    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];

        if (f->name_len != len || !syntax_is(f->name, len, lower))
            continue;
        if (found)
            return text_of(environ_field(line->env, lower)); /* joined */
        found = f;
    }
    return found ? text(found->value, found->value_len) : get_absent(line);
}

VALUE get_referer(struct access_line *line)
{
    return find_field(line, "referer", 7);
}

VALUE get_user_agent(struct access_line *line)
{
    return find_field(line, "user-agent", 10);
}

VALUE get_named_field(struct access_line *line)
{
    return text_of(environ_field(line->env, line->name));
}

VALUE get_variable(struct access_line *line)
{
    return text_of(line->env->request.method ? gcorn_get(line->env, line->name) : NULL);
}

/* The user of Basic credentials (RFC 7617): base64 up to the colon. */
VALUE get_user(struct access_line *line)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *credentials = environ_field(line->env, "authorization");
    unsigned bits = 0, value = 0;
    size_t len = 0;

    if (!credentials || !ascii_same_n(credentials, "Basic ", 6))
        return get_absent(line);
    char *user = arena_alloc(&line->env->arena, strlen(credentials));
    for (const char *p = credentials + 6, *digit; *p && (digit = strchr(digits, *p)); p++) {
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
    return text(len > 0 ? user : NULL, len);
}

/* ---- the answer -------------------------------------------------------------------------- */

VALUE get_status(struct access_line *line)
{
    return number((uint64_t)line->env->response.status);
}

VALUE get_bytes(struct access_line *line)
{
    return number(line->env->response.body_len);
}

VALUE get_bytes_if_any(struct access_line *line)
{
    return line->env->response.body_len > 0 ? get_bytes(line) : get_absent(line);
}

VALUE get_ended(struct access_line *line)
{
    return text_of(line->env->response.ended);
}

VALUE get_answer_field(struct access_line *line)
{
    const struct response *r = &line->env->response;
    const char *p = r->fields, *end = p + r->fields_len;
    size_t name_len = strlen(line->name);

    if (ascii_same(line->name, "content-length") && r->content_length >= 0)
        return number((uint64_t)r->content_length);
    while (p && p < end) {
        const char *colon = memchr(p, ':', (size_t)(end - p));
        const char *cr = memchr(p, '\r', (size_t)(end - p));

        assert(colon && cr); /* as gcorn_start has written it */
        if ((size_t)(colon - p) == name_len && ascii_same_n(p, line->name, name_len))
            return text(colon + 2, (size_t)(cr - colon - 2));
        p = cr + 2;
    }
    return get_absent(line);
}

/* ---- the table --------------------------------------------------------------------------- */

/* ATOM(letter, get), NAMED_ATOM for one with a name in braces, MEMBER(name, get), and BOTH(letter,
 * name, get). Members are in the order of the line, in which what a client makes as long as it likes
 * (LONG) comes last; an OPTIONAL one is left out where it is absent. */
#define ACCESS_FIELDS(ATOM, NAMED_ATOM, MEMBER, BOTH)                                              \
    MEMBER("time", get_time, 0)                                                                    \
    BOTH('h', "remote_addr", get_remote_addr, 0)                                                   \
    BOTH('I', "request_id", get_request_id, 0)                                                     \
    MEMBER("pid", get_pid, 0)                                                                      \
    MEMBER("worker", get_worker, 0)                                                                \
    BOTH('s', "status", get_status, 0)                                                             \
    BOTH('B', "bytes", get_bytes, 0)                                                               \
    BOTH('D', "duration_us", get_us, 0)                                                            \
    MEMBER("ended", get_ended, OPTIONAL)                                                           \
    BOTH('H', "protocol", get_protocol, 0)                                                         \
    BOTH('m', "method", get_method, 0)                                                             \
    BOTH('U', "path", get_path, LONG)                                                              \
    BOTH('q', "query", get_query, LONG | KEEPS_EMPTY)                                              \
    BOTH('f', "referer", get_referer, LONG)                                                        \
    BOTH('a', "user_agent", get_user_agent, LONG)                                                  \
    ATOM('l', get_absent, 0)                                                                       \
    ATOM('u', get_user, 0)                                                                         \
    ATOM('t', get_clf_time, 0)                                                                     \
    ATOM('r', get_line, KEEPS_EMPTY)                                                               \
    ATOM('b', get_bytes_if_any, 0)                                                                 \
    ATOM('p', get_pid_in_brackets, 0)                                                              \
    ATOM('T', get_s, 0)                                                                            \
    ATOM('M', get_ms, 0)                                                                           \
    ATOM('L', get_decimal_s, 0)                                                                    \
    NAMED_ATOM('i', get_named_field, 0)                                                            \
    NAMED_ATOM('o', get_answer_field, KEEPS_EMPTY)                                                 \
    NAMED_ATOM('e', get_variable, 0)

enum { LONG = 1, OPTIONAL = 2, KEEPS_EMPTY = 4 };

/* ---- atoms ------------------------------------------------------------------------------- */

#define NOTHING(...)
#define ATOM_ROW(letter, get, flags)         {letter, false, ((flags)&KEEPS_EMPTY) != 0, get},
#define NAMED_ROW(letter, get, flags)        {letter, true, ((flags)&KEEPS_EMPTY) != 0, get},
#define BOTH_ROW(letter, member, get, flags) ATOM_ROW(letter, get, flags)

static const struct access_atom atoms[] = {ACCESS_FIELDS(ATOM_ROW, NAMED_ROW, NOTHING, BOTH_ROW)};

const struct access_atom *access_find_atom(char letter, bool is_named)
{
    for (size_t i = 0; i < ARRAY_LEN(atoms); i++) {
        if (atoms[i].letter == letter && atoms[i].is_named == is_named)
            return &atoms[i];
    }
    return NULL;
}

/* ---- members ----------------------------------------------------------------------------- */

enum {
    SHARE = 512, /* what a long value leaves to each that follows it */
    TAIL = 32,   /* for the end, which is never cut */
};

/* What is still to come of the line, besides the room in it. */
struct members {
    struct log_line *l;
    bool is_first;
    size_t long_left; /* long values */
};

/* The printers: which of them writes, what a row is and where it stands are constants in the end, so
 * each has its own code: a walk over a table at run time doubled the price of a line. */
#define PRINTER static inline __attribute__((always_inline))

/* Copies what there is room for, as the caller has made sure. */
PRINTER void copy(struct log_line *l, const char *text, size_t len)
{
    memcpy(l->p, text, len); /* a few moves where len is a constant */
    l->p += len;
}

/* The key is given as JSON has it before a text, a literal: ,"name":" */
PRINTER void put_key(struct members *m, bool json, const char *key, size_t name_len, bool is_quoted)
{
    if (json && m->is_first) {
        copy(m->l, "{", 1);
        copy(m->l, key + 1, name_len + 3 + is_quoted);
    } else if (json) {
        copy(m->l, key, name_len + 4 + is_quoted);
    } else {
        if (!m->is_first)
            copy(m->l, " ", 1);
        copy(m->l, key + 2, name_len);
        copy(m->l, "=", 1);
    }
    m->is_first = false;
}

/* In JSON after its key, which has the first quote. */
PRINTER void put_plain(struct log_line *l, bool json, const struct bytes *text)
{
    copy(l, text->p, text->len);
    if (json)
        copy(l, "\"", 1);
}

PRINTER void put_text(struct log_line *l, bool json, const struct bytes *text, size_t leave)
{
    if (text->len == 0)
        copy(l, "\"\"", 2);
    else if (json)
        log_line_put_quoted(l, text->p, text->len, leave);
    else
        log_line_put_value(l, text->p, text->len, leave);
}

/* The room of a key with its marks, and of a value that is not a text. */
PRINTER size_t fixed_len(size_t name_len, const struct access_value *value)
{
    enum { MARKS = 6, NUMBER_MAX = 20 };

    return name_len + MARKS + (value->kind == ACCESS_PLAIN ? value->text.len : NUMBER_MAX);
}

/* What is absent is null in JSON, and no pair in logfmt. A member for which there is no room, not even
 * cut, is left out. */
PRINTER void put_member(struct members *m, bool json, const char *key, size_t name_len,
                        const struct access_value *value, int flags)
{
    if (flags & LONG)
        m->long_left--;
    if (value->kind == ACCESS_ABSENT && (!json || (flags & OPTIONAL)))
        return;
    if ((size_t)(m->l->end - m->l->p) < fixed_len(name_len, value) + m->long_left * SHARE) {
        m->l->cut = true;
        return;
    }
    put_key(m, json, key, name_len, value->kind == ACCESS_PLAIN);
    switch (value->kind) {
    case ACCESS_ABSENT: copy(m->l, "null", 4); break;
    case ACCESS_NUMBER: log_line_put_u64(m->l, value->number); break;
    case ACCESS_PLAIN: put_plain(m->l, json, &value->text); break;
    case ACCESS_TEXT: put_text(m->l, json, &value->text, m->long_left * SHARE); break;
    }
}

#define COUNT_LONG(member, get, flags)              +(((flags)&LONG) != 0)
#define COUNT_LONG_BOTH(letter, member, get, flags) COUNT_LONG(member, get, flags)
#define PUT_MEMBER(member, get, flags)                                                             \
    value = get(line);                                                                             \
    put_member(&m, json, ",\"" member "\":\"", sizeof(member) - 1, &value, flags);
#define PUT_BOTH(letter, member, get, flags) PUT_MEMBER(member, get, flags)

PRINTER void put_members(struct log_line *l, bool json, struct access_line *line)
{
    struct members m = {l, true, ACCESS_FIELDS(NOTHING, NOTHING, COUNT_LONG, COUNT_LONG_BOTH)};
    struct access_value value;

    l->end -= TAIL;
    ACCESS_FIELDS(NOTHING, NOTHING, PUT_MEMBER, PUT_BOTH)
    assert(m.long_left == 0);
    l->end += TAIL;
    if (l->cut) {
        put_key(&m, json, ",\"truncated\":", sizeof("truncated") - 1, false); /* within TAIL */
        copy(l, "true", 4);
    }
}

void access_put_json(struct log_line *l, struct access_line *line)
{
    put_members(l, true, line);
    log_line_put(l, "}", 1);
}

void access_put_logfmt(struct log_line *l, struct access_line *line)
{
    put_members(l, false, line);
}
