/* SPDX-License-Identifier: MIT
 *
 * See feed.h.
 */
#include "feed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/access_log.h"
#include "http/environ.h"
#include "http/exchange.h"

static const char *const chunks[] = {"one", "two", "", "three"};

static ssize_t next_chunk(struct gcorn_environ *env, void *state, const void **chunk)
{
    size_t *i = state;

    (void)env;
    *chunk = chunks[*i];
    return (ssize_t)strlen(chunks[(*i)++]);
}

static void count_defer(void *arg)
{
    (*(size_t *)arg)++;
}

static void close_body(struct gcorn_environ *env, void *state)
{
    (void)gcorn_get_ptr(env, "fuzz.state");
    (void)state;
}

static ssize_t fail_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    bool *first = state;

    (void)env;
    *chunk = "begin";
    if (*first)
        return -1;
    *first = true;
    return 5;
}

/* A large piece, which is handed out where it lies. */
static struct gcorn_body *large(struct gcorn_environ *env)
{
    char *data = gcorn_alloc(env, 20000);

    memset(data, 'L', 20000);
    return gcorn_body_bytes(env, data, 20000);
}

static void use_everything(struct gcorn_environ *env)
{
    static size_t deferred;
    char piece[16];

    gcorn_defer(env, count_defer, &deferred);
    gcorn_set(env, "fuzz.a", "1");
    gcorn_set(env, "REQUEST_METHOD", "SET");
    gcorn_set(env, "fuzz.a", NULL);
    gcorn_set_ptr(env, "fuzz.state", &deferred);
    gcorn_set_ptr(env, "fuzz.state", NULL);
    while (gcorn_input_read(env, piece, sizeof(piece)) > 0)
        continue;
    gcorn_log(env, GCORN_DEBUG, "%s", gcorn_printf(env, "%d", 1));
}

/* Begins the answer in the way that the query names, with fields out of the request. */
static void begin(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *way = gcorn_query(env, "a");
    const char *type = gcorn_get(env, "CONTENT_TYPE");
    struct gcorn_header_list *headers = gcorn_header_list_new(env, NULL);

    gcorn_header_append(headers, "X-A", "1");
    if (way)
        gcorn_header_set(headers, "x-a", way);
    else
        gcorn_header_remove(headers, "x-a");
    if (type)
        gcorn_header_append(headers, "Content-Type", type);
    if (way && gcorn_headers_get(gcorn_header_array(headers), "X-A"))
        gcorn_header_append(headers, way, "value");
    (void)gcorn_start(start_response, way && way[0] >= '1' && way[0] <= '9' ? way : "200 OK",
                      gcorn_header_array(headers));
}

/* Outcomes do not depend on the version of gcorn. */
static const char *shown_value(const char *key, const char *value)
{
    return strcmp(key, "SERVER_SOFTWARE") == 0 ? "gcorn" : value;
}

