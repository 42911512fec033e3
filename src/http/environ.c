/* SPDX-License-Identifier: MIT
 *
 * See environ.h. A variable is looked for among those that were set, then among the names below,
 * then (HTTP_*) among the fields of the head, whose values get their NUL in place: the head is ours
 * and llhttp is done with it.
 */
#include "http/environ.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/request/syntax.h"

const char gcorn_abi_1 = 1;

/* Not inlined, as its locals would cost every request a stack check. */
static void __attribute__((noinline)) render_date(struct http_context *c, time_t wall)
{
    char date[TIME_TEXT_SIZE];

    (void)time_put_http(date, wall);
    c->date = wall;
    c->common_fields_len = (size_t)snprintf(c->common_fields, sizeof(c->common_fields),
                                            "\r\nServer: gcorn\r\nDate: %s\r\n", date);
}

void http_context_set_date(struct http_context *c, time_t wall)
{
    if (wall != c->date || c->common_fields_len == 0)
        render_date(c, wall);
}

void environ_init(struct gcorn_environ *env, const struct http_context *context,
                  const struct http_peer *peer, uint64_t id)
{
    request_init(&env->request, &context->limits, &env->arena);
    env->request.rules = &context->forwarded;
    env->request.trust = peer->trust;
    response_init(&env->response);
    framing_h1_init(&env->h1);
    env->response.start.state = env;
    env->context = context;
    env->peer = peer;
    env->id = id;
    env->was_run = false;
    env->input_offset = 0;
    env->vars = NULL;
    env->objects = NULL;
    env->deferred = NULL;
    env->listed = NULL;
    env->listed_count = 0;
}

bool environ_has_code(const struct gcorn_environ *env)
{
    const struct gcorn_body *body = env->response.bodies;

    while (body && !body_runs_app(body))
        body = body->older;
    return body || env->deferred;
}

void environ_reset(struct gcorn_environ *env)
{
    response_close(env);
    while (env->deferred) {
        struct environ_deferred *d = env->deferred;

        env->deferred = d->next;
        d->fn(d->arg);
        response_close(env); /* bodies that it has made */
    }
    request_release(&env->request);
    arena_reset(&env->arena);
}

void environ_release(struct gcorn_environ *env)
{
    response_release(&env->response);
    arena_release(&env->arena);
}

/* ---- variables --------------------------------------------------------------------------- */

static const char *span_text(struct gcorn_environ *env, struct span s)
{
    return arena_strndup(&env->arena, s.p, s.len);
}

static const char *var_method(struct gcorn_environ *env)
{
    return env->request.method;
}

static const char *var_script_name(struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f && f->script_name ? f->script_name : "";
}

static const char *var_path(struct gcorn_environ *env)
{
    const struct request *r = &env->request;

    if (r->forwarded && r->forwarded->script_name)
        return r->forwarded->path_info;
    char *path = arena_alloc(&env->arena, r->path.len + 1);

    (void)syntax_unescape(path, r->path.p, r->path.len, false);
    return path;
}

static const char *var_query(struct gcorn_environ *env)
{
    return span_text(env, env->request.query);
}

static const char *var_raw_uri(struct gcorn_environ *env)
{
    return span_text(env, env->request.target);
}

static const char *field_text(struct gcorn_environ *env, enum field_id id)
{
    const struct request *r = &env->request;

    for (size_t i = 0; i < r->field_count; i++) {
        struct field *f = &r->fields[i];

        if (f->id == id) {
            f->value[f->value_len] = '\0';
            return f->value;
        }
    }
    return NULL;
}

static const char *var_content_type(struct gcorn_environ *env)
{
    return field_text(env, FIELD_CONTENT_TYPE);
}

/* Of a body in chunks how long it is decoded (RFC 3875 4.1.2, RFC 9112 7.1.3). */
static const char *var_content_length(struct gcorn_environ *env)
{
    const struct request *r = &env->request;

    if (r->chunked && r->state == REQUEST_DONE)
        return arena_printf(&env->arena, "%llu", (unsigned long long)r->body.len);
    return field_text(env, FIELD_CONTENT_LENGTH);
}

