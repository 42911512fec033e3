/* SPDX-License-Identifier: MIT
 *
 * See variables.h. A variable is looked for among those that were set, then in the table below,
 * then (HTTP_*) among the fields of the head.
 */
#include "http/variables.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "http/environ.h"
#include "http/environ_fields.h"
#include "http/request/syntax.h"

/* ---- variables --------------------------------------------------------------------------- */

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
    return environ_span_text(env, env->request.query);
}

static const char *var_raw_uri(struct gcorn_environ *env)
{
    return environ_span_text(env, env->request.target);
}

static const char *var_content_type(struct gcorn_environ *env)
{
    return environ_field_by_id(env, FIELD_CONTENT_TYPE);
}

/* Of a body in chunks how long it is decoded (RFC 3875 4.1.2, RFC 9112 7.1.3), where all of it has
 * come first. */
static const char *var_content_length(struct gcorn_environ *env)
{
    const struct request *r = &env->request;

    if (r->chunked && r->state == REQUEST_DONE && !r->ahead)
        return arena_printf(&env->arena, "%llu", (unsigned long long)r->body.len);
    return environ_field_by_id(env, FIELD_CONTENT_LENGTH);
}

static const char *var_protocol(struct gcorn_environ *env)
{
    return env->request.minor_version == 0 ? "HTTP/1.0" : "HTTP/1.1";
}

static const char *var_remote_addr(struct gcorn_environ *env)
{
    return environ_remote_addr(env);
}

/* No field says which port a client has that a proxy speaks for. */
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
    return host.len > 0 ? environ_span_text(env, host) : "localhost";
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
    bool changes; /* made each time, never kept */
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
    const char *value = environ_field_by_key(env, key + 5);
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

        if (!environ_field_is_visible(env, f))
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
    assert(count == 0);
}

const char *gcorn_variable_at(struct gcorn_environ *env, size_t i, const char **value)
{
    if (!env->listed)
        list_vars(env);
    if (i >= env->listed_count)
        return NULL;
    *value = env->listed[i].value;
    return env->listed[i].key;
}

/* The value of one parameter, len bytes at p, "name=value"; NULL: it has another name. *ok: the value
 * is well-formed. */
static const char *query_value(struct gcorn_environ *env, const char *p, size_t len,
                               const char *name, bool *ok)
{
    const char *equals = memchr(p, '=', len);
    size_t name_len = equals ? (size_t)(equals - p) : len;
    char *text = arena_alloc(&env->arena, len + 2);

    if (!syntax_escapes_ok(p, name_len))
        return NULL;
    (void)syntax_unescape(text, p, name_len, true);
    if (strcmp(text, name) != 0)
        return NULL;
    const char *value = equals ? equals + 1 : p + len;
    size_t value_len = (size_t)(p + len - value);
    *ok = syntax_escapes_ok(value, value_len);
    if (*ok)
        (void)syntax_unescape(text, value, value_len, true);
    return text;
}

int gcorn_query_value(struct gcorn_environ *env, const char *name, size_t i, const char **value)
{
    const char *p = gcorn_get(env, "QUERY_STRING");

    *value = NULL;
    while (p && *p != '\0') {
        size_t len = strcspn(p, "&");
        bool ok = false;
        const char *text = query_value(env, p, len, name, &ok);

        if (text && i-- == 0) {
            *value = ok ? text : NULL;
            errno = ok ? errno : EINVAL;
            return ok ? 1 : -1;
        }
        p += len + (p[len] == '&');
    }
    return 0;
}

const char *gcorn_query(struct gcorn_environ *env, const char *name)
{
    const char *value;

    (void)gcorn_query_value(env, name, 0, &value);
    return value;
}