/* Echoes the environ and the body; the path chooses a kind of body. */
static struct gcorn_body *echo(struct gcorn_environ *env,
                               struct gcorn_start_response *start_response)
{
    static const struct gcorn_header counted[] = {
        {"Date", "now"}, {"Content-Length", "7"}, {NULL, NULL}};
    static const struct gcorn_header server[] = {{"Server", "mine"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO"), *key, *value;
    size_t len;
    const char *input = gcorn_input_all(env, &len);

    use_everything(env);
    begin(env, start_response);
    if (strcmp(path, "/204") == 0)
        (void)gcorn_start(start_response, "204 No", server);
    else if (strncmp(path, "/counted", 8) == 0)
        (void)gcorn_start(start_response, "200", counted);
    if (strcmp(path, "/iter") == 0 || strcmp(path, "/counted-iter") == 0)
        return gcorn_body_iter(env, next_chunk, close_body, gcorn_alloc(env, sizeof(size_t)));
    if (strcmp(path, "/fail") == 0)
        return gcorn_body_iter(env, fail_next, NULL, gcorn_alloc(env, 1));
    if (strcmp(path, "/large") == 0)
        return large(env);
    if (strcmp(path, "/counted") == 0 || strcmp(path, "/short") == 0)
        return gcorn_body_text(env, "twelve bytes");
    if (strcmp(path, "/null") == 0)
        return NULL;
    struct gcorn_body *body = gcorn_body_buffer(env);
    for (size_t i = 0; (key = gcorn_variable_at(env, i, &value)); i++)
        (void)gcorn_buffer_printf(body, "%s=%s\n", key, shown_value(key, value));
    (void)gcorn_buffer_write(body, input, len);
    return body;
}

struct feeder {
    struct http_context context;
    struct http_peer peer;
    struct access_log *accesslogs[3];
    struct gcorn_environ env;
};

static struct feeder *feeder(void)
{
    static const char *const trusted[] = {"127.0.0.1", "10.0.0.0/8", "::1"};
    static const char *const schemes[] = {"X-FORWARDED-PROTO=https", "X-FORWARDED-SSL=on"};
    static const char *const names[] = {"SCRIPT_NAME", "PATH_INFO"};
    static const struct forwarded_settings settings = {.forwarded_allow_ips = {trusted, 3},
                                                       .secure_scheme_headers = {schemes, 2},
                                                       .forwarder_headers = {names, 2},
                                                       .remote_addr = true};
    static const struct http_local local = {"127.0.0.1", "80", "http"};
    static struct feeder f;
    struct error err;

    if (f.accesslogs[0])
        return &f;
    log_set_level(LOG_LEVEL_CRITICAL);
    f.context.limits = (struct request_limits){
        .head = {.line_max = 200, .field_max = 900, .fields_max = 40, .head_max = 1500},
        .body_max = 4096,
        .chunk_ext_max = 64,
        .body_place.mem_max = 128,
        .body_place.dir = "/tmp"};
    http_context_set_date(&f.context, 1);
    f.peer = (struct http_peer){
        .local = &local, .remote_addr = "127.0.0.1", .remote_port = "1", .trust = FORWARDED_ALL};
    forwarded_rules_init(&f.context.forwarded, &settings);
    f.accesslogs[0] = access_log_new("json", &err);
    f.accesslogs[1] = access_log_new("logfmt", &err);
    f.accesslogs[2] =
        access_log_new("%(h)s %(u)s %(r)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(f)s %(a)s "
                       "%({x}i)s %({date}o)s %({content-length}o)s "
                       "%({PATH_INFO}e)s %%%(l)s%(t)s%(p)s%(T)s%(M)s%(D)s%(L)s%(B)s",
                       &err);
    return &f;
}

static void show_span(struct strbuf *out, const char *name, struct span s)
{
    strbuf_addf(out, "%s%s", name, s.p ? "=" : " absent");
    strbuf_add(out, s.p ? s.p : "", s.len);
    strbuf_addstr(out, "\n");
}

/* Before the application has run: all that the parser says of the request. */
static void show_request(struct strbuf *out, const struct request *r)
{
    strbuf_addf(out, "\n-- %d %d %s\n", r->state, r->refusal,
                r->refusal_reason ? r->refusal_reason : "");
    strbuf_addf(out, "foreign=%d is_head=%d 1.%d announced=%llu body=%llu\n", r->foreign,
                r->is_head, r->minor_version, (unsigned long long)request_announced(r),
                (unsigned long long)r->body.len);
    show_span(out, "line", r->line);
    if (r->state != REQUEST_DONE)
        return;
    strbuf_addf(out, "keep_alive=%d asks_close=%d expects_continue=%d chunked=%d method=%s\n",
                r->keep_alive, r->asks_close, r->expects_continue, r->chunked, r->method);
    show_span(out, "target", r->target);
    show_span(out, "path", r->path);
    show_span(out, "query", r->query);
    show_span(out, "authority", r->authority);
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];

        strbuf_addf(out, "%d ", f->id);
        strbuf_add(out, f->name, f->name_len);
        show_span(out, "", (struct span){f->value, f->value_len});
    }
}