static const char *var_protocol(struct gcorn_environ *env)
{
    return env->request.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

const char *environ_remote_addr(const struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f && f->remote_addr ? f->remote_addr : env->peer->remote_addr;
}

static const char *var_remote_addr(struct gcorn_environ *env)
{
    return environ_remote_addr(env);
}

/* Nobody says which port of its own a client behind a proxy has. */
static const char *var_remote_port(struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f && f->remote_addr ? "" : env->peer->remote_port;
}

static const char *var_scheme(struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f && f->scheme ? f->scheme : env->peer->local->scheme;
}

/* The server as the client called it: an absolute target's authority, or Host; empty when it said
 * neither. */
static struct span called_host(const struct request *r)
{
    if (r->authority.len > 0)
        return r->authority;
    for (size_t i = 0; i < r->field_count; i++) {
        if (r->fields[i].id == FIELD_HOST)
            return (struct span){r->fields[i].value, r->fields[i].value_len};
    }
    return (struct span){NULL, 0};
}

/* A unix socket has neither name nor port that a client could use, so they are what the client used
 * (gunicorn does the same). They are never empty (RFC 3875 4.1.14, 4.1.15). */
static const char *var_server_name(struct gcorn_environ *env)
{
    const char *name = env->peer->local->server_name, *port;
    struct span host = called_host(&env->request);
    size_t port_len;

    if (*name != '\0')
        return name;
    if (host.len > 0)
        host.len = syntax_split_authority(host.p, host.len, &port, &port_len);
    return host.len > 0 ? span_text(env, host) : "localhost";
}

static const char *var_server_port(struct gcorn_environ *env)
{
    const char *port = env->peer->local->server_port;
    struct span host = called_host(&env->request);
    size_t port_len = 0;

    if (*port != '\0')
        return port;
    if (host.len > 0)
        (void)syntax_split_authority(host.p, host.len, &port, &port_len);
    if (port_len > 0)
        return arena_strndup(&env->arena, port, port_len);
    return strcmp(var_scheme(env), "https") == 0 ? "443" : "80";
}

static const char *var_server_software(struct gcorn_environ *env)
{
    (void)env;
    return "gcorn/" GCORN_VERSION;
}

static const char *var_wsgi_version(struct gcorn_environ *env)
{
    (void)env;
    return "1.0";
}

static const char *var_multithread(struct gcorn_environ *env)
{
    return env->context->multithread ? "1" : "0";
}

static const char *var_multiprocess(struct gcorn_environ *env)
{
    return env->context->multiprocess ? "1" : "0";
}

static const char *var_run_once(struct gcorn_environ *env)
{
    (void)env;
    return "0";
}

const char *environ_given_id(const struct gcorn_environ *env)
{
    const struct forwarded *f = env->request.forwarded;

    return f ? f->request_id : NULL;
}

const char *environ_request_id(struct gcorn_environ *env)
{
    static const char digits[] = "0123456789abcdef";
    const char *given = environ_given_id(env);

    if (given)
        return given;
    /* each time anew, but in one place: an endless stream may log for ever */
    for (int i = 0; i < 16; i++)
        env->id_text[i] = digits[env->id >> (60 - 4 * i) & 15];
    env->id_text[16] = '\0';
    return env->id_text;
}

/* The two facts of the answer, for gcorn_on_post_request. */
static const char *var_status(struct gcorn_environ *env)
{
    if (env->response.phase == RESPONSE_OPEN)
        return NULL;
    return arena_printf(&env->arena, "%d", env->response.status);
}

static const char *var_bytes_sent(struct gcorn_environ *env)
{
    if (env->response.phase == RESPONSE_OPEN)
        return NULL;
    return arena_printf(&env->arena, "%llu", (unsigned long long)env->response.body_len);
}

/* For the access log. */
static const char *var_ended(struct gcorn_environ *env)
{
    return env->response.ended;
}

static const struct {
    const char *key;
    const char *(*make)(struct gcorn_environ *env);
    bool changes; /* made anew each time */
} variables[] = {
    {"REQUEST_METHOD", var_method, false},
    {"SCRIPT_NAME", var_script_name, false},
    {"PATH_INFO", var_path, false},
    {"QUERY_STRING", var_query, false},
    {"RAW_URI", var_raw_uri, false},
    {"CONTENT_TYPE", var_content_type, false},
    {"CONTENT_LENGTH", var_content_length, false},
    {"SERVER_PROTOCOL", var_protocol, false},
    {"SERVER_NAME", var_server_name, false},
    {"SERVER_PORT", var_server_port, false},
    {"SERVER_SOFTWARE", var_server_software, false},
    {"REMOTE_ADDR", var_remote_addr, false},
    {"REMOTE_PORT", var_remote_port, false},
    {"wsgi.version", var_wsgi_version, false},
    {"wsgi.url_scheme", var_scheme, false},
    {"wsgi.multithread", var_multithread, false},
    {"wsgi.multiprocess", var_multiprocess, false},
    {"wsgi.run_once", var_run_once, false},
    {"gcorn.request_id", environ_request_id, false},
    {"gcorn.status", var_status, true},
    {"gcorn.bytes_sent", var_bytes_sent, true},
    {"gcorn.ended", var_ended, true},
};

/* ---- fields ------------------------------------------------------------------------------ */

static char key_char(char c)
{
    if (c >= 'a' && c <= 'z')
        return (char)(c & ~0x20);
    return c == '-' ? '_' : c;
}

void environ_key(char *out, const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = key_char(name[i]);
    out[len] = '\0';
}

/* A name with '_' would be the same key as one with '-', and a proxy that strips X-Real-IP lets
 * X_Real_IP pass: such fields are dropped, unless a setting lets them pass. CONTENT_TYPE and
 * CONTENT_LENGTH have keys of their own (RFC 3875 4.1). */
static bool field_is_visible(const struct gcorn_environ *env, const struct field *f)
{
    if (f->id == FIELD_CONTENT_TYPE || f->id == FIELD_CONTENT_LENGTH)
        return false;
    return !memchr(f->name, '_', f->name_len) ||
           forwarded_passes(&env->context->forwarded, env->peer->trust, f->name, f->name_len);
}

/* What a field is asked for by: the key without its HTTP_, or its name. */
struct field_name {
    const char *text;
    size_t len;
    bool is_key;
};

static bool is_named(const struct field_name *name, const char *text, size_t len)
{
    if (len != name->len)
        return false;
    for (size_t i = 0; i < len; i++) {
        char wanted = name->is_key ? name->text[i] : key_char(name->text[i]);

        if (key_char(text[i]) != wanted)
            return false;
    }
    return true;
}

static bool field_is_called(const struct gcorn_environ *env, const struct field *f,
                            const struct field_name *name)
{
    return is_named(name, f->name, f->name_len) && field_is_visible(env, f);
}

/* Repeated fields are one list (RFC 9110 5.3); cookies have a separator of their own (RFC 6265
 * 4.2.1). */
static const char *join_fields(struct gcorn_environ *env, const struct field_name *name)
{
    const struct request *r = &env->request;
    bool is_cookie = is_named(name, "cookie", 6);
    size_t room = 1;

    for (size_t i = 0; i < r->field_count; i++) {
        if (field_is_called(env, &r->fields[i], name))
            room += r->fields[i].value_len + 2;
    }
    char *joined = arena_alloc(&env->arena, room), *p = joined;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];

        if (!field_is_called(env, f, name))
            continue;
        if (p > joined) {
            *p++ = is_cookie ? ';' : ',';
            *p++ = ' ';
        }
        memcpy(p, f->value, f->value_len);
        p += f->value_len;
    }
    *p = '\0';
    return joined;
}

/* An absolute target's authority stands for Host. */
static const char *get_field(struct gcorn_environ *env, const struct field_name *name)
{
    const struct request *r = &env->request;
    struct field *found = NULL;
    bool repeated = false;

    if (r->authority.len > 0 && is_named(name, "host", 4))
        return span_text(env, r->authority);
    for (size_t i = 0; i < r->field_count; i++) {
        if (!field_is_called(env, &r->fields[i], name))
            continue;
        repeated = found != NULL;
        found = &r->fields[i];
        if (repeated)
            return join_fields(env, name);
    }
    if (!found)
        return NULL;
    found->value[found->value_len] = '\0';
    return found->value;
}

const char *environ_field(struct gcorn_environ *env, const char *lower)
{
    const struct field_name name = {.text = lower, .len = strlen(lower)};

    if (is_named(&name, "content-type", 12))
        return var_content_type(env);
    if (is_named(&name, "content-length", 14))
        return field_text(env, FIELD_CONTENT_LENGTH);
    return get_field(env, &name);
}

/* ---- get, set, each ---------------------------------------------------------------------- */

static struct environ_var *find_var(const struct gcorn_environ *env, const char *key)
{
    struct environ_var *v = env->vars;

    while (v && strcmp(v->key, key) != 0)
        v = v->next;
    return v;
}