static void show_environ(struct strbuf *out, struct gcorn_environ *env)
{
    const char *key, *value;

    for (size_t i = 0; (key = gcorn_variable_at(env, i, &value)); i++)
        strbuf_addf(out, "%s=%s\n", key, shown_value(key, value));
}

static void add_answer(void *state, const char *data, size_t len)
{
    strbuf_add(state, data, len);
}

/* Nothing wakes the application: it is asked again at once. */
static bool wait_for_nothing(void *state, struct gcorn_environ *env)
{
    (void)state;
    (void)env;
    return true;
}

/* The request is complete or refused: what came of it, as text. */
static bool finish(struct feeder *f, struct strbuf *result)
{
    const struct access_facts facts = {0};
    struct gcorn_environ *env = &f->env;
    const struct request *r = &env->request;
    const struct exchange_sink sink = {.write = add_answer, .wait = wait_for_nothing, .state = result};
    bool goes_on = r->state == REQUEST_DONE;

    show_request(result, r);
    (void)exchange_run(env, echo, &sink);
    for (size_t i = 0; i < ARRAY_LEN(f->accesslogs); i++) {
        char line[ACCESS_LOG_LINE_MAX];

        strbuf_add(result, line, access_log_line(f->accesslogs[i], env, &facts, line));
    }
    if (goes_on)
        show_environ(result, env);
    goes_on = goes_on && r->keep_alive;
    environ_reset(env);
    environ_init(env, &f->context, &f->peer, 1);
    return goes_on;
}

static void feed(const char *stream, size_t len, feed_cut *cut, uint64_t seed,
                 struct strbuf *result)
{
    struct feeder *f = feeder();
    bool goes_on = true;
    size_t at = 0;

    environ_init(&f->env, &f->context, &f->peer, 1);
    while (at < len && goes_on) {
        size_t n = cut(&seed);
        if (n > len - at)
            n = len - at;
        /* a copy of its own size, so that the sanitizer sees every byte read too many */
        char *piece = malloc(n);
        memcpy(piece, stream + at, n);
        size_t used = request_feed(&f->env.request, piece, n);
        free(piece);
        if (used > n || (used < n && f->env.request.state < REQUEST_DONE))
            abort();
        at += used;
        if (f->env.request.state >= REQUEST_DONE)
            goes_on = finish(f, result);
    }
    strbuf_addf(result, "\n-- %d %d\n", f->env.request.state, request_has_begun(&f->env.request));
    environ_reset(&f->env);
}

static size_t cut_never(uint64_t *state)
{
    (void)state;
    return SIZE_MAX;
}

static size_t cut_each(uint64_t *state)
{
    (void)state;
    return 1;
}

static size_t cut_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return 1 + (size_t)(*state >> 60) * (*state >> 33 & 3);
}

static void compare(const struct strbuf *a, const struct strbuf *b, const char *how)
{
    if (a->len == b->len && memcmp(a->data, b->data, a->len) == 0)
        return;
    fprintf(stderr, "whole:\n%s\n%s:\n%s\n", a->data, how, b->data);
    abort();
}

void feed_all_ways(const char *prefix, const uint8_t *data, size_t len, struct strbuf *text)
{
    struct strbuf stream = {0}, whole = {0}, other = {0};
    uint64_t seed = len;

    for (size_t i = 0; i < len; i++)
        seed = seed * 31 + data[i];
    strbuf_addstr(&stream, prefix);
    strbuf_add(&stream, data, len);
    feed(stream.data, stream.len, cut_never, 0, &whole);
    feed(stream.data, stream.len, cut_each, 0, &other);
    compare(&whole, &other, "byte by byte");
    strbuf_reset(&other);
    feed(stream.data, stream.len, cut_random, seed, &other);
    compare(&whole, &other, "cut at random");
    strbuf_add(text, whole.data, whole.len);
    strbuf_release(&stream);
    strbuf_release(&whole);
    strbuf_release(&other);
}