static void keep_var(struct gcorn_environ *env, const char *key, const char *value)
{
    struct environ_var *v = arena_alloc(&env->arena, sizeof(*v));

    *v = (struct environ_var){.key = key, .value = value, .next = env->vars};
    env->vars = v;
}

static const char *make_value(struct gcorn_environ *env, const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(variables); i++) {
        if (strcmp(key, variables[i].key) != 0)
            continue;
        const char *value = variables[i].make(env);
        if (!variables[i].changes)
            keep_var(env, variables[i].key, value);
        return value;
    }
    if (strncmp(key, "HTTP_", 5) != 0)
        return NULL;
    const struct field_name name = {.text = key + 5, .len = strlen(key + 5), .is_key = true};
    const char *value = get_field(env, &name);
    if (value)
        keep_var(env, arena_strdup(&env->arena, key), value);
    return value;
}

const char *gcorn_get(struct gcorn_environ *env, const char *key)
{
    const struct environ_var *v = find_var(env, key);

    return v ? v->value : make_value(env, key);
}

void gcorn_set(struct gcorn_environ *env, const char *key, const char *value)
{
    struct environ_var *v = find_var(env, key);
    const char *copy = value ? arena_strdup(&env->arena, value) : NULL;

    if (v)
        v->value = copy;
    else
        keep_var(env, arena_strdup(&env->arena, key), copy);
    env->listed = NULL;
}

void *gcorn_get_ptr(struct gcorn_environ *env, const char *key)
{
    for (const struct environ_object *o = env->objects; o; o = o->next) {
        if (strcmp(o->key, key) == 0)
            return o->value;
    }
    return NULL;
}

void gcorn_set_ptr(struct gcorn_environ *env, const char *key, void *value)
{
    struct environ_object *o = env->objects;

    while (o && strcmp(o->key, key) != 0)
        o = o->next;
    if (!o) {
        o = arena_alloc(&env->arena, sizeof(*o));
        *o = (struct environ_object){.key = arena_strdup(&env->arena, key), .next = env->objects};
        env->objects = o;
    }
    o->value = value;
}

/* Makes every variable, so that the list of those that are kept is the whole environ. */
static void make_all(struct gcorn_environ *env)
{
    const struct request *r = &env->request;

    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        (void)gcorn_get(env, variables[i].key);
    (void)gcorn_get(env, "HTTP_HOST"); /* may be in the target alone */
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        char *key = arena_alloc(&env->arena, 5 + (size_t)f->name_len + 1);

        if (!field_is_visible(env, f))
            continue;
        memcpy(key, "HTTP_", 5);
        environ_key(key + 5, f->name, f->name_len);
        (void)gcorn_get(env, key);
    }
}

static void list_vars(struct gcorn_environ *env)
{
    size_t count = 0;

    make_all(env);
    for (const struct environ_var *v = env->vars; v; v = v->next)
        count += v->value != NULL;
    env->listed = arena_alloc(&env->arena, (count + 1) * sizeof(*env->listed));
    env->listed_count = count;
    for (const struct environ_var *v = env->vars; v; v = v->next) {
        if (v->value)
            env->listed[--count] = *v;
    }
}

const char *gcorn_each(struct gcorn_environ *env, size_t i, const char **value)
{
    if (!env->listed)
        list_vars(env);
    if (i >= env->listed_count)
        return NULL;
    *value = env->listed[i].value;
    return env->listed[i].key;
}

const char *gcorn_query(struct gcorn_environ *env, const char *name)
{
    const char *p = gcorn_get(env, "QUERY_STRING");

    while (p && *p != '\0') {
        size_t len = strcspn(p, "&");
        const char *equals = memchr(p, '=', len);
        size_t name_len = equals ? (size_t)(equals - p) : len;
        char *text = arena_alloc(&env->arena, len + 2);

        if (syntax_escapes_ok(p, name_len)) {
            (void)syntax_unescape(text, p, name_len, true);
            if (strcmp(text, name) == 0) {
                const char *value = equals ? equals + 1 : p + len;
                size_t value_len = (size_t)(p + len - value);

                if (!syntax_escapes_ok(value, value_len))
                    return NULL;
                (void)syntax_unescape(text, value, value_len, true);
                return text;
            }
        }
        p += len + (p[len] == '&');
    }
    return NULL;
}

/* ---- input ------------------------------------------------------------------------------- */

ssize_t gcorn_read(struct gcorn_environ *env, void *buf, size_t size)
{
    ssize_t n = spool_read(&env->request.body, env->input_offset, buf, size);

    if (n > 0)
        env->input_offset += (uint64_t)n;
    return n;
}

const char *gcorn_input(struct gcorn_environ *env, size_t *len)
{
    const char *data = spool_map(&env->request.body);

    if (data && len)
        *len = (size_t)env->request.body.len;
    return data;
}

/* ---- memory and log ---------------------------------------------------------------------- */

void *gcorn_alloc(struct gcorn_environ *env, size_t size)
{
    return memset(arena_alloc(&env->arena, size), 0, size);
}

char *gcorn_printf(struct gcorn_environ *env, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = arena_vprintf(&env->arena, fmt, ap);
    va_end(ap);
    return text;
}

void gcorn_defer(struct gcorn_environ *env, void (*fn)(void *arg), void *arg)
{
    struct environ_deferred *d = arena_alloc(&env->arena, sizeof(*d));

    if (!fn) {
        log_request(LOG_LEVEL_ERROR, environ_request_id(env),
                    "gcorn_defer: fn is NULL: nothing is deferred");
        return;
    }
    *d = (struct environ_deferred){.fn = fn, .arg = arg, .next = env->deferred};
    env->deferred = d;
}

void gcorn_log(struct gcorn_environ *env, enum gcorn_level level, const char *fmt, ...)
{
    enum log_level to = level > GCORN_CRITICAL ? LOG_LEVEL_CRITICAL : (enum log_level)level;
    char text[LOG_LINE_MAX];
    va_list ap;

    if (!log_wants(to))
        return;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, ap); /* a longer text is cut, as log lines are */
    va_end(ap);
    if (len > 0 && len < (int)sizeof(text) && text[len - 1] == '\n') /* a line ends by itself */
        text[len - 1] = '\0';
    log_request(to, env ? environ_request_id(env) : NULL, "%s", text);
}
