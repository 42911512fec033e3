/* SPDX-License-Identifier: MIT
 *
 * Requests, rule by rule (RFC 9112 sections 2 to 7 and 9, RFC 9110, http-guards). Each row of the
 * tables is fed whole, byte by byte, cut in two at every place and cut at random; each piece lies
 * in a buffer of just its size that is gone afterwards. Whatever the cut, the outcome is the same
 * text.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "http/request/request.h"
#include "http/request/syntax.h"
#include "request_list.h"

enum { MORE = -1, DONE = 0 };

static char dir[64];

enum { CHUNK_EXT_MAX = 4096 };

static struct request_limits normal = {
    .head = {.line_max = 4094, .field_max = 8190, .fields_max = 100, .head_max = 65536},
    .body_max = 1 << 20,
    .chunk_ext_max = CHUNK_EXT_MAX,
    .body_place.mem_max = 16, /* so that short bodies are spooled too */
    .body_place.dir = dir,
};

/* So small that a row can pass them. */
static struct request_limits tight = {
    .head = {.line_max = 20, .field_max = 24, .fields_max = 3, .head_max = 70},
    .body_max = 10,
    .body_place.mem_max = 4,
    .chunk_ext_max = CHUNK_EXT_MAX,
    .body_place.dir = dir,
};

static struct request_limits head_only = {.head = {.head_max = 40}, .body_max = 0};

struct row {
    const char *raw;
    size_t len;
    int status;         /* DONE, MORE, or of the refusal */
    const char *line;   /* method target path query version; NULL: not looked at */
    const char *fields; /* "name: value\n" ..., as they came; NULL: not looked at */
    const char *body;
    size_t body_len;
    size_t rest; /* how many bytes at the end belong to the next request */
    const struct request_limits *limits;
};

#define RAW(text) (text), sizeof(text) - 1

#define ROW(want, text, ...)                                                                       \
    {                                                                                              \
        .raw = (text), .len = sizeof(text) - 1, .status = (want), ##__VA_ARGS__                    \
    }

/* A complete request: how its line is read, its fields; one with this body, and how many bytes
 * follow it; one that is refused. */
#define OK(text, ...) ROW(DONE, text, ##__VA_ARGS__)
#define BODY(text, want, ...)                                                                      \
    ROW(DONE, text, .body = (want), .body_len = sizeof(want) - 1, ##__VA_ARGS__)
#define BAD(status, text) ROW(status, text)
/* One field, or several, in an otherwise good request. */
#define FIELDS(text)            "GET / HTTP/1.1\r\nHost: h\r\n" text "\r\n"
#define BAD_FIELD(status, text) BAD(status, FIELDS(text "\r\n"))
#define HOST(text)              OK("GET / HTTP/1.1\r\nHost:" text "\r\n\r\n")
#define BAD_HOST(text)          BAD(400, "GET / HTTP/1.1\r\nHost:" text "\r\n\r\n")
#define CHUNKED                 "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

/* ---- one outcome as a text ------------------------------------------------------------------- */

static void add_span(struct strbuf *out, const char *name, struct span s)
{
    strbuf_addf(out, "%s=", name);
    if (s.len > 0)
        strbuf_add(out, s.p, s.len);
    strbuf_addch(out, '\n');
}

static void add_field(struct strbuf *out, const char *what, const struct field *f)
{
    strbuf_addf(out, "%s %d ", what, f->id);
    strbuf_add(out, f->name, f->name_len);
    strbuf_addstr(out, ": ");
    strbuf_add(out, f->value, f->value_len);
    strbuf_addch(out, '\n');
}

static void add_body(struct strbuf *out, struct request *r)
{
    size_t len = (size_t)r->body.len;
    char *room = strbuf_grow(out, len);

    for (size_t at = 0; at < len;) {
        ssize_t n = spool_read(&r->body, at, room + at, len - at);

        assert_true(n > 0);
        at += (size_t)n;
    }
    out->len += len;
    out->data[out->len] = '\0';
}

/* All that a reader of struct request may see. What a refused request looks like inside is nobody's
 * business. */
static void describe(struct request *r, size_t used, struct strbuf *out)
{
    if (r->state == REQUEST_REFUSED) {
        assert_true(r->refusal >= 400 && r->refusal_reason && *r->refusal_reason);
        /* a field may be too long by itself and together with others: no matter which is said */
        strbuf_addf(out, "refused %d %s\n", r->refusal, r->refusal == 431 ? "" : r->refusal_reason);
        return;
    }
    strbuf_addf(out, "state %d used %zu begun %d in body %d\n", r->state, used,
                request_has_begun(r), request_in_body(r));
    if (r->state == REQUEST_HEAD)
        return;
    strbuf_addf(out, "method=%s head=%d minor=%d keep=%d asks_close=%d expects=%d chunked=%d\n",
                r->method, r->is_head, r->minor_version, r->keep_alive, r->asks_close,
                r->expects_continue, r->chunked);
    add_span(out, "target", r->target);
    add_span(out, "path", r->path);
    add_span(out, "query", r->query);
    add_span(out, "authority", r->authority);
    for (size_t i = 0; i < r->field_count; i++)
        add_field(out, "field", &r->fields[i]);
    for (size_t i = 0; i < r->trailer_count; i++)
        add_field(out, "trailer", &r->trailer_fields[i]);
    strbuf_addf(out, "body %llu ", (unsigned long long)r->body.len);
    add_body(out, r);
}

static const char *outcome_of(struct request *r, size_t used, struct strbuf *out)
{
    strbuf_reset(out);
    describe(r, used, out);
    return out->data;
}

/* ---- feeding --------------------------------------------------------------------------------- */

struct run {
    struct arena arena;
    struct request request;
    size_t used;
};

static void run_begin(struct run *run, const struct request_limits *limits)
{
    *run = (struct run){0};
    request_init(&run->request, limits, &run->arena);
}

static void run_end(struct run *run)
{
    request_release(&run->request);
    arena_release(&run->arena);
}

static bool is_open(const struct run *run)
{
    return run->request.state < REQUEST_DONE;
}

/* One piece, unless the request has ended. While it has not, every byte must be taken. */
static void run_feed(struct run *run, const char *data, size_t len)
{
    if (!is_open(run))
        return;
    char *piece = malloc(len ? len : 1);
    assert_non_null(piece);
    memcpy(piece, data, len);
    size_t used = request_feed(&run->request, piece, len);
    memset(piece, 0xdd, len);
    free(piece);
    assert_true(used <= len);
    if (is_open(run))
        assert_int_equal(used, len);
    run->used += used;
}

static unsigned random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * 1103515245u + 12345u;
    return (random_state >> 16) % n;
}

enum { WHOLE, BYTES, RANDOM, TWO };

static void run_cut(struct run *run, const char *raw, size_t len, int how, size_t at)
{
    switch (how) {
    case WHOLE: run_feed(run, raw, len); break;
    case TWO:
        run_feed(run, raw, at);
        run_feed(run, raw, 0);
        run_feed(run, raw + at, len - at);
        break;
    default:
        for (size_t i = 0; i < len;) {
            size_t n = how == BYTES ? 1 : 1 + random_below(12);

            n = n < len - i ? n : len - i;
            run_feed(run, raw + i, n);
            i += n;
        }
    }
}

/* Runs it in one cut and holds the outcome against the first one's. */
static void compare_cut(const char *raw, size_t len, const struct request_limits *limits, int how,
                        size_t at, const char *want)
{
    struct run run;
    struct strbuf got = {0};

    run_begin(&run, limits);
    run_cut(&run, raw, len, how, at);
    if (strcmp(outcome_of(&run.request, run.used, &got), want) != 0)
        fail_msg("%.*s\ncut %d at %zu gives:\n%s\nwhole it gives:\n%s", (int)len, raw, how, at,
                 got.data, want);
    strbuf_release(&got);
    run_end(&run);
}

static void check_row(const struct row *row, const struct run *run, struct strbuf *text)
{
    const struct request *r = &run->request;
    int status = r->state == REQUEST_REFUSED ? r->refusal : r->state == REQUEST_DONE ? DONE : MORE;

    if (status != row->status)
        fail_msg("%s\n(%zu bytes) gives %d, not %d:\n%s", row->raw, row->len, status, row->status,
                 text->data);
    if (status != DONE)
        return;
    if (run->used + row->rest != row->len)
        fail_msg("%s\nused %zu of %zu", row->raw, run->used, row->len);
    if (row->line) {
        struct strbuf line = {0};

        strbuf_addf(&line, "%s %.*s %.*s %.*s %d", r->method, (int)r->target.len, r->target.p,
                    (int)r->path.len, r->path.p, (int)r->query.len, r->query.p, r->minor_version);
        assert_string_equal(line.data, row->line);
        strbuf_release(&line);
    }
    if (row->fields) {
        struct strbuf fields = {0};

        strbuf_addstr(&fields, "");
        for (size_t i = 0; i < r->field_count; i++)
            strbuf_addf(&fields, "%.*s: %.*s\n", (int)r->fields[i].name_len, r->fields[i].name,
                        (int)r->fields[i].value_len, r->fields[i].value);
        assert_string_equal(fields.data, row->fields);
        strbuf_release(&fields);
    }
    if (r->body.len != row->body_len)
        fail_msg("%s\nbody of %llu bytes, not %zu", row->raw, (unsigned long long)r->body.len,
                 row->body_len);
    if (row->body_len > 0) /* describe() put it last */
        assert_memory_equal(text->data + text->len - row->body_len, row->body, row->body_len);
}

/* A complete request does not end before its last byte, and does not care what follows it. */
static void check_extent(const struct row *row, const char *want)
{
    static const char junk[] = "\0\r\nGET \xff HTTP/1.1\r\n\r\n";
    size_t len = row->len - row->rest;
    struct strbuf longer = {0};
    struct run run;

    run_begin(&run, row->limits ? row->limits : &normal);
    run_feed(&run, row->raw, len - 1);
    assert_true(is_open(&run));
    run_end(&run);

    strbuf_add(&longer, row->raw, len);
    strbuf_add(&longer, junk, sizeof(junk) - 1);
    compare_cut(longer.data, longer.len, row->limits ? row->limits : &normal, WHOLE, 0, want);
    strbuf_release(&longer);
}

/* ---- the same as a list of fields ------------------------------------------------------------ */

static const struct http_local local = {"192.0.2.1", "80", "http"};
static const struct http_peer peer = {.local = &local, .remote_addr = "192.0.2.7"};

/* How many rows were compared, and how many of those make a request. */
static size_t listed_rows, listed_requests;

/* The outcome of the row, with the environ of a complete request, from bytes or from the list. */
static void outcome_with_environ(const struct row *row, const struct listed *l, struct strbuf *out)
{
    const struct http_context context = {.limits = row->limits ? *row->limits : normal};
    struct gcorn_environ env = {0};
    size_t used = 0;

    environ_init(&env, &context, &peer, 1);
    if (l && request_from_fields(&env.request, &l->list) == 0)
        used = l->head_len;
    if (env.request.state < REQUEST_DONE)
        used += request_feed(&env.request, row->raw + used, row->len - used);
    describe(&env.request, used, out);
    if (env.request.state == REQUEST_DONE)
        add_environ(out, &env);
    environ_reset(&env);
    environ_release(&env);
}

static void compare_list(const struct row *row)
{
    static struct listed l;
    struct strbuf by_bytes = {0}, by_list = {0};

    if (!list_of(&l, row->raw, row->len))
        return;
    outcome_with_environ(row, NULL, &by_bytes);
    outcome_with_environ(row, &l, &by_list);
    if (strcmp(by_bytes.data, by_list.data) != 0)
        fail_msg("%s\nas a list gives:\n%s\nin bytes it gives:\n%s", row->raw, by_list.data,
                 by_bytes.data);
    listed_rows++;
    listed_requests += row->status == DONE;
    strbuf_release(&by_bytes);
    strbuf_release(&by_list);
}

#define HOST_FIELD                                                                                 \
    {                                                                                              \
        TEXT("host"), TEXT("H.example:80")                                                         \
    }
#define OTHER_HOST_FIELD                                                                           \
    {                                                                                              \
        TEXT("Host"), TEXT("other")                                                                \
    }
#define TEXT(literal)                                                                              \
    {                                                                                              \
        (literal), sizeof(literal) - 1                                                             \
    }

/* What a list alone can say: scheme and authority, names and values with the bytes that end lines
 * and names. */
static void test_request_list_alone(void **state)
{
    static const struct {
        const char *says;
        struct bytes scheme, authority;
        struct request_pair field; /* name.p NULL: there is none */
        int status;
        const char *http_host;
    } cases[] = {
        {"authority is Host", TEXT("http"), TEXT("h.example:80"), .http_host = "h.example:80"},
        {"scheme in capitals", TEXT("HTTP"), TEXT("h"), .http_host = "h"},
        {"no scheme", {NULL, 0}, TEXT("h"), .http_host = "h"},
        {"the same Host", TEXT("http"), TEXT("h.example:80"), HOST_FIELD,
         .http_host = "H.example:80"},
        {"another Host", TEXT("http"), TEXT("h.example:80"), OTHER_HOST_FIELD, 400, NULL},
        {"a longer Host", TEXT("http"), TEXT("othe"), OTHER_HOST_FIELD, 400, NULL},
        {"Host alone", TEXT("http"), {NULL, 0}, OTHER_HOST_FIELD, .http_host = "other"},
        {"neither", TEXT("http"), {NULL, 0}, {{NULL, 0}, {NULL, 0}}, 400, NULL},
        {"an empty authority", TEXT("http"), {"", 0}, OTHER_HOST_FIELD, 400, NULL},
        {"a user in it", TEXT("http"), TEXT("u@h"), .status = 400},
        {"an end of line in it", TEXT("http"), TEXT("h\r\nX: 1"), .status = 400},
        {"another scheme", TEXT("ftp"), TEXT("h"), .status = 400},
        {"an empty scheme", {"", 0}, TEXT("h"), .status = 400},
        {"https without TLS", TEXT("https"), TEXT("h"), .status = 421},
        {"CRLF in a value", {NULL, 0}, TEXT("h"), {TEXT("x"), TEXT("1\r\nY: 2")}, 400, NULL},
        {"LF in a value", {NULL, 0}, TEXT("h"), {TEXT("x"), TEXT("1\nY: 2")}, 400, NULL},
        {"CR at its end", {NULL, 0}, TEXT("h"), {TEXT("x"), TEXT("1\r")}, 400, NULL},
        {"NUL in a value", {NULL, 0}, TEXT("h"), {TEXT("x"), TEXT("1\0")}, 400, NULL},
        {"CRLF in a name", {NULL, 0}, TEXT("h"), {TEXT("x\r\ny"), TEXT("1")}, 400, NULL},
        {"a colon in a name", {NULL, 0}, TEXT("h"), {TEXT("x:y"), TEXT("1")}, 400, NULL},
        {"a pseudo-header", {NULL, 0}, TEXT("h"), {TEXT(":path"), TEXT("/")}, 400, NULL},
        {"a blank in a name", {NULL, 0}, TEXT("h"), {TEXT("x y"), TEXT("1")}, 400, NULL},
        {"no name", {NULL, 0}, TEXT("h"), {TEXT(""), TEXT("1")}, 400, NULL},
    };
    const struct forwarded_rules rules = {.initials = 0};
    const struct http_context context = {.limits = normal, .forwarded = rules};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct gcorn_environ env = {0};
        const struct request_list list = {.method = TEXT("GET"),
                                          .target = TEXT("/p?q"),
                                          .scheme = cases[i].scheme,
                                          .authority = cases[i].authority,
                                          .fields = &cases[i].field,
                                          .count = cases[i].field.name.p != NULL};

        environ_init(&env, &context, &peer, 1);
        int result = request_from_fields(&env.request, &list);
        if (env.request.refusal != cases[i].status || result != (cases[i].status ? -1 : 0))
            fail_msg("%s: %d, %s", cases[i].says, env.request.refusal,
                     env.request.refusal_reason ? env.request.refusal_reason : "taken");
        if (result == 0) {
            assert_int_equal(env.request.state, REQUEST_DONE);
            assert_string_equal(gcorn_get(&env, "HTTP_HOST"), cases[i].http_host);
            assert_string_equal(gcorn_get(&env, "RAW_URI"), "/p?q");
            assert_string_equal(gcorn_get(&env, "SERVER_PROTOCOL"), "HTTP/1.1");
        }
        environ_reset(&env);
        environ_release(&env);
    }
}

/* A secure connection, or a trusted proxy that may name the scheme, can have received https. */
static void test_request_list_https_is_taken(void **state)
{
    static const enum forwarded_trust trusts[] = {FORWARDED_SECURE, FORWARDED_ALL};
    const struct http_context context = {.limits = normal};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(trusts); i++) {
        const struct http_peer trusted = {.local = &local, .trust = trusts[i]};
        struct gcorn_environ env = {0};
        const struct request_list list = {.method = TEXT("GET"),
                                          .target = TEXT("/"),
                                          .scheme = TEXT("https"),
                                          .authority = TEXT("h")};

        environ_init(&env, &context, &trusted, 1);
        assert_int_equal(request_from_fields(&env.request, &list), 0);
        environ_reset(&env);
        environ_release(&env);
    }
}

/* A line in the method or the target begins no field and ends no line. */
static void test_request_list_line_is_one(void **state)
{
    static const struct {
        struct bytes method, target;
        const char *reason;
    } cases[] = {
        {TEXT(""), TEXT("/"), scan_no_method},
        {TEXT("GET /a"), TEXT("/b"), "the request line does not end in an HTTP version"},
        {TEXT("GET"), TEXT("/a HTTP/1.1"), "the request line does not end in an HTTP version"},
        {TEXT("GET"), TEXT("/ HTTP/1.1\r\nX: 1"), scan_bad_line},
        {TEXT("GET / HTTP/1.1\r\nX:"), TEXT("1"), scan_bad_line},
        {TEXT("GET"), TEXT(""),
         "the request line is not method, target and version with single blanks"},
        {TEXT("G\tT"), TEXT("/"), scan_no_method},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct run run;
        const struct request_list list = {
            .method = cases[i].method, .target = cases[i].target, .authority = TEXT("h")};

        run_begin(&run, &normal);
        assert_int_equal(request_from_fields(&run.request, &list), -1);
        assert_int_equal(run.request.refusal, 400);
        assert_string_equal(run.request.refusal_reason, cases[i].reason);
        run_end(&run);
    }
}

/* The last test, as those before it do the comparing. */
static void test_request_list_is_compared(void **state)
{
    (void)state;
    print_message("%zu rows as lists, %zu of them requests\n", listed_rows, listed_requests);
    assert_true(listed_rows > 450 && listed_requests > 150);
}

static void try_row(const struct row *row)
{
    const struct request_limits *limits = row->limits ? row->limits : &normal;
    struct strbuf text = {0};
    struct run run;

    run_begin(&run, limits);
    run_cut(&run, row->raw, row->len, WHOLE, 0);
    (void)outcome_of(&run.request, run.used, &text);
    check_row(row, &run, &text);
    run_end(&run);

    compare_cut(row->raw, row->len, limits, BYTES, 0, text.data);
    for (size_t at = 0; at <= row->len; at++)
        compare_cut(row->raw, row->len, limits, TWO, at, text.data);
    for (int i = 0; i < 5; i++)
        compare_cut(row->raw, row->len, limits, RANDOM, 0, text.data);
    if (row->status == DONE)
        check_extent(row, text.data);
    compare_list(row);
    strbuf_release(&text);
}

#define TRY_ROWS(rows)                                                                             \
    do {                                                                                           \
        (void)state;                                                                               \
        for (size_t row_ = 0; row_ < ARRAY_LEN(rows); row_++)                                      \
            try_row(&(rows)[row_]);                                                                \
    } while (0)

/* Feeds a text whole: its status, or MORE or DONE. */
static int status_of(const char *raw, size_t len, const struct request_limits *limits)
{
    struct run run;

    run_begin(&run, limits);
    run_feed(&run, raw, len);
    int status = run.request.state == REQUEST_REFUSED ? run.request.refusal
                 : run.request.state == REQUEST_DONE  ? DONE
                                                      : MORE;
    run_end(&run);
    return status;
}

/* ---- the request line ------------------------------------------------------------------------ */

static const struct row lines[] = {
    OK("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / /  1", "Host: h\n"),
    OK("GET / HTTP/1.0\r\n\r\n", "GET / /  0", ""),
    OK("GET / HTTP/1.0\r\nHost: h\r\n\r\n", "GET / /  0", "Host: h\n"),
    OK("GET /a/b?c=d&e HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a/b?c=d&e /a/b c=d&e 1"),
    OK("GET /? HTTP/1.1\r\nHost: h\r\n\r\n", "GET /? /  1"),
    OK("GET /a??b?c HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a??b?c /a ?b?c 1"),
    OK("GET //x//../y HTTP/1.1\r\nHost: h\r\n\r\n", "GET //x//../y //x//../y  1"),
    OK("GET /a:b@c;d=e,f HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a:b@c;d=e,f /a:b@c;d=e,f  1"),
    /* a higher minor version is read as 1.1 (RFC 9110 2.5) */
    OK("GET / HTTP/1.2\r\nHost: h\r\n\r\n", "GET / /  1"),
    OK("GET / HTTP/1.9\r\nHost: h\r\n\r\n", "GET / /  1"),
    BAD(400, "GET / HTTP/1.2\r\n\r\n"), /* and so needs a Host */
    /* empty lines before it (RFC 9112 2.2) */
    OK("\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n", "GET / /  1", "Host: h\n"),
    OK("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n", "GET / /  0"),
    BAD(400, "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.0\r\n\r\n"),
    BAD(400, "\nGET / HTTP/1.0\r\n\r\n"),
    BAD(400, "\r\rGET / HTTP/1.0\r\n\r\n"),
    BAD(400, "\rGET / HTTP/1.0\r\n\r\n"),
    BAD(400, "\r\n\nGET / HTTP/1.0\r\n\r\n"),
    BAD(400, "\r\n GET / HTTP/1.0\r\n\r\n"),
    ROW(MORE, "\r\n\r\n"),
    ROW(MORE, "\r\n\r"),
    ROW(MORE, "GET / HTTP/1.1\r\nHost: h\r\n\r"),
    ROW(MORE, "GET / HT"),
    /* versions */
    BAD(505, "GET / HTTP/0.9\r\nHost: h\r\n\r\n"),
    BAD(505, "GET / HTTP/2.0\r\nHost: h\r\n\r\n"),
    BAD(505, "GET / HTTP/3.1\r\nHost: h\r\n\r\n"),
    BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    BAD(400, "GET /\r\n\r\n"),
    BAD(400, "GET /\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / \r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.10\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/11\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/11.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/01.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1,1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/a.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.x\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/+1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / http/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTPS/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / RTSP/1.0\r\nHost: h\r\n\r\n"),
    BAD(400, "SOURCE / ICE/1.0\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP /1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/ 1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1 \r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\t\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / x HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* single blanks, and nothing but blanks */
    BAD(400, "GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /  HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, " GET / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET\t/\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET\t/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\tHTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /a\tb HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET  HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET\r\nHost: h\r\n\r\n"),
    BAD(400, " / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* line ends */
    BAD(400, "GET / HTTP/1.1\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\n\n"),
    BAD(400, "GET / HTTP/1.1\rHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\r HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "G\0T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\x7f HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\x80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /\x1b HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* another protocol altogether: the client hello of TLS */
    BAD(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
};

static void test_request_line(void **state)
{
    TRY_ROWS(lines);
}

#define M32 "ABCDEFGHIJKLMNOPQRSTUVWXYZ-abcde"

static const struct row methods[] = {
    OK("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n", "HEAD / /  1"),
    OK("POST / HTTP/1.1\r\nHost: h\r\n\r\n", "POST / /  1"),
    OK("PUT / HTTP/1.1\r\nHost: h\r\n\r\n", "PUT / /  1"),
    OK("DELETE / HTTP/1.1\r\nHost: h\r\n\r\n", "DELETE / /  1"),
    OK("OPTIONS / HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS / /  1"),
    OK("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", "TRACE / /  1"),
    OK("PATCH / HTTP/1.1\r\nHost: h\r\n\r\n", "PATCH / /  1"),
    OK("PROPFIND / HTTP/1.1\r\nHost: h\r\n\r\n", "PROPFIND / /  1"),
    OK("MKCOL / HTTP/1.1\r\nHost: h\r\n\r\n", "MKCOL / /  1"),
    OK("REPORT / HTTP/1.1\r\nHost: h\r\n\r\n", "REPORT / /  1"),
    /* unknown to llhttp, and near to known ones; methods are case-sensitive (RFC 9110 9.1) */
    OK("QUERY /q HTTP/1.1\r\nHost: h\r\n\r\n", "QUERY /q /q  1"),
    OK("LIST /?a=1 HTTP/1.0\r\n\r\n", "LIST /?a=1 / a=1 0"),
    OK("X-Y http://h/a HTTP/1.1\r\nHost: h\r\n\r\n", "X-Y http://h/a /a  1"),
    OK("GE / HTTP/1.1\r\nHost: h\r\n\r\n", "GE / /  1"),
    OK("GETT / HTTP/1.1\r\nHost: h\r\n\r\n", "GETT / /  1"),
    OK("G / HTTP/1.1\r\nHost: h\r\n\r\n", "G / /  1"),
    OK("get / HTTP/1.1\r\nHost: h\r\n\r\n", "get / /  1"),
    OK("Get / HTTP/1.7\r\nHost: h\r\n\r\n", "Get / /  1"),
    OK("POSTS / HTTP/1.1\r\nHost: h\r\n\r\n", "POSTS / /  1"),
    OK("HEADER / HTTP/1.1\r\nHost: h\r\n\r\n", "HEADER / /  1"),
    OK("M-SEARCHX / HTTP/1.1\r\nHost: h\r\n\r\n", "M-SEARCHX / /  1"),
    OK("PRI / HTTP/1.1\r\nHost: h\r\n\r\n", "PRI / /  1"),
    OK("connect / HTTP/1.1\r\nHost: h\r\n\r\n", "connect / /  1"),
    OK("!#$%&'*+-.^_`|~09azAZ / HTTP/1.1\r\nHost: h\r\n\r\n", "!#$%&'*+-.^_`|~09azAZ / /  1"),
    OK(M32 " / HTTP/1.1\r\nHost: h\r\n\r\n", M32 " / /  1"),
    BAD(501, M32 "X / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(501, M32 M32 M32 M32 M32 M32 M32 M32 " / HTTP/1.1\r\nHost: h\r\n\r\n"), /* 256 */
    /* of other protocols, and still tokens */
    OK("PLAY / HTTP/1.1\r\nHost: h\r\n\r\n", "PLAY / /  1"),
    OK("SOURCE / HTTP/1.1\r\nHost: h\r\n\r\n", "SOURCE / /  1"),
    /* the rest of the line and of the message is held against the same rules */
    BODY("X-Y / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    BODY("PRI / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc", "abc"),
    BODY("PRI / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
         "abc"),
    BODY("X-Y / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
         "abc"),
    BAD(400, "X-Y / HTTP/1.1\r\nHost: h\r\nContent-Length: 3, 3\r\n\r\nabc"),
    BAD(400, "X-Y / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    BAD(400, "X-Y /\x80 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "X-Y /# HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "X-Y * HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "X-Y h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "X-Y ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(505, "X-Y / HTTP/2.0\r\nHost: h\r\n\r\n"),
    BAD(501, "CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(501, "CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "PRI * HTTP/1.1\r\nHost: h\r\n\r\n"), /* the preface of HTTP/2, and broken */
    /* not a token */
    BAD(400, "G@T / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET: / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "\"GET\" / HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "G\xc3\x8bT / HTTP/1.1\r\nHost: h\r\n\r\n"),
};

static void test_request_methods(void **state)
{
    TRY_ROWS(methods);
}

/* Each byte value as a method of its own: a token is one, all else is no request line. */
static void test_request_method_bytes(void **state)
{
    char raw[] = "x / HTTP/1.1\r\nHost: h\r\n\r\n";

    (void)state;
    for (int c = 1; c < 256; c++) {
        raw[0] = (char)c;
        if (c == '\r') /* begins an empty line, which then is none */
            continue;
        assert_int_equal(status_of(raw, sizeof(raw) - 1, &normal),
                         syntax_is_tchar((char)c) ? DONE : 400);
    }
}

/* What is no HTTP/1 request is refused when its first line ends, or at a byte that no method begins
 * with: it may be all that its client ever sends. */
static const struct {
    struct row row;
    enum foreign_protocol foreign;
} foreigners[] = {
    {BAD(400, "GET /\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "GET\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "EHLO mail.example.org\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "*1\r\n"), FOREIGN_UNKNOWN}, /* Redis */
    {BAD(400, "GET /a#b HTTP/1.1\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "OPTIONS /% HTTP/1.1\r\n"), FOREIGN_UNKNOWN},
    {BAD(501, "CONNECT h:1 HTTP/1.1\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "{"), FOREIGN_UNKNOWN},
    {BAD(400, " "), FOREIGN_UNKNOWN},
    {BAD(400, "\0"), FOREIGN_UNKNOWN},
    {BAD(400, "\n"), FOREIGN_UNKNOWN},
    {BAD(400, "\r\n\r\n@"), FOREIGN_UNKNOWN},
    {BAD(400, "\rX"), FOREIGN_UNKNOWN},
    {BAD(400, "\x80\x2e\x01"), FOREIGN_UNKNOWN}, /* SSL 2 */
    {BAD(400, "\x16"), FOREIGN_TLS},
    {BAD(400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), FOREIGN_TLS},
    {BAD(505, "PRI * HTTP/2.0\r\n"), FOREIGN_HTTP2},
    {BAD(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), FOREIGN_HTTP2},
    {BAD(505, "GET / HTTP/2.0\r\n"), FOREIGN_UNKNOWN},
    {BAD(400, "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"), FOREIGN_PROXY},
    {BAD(400, "PROXY UNKNOWN\r\n"), FOREIGN_PROXY},
    {BAD(400, "\r\n\r\n\0\r\nQUIT\n\x21\x11"), FOREIGN_PROXY},
};

static void test_request_of_another_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(foreigners); i++) {
        const struct row *row = &foreigners[i].row;
        struct run run;

        try_row(row);
        run_begin(&run, &normal);
        run_cut(&run, row->raw, row->len, BYTES, 0);
        assert_int_equal(run.request.foreign, foreigners[i].foreign);
        run_end(&run);
    }
}

/* Whatever comes later, and however it is cut: the line is refused, not what follows. */
static void test_request_line_comes_first(void **state)
{
    static const char raw[] = "GET /# HTTP/1.1\r\nHost: h\r\n folded\r\n\r\n";
    struct run run;

    (void)state;
    run_begin(&run, &normal);
    run_cut(&run, raw, sizeof(raw) - 1, WHOLE, 0);
    assert_string_equal(run.request.refusal_reason, "a fragment in the request target");
    run_end(&run);
}

static const struct row targets[] = {
    OK("GET /%41%2f%ff HTTP/1.1\r\nHost: h\r\n\r\n", "GET /%41%2f%ff /%41%2f%ff  1"),
    BAD(400, "GET /% HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /%4 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /%4g HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /%g4 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /%%41 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /a%00b HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /a%4?1 HTTP/1.1\r\nHost: h\r\n\r\n"), /* ends at the query */
    /* a query is the application's to decode */
    OK("GET /?a=%&b=%zz HTTP/1.1\r\nHost: h\r\n\r\n", "GET /?a=%&b=%zz / a=%&b=%zz 1"),
    BAD(400, "GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET /?a#b HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET # HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET a HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET ?a HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET .. HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* absolute-form: its authority stands for Host, which must still be there */
    OK("GET http://example.com/a?b HTTP/1.1\r\nHost: h\r\n\r\n",
       "GET http://example.com/a?b /a b 1"),
    OK("GET http://example.com HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://example.com /  1"),
    OK("GET http://h:80?q HTTP/1.1\r\nHost: h\r\n\r\n", "GET http://h:80?q / q 1"),
    OK("GET HTTPS://h:/ HTTP/1.1\r\nHost: h\r\n\r\n", "GET HTTPS://h:/ /  1"),
    OK("GET https://[2001:db8::1]:8443/x HTTP/1.1\r\nHost: h\r\n\r\n",
       "GET https://[2001:db8::1]:8443/x /x  1"),
    OK("GET http://h/ HTTP/1.0\r\n\r\n", "GET http://h/ /  0"),
    OK("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS http://h /  1"),
    BAD(400, "GET http://h/ HTTP/1.1\r\n\r\n"),
    BAD(400, "GET http:// HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://?a HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http:/h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http:h HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://u@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://u:p@h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://h:8x/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://h:65536/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://[::1/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://h/%zz HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://h/#f HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET http://h#f HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET file:///etc HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET urn:x HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* asterisk-form */
    OK("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n", "OPTIONS * *  1"),
    BAD(400, "GET * HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "OPTIONS *a HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "OPTIONS */ HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "OPTIONS *? HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "OPTIONS ** HTTP/1.1\r\nHost: h\r\n\r\n"),
    /* authority-form */
    BAD(501, "CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
    BAD(400, "GET h:443 HTTP/1.1\r\nHost: h\r\n\r\n"),
};

static void test_request_targets(void **state)
{
    TRY_ROWS(targets);
}

static void test_request_authority(void **state)
{
    static const char raw[] = "GET http://a.example:81/x HTTP/1.1\r\nHost: b\r\n\r\n";
    struct run run;

    (void)state;
    run_begin(&run, &normal);
    run_feed(&run, RAW(raw));
    assert_int_equal(run.request.authority.len, 12);
    assert_memory_equal(run.request.authority.p, "a.example:81", 12);
    run_end(&run);

    run_begin(&run, &normal);
    run_feed(&run, RAW("GET / HTTP/1.1\r\nHost: b\r\n\r\n"));
    assert_int_equal(run.request.authority.len, 0);
    run_end(&run);
}

/* ---- fields ---------------------------------------------------------------------------------- */

static const struct row field_rows[] = {
    OK(FIELDS("A: b\r\n"), NULL, "Host: h\nA: b\n"),
    OK(FIELDS("A:b\r\n"), NULL, "Host: h\nA: b\n"),
    OK(FIELDS("A: \t b \t\r\n"), NULL, "Host: h\nA: b\n"),
    OK(FIELDS("A:\tb\t\r\n"), NULL, "Host: h\nA: b\n"),
    OK(FIELDS("A: b \t c\r\n"), NULL, "Host: h\nA: b \t c\n"),
    OK(FIELDS("A:\r\nB: \r\nC: \t \r\n"), NULL, "Host: h\nA: \nB: \nC: \n"),
    OK(FIELDS("A: :b:\r\n"), NULL, "Host: h\nA: :b:\n"),
    OK(FIELDS("A: \"x, \\\" y\"\r\n"), NULL, "Host: h\nA: \"x, \\\" y\"\n"),
    OK(FIELDS("A: \x80\xff\xc3\xa9\r\n"), NULL, "Host: h\nA: \x80\xff\xc3\xa9\n"),
    OK(FIELDS("A: 1\r\nA: 2\r\na: 3\r\n"), NULL, "Host: h\nA: 1\nA: 2\na: 3\n"),
    OK(FIELDS("!#$%&'*+-.^_`|~: x\r\n"), NULL, "Host: h\n!#$%&'*+-.^_`|~: x\n"),
    OK(FIELDS("0: x\r\n"), NULL, "Host: h\n0: x\n"),
    /* not quite the fields that mean something */
    OK(FIELDS("Content-Lengt: 5\r\nContent-Length2: 5\r\nTransfer-Encodin: x\r\nX-Host: a b\r\n")),
    OK(FIELDS("Content_Length: 5\r\nTransfer_Encoding: chunked\r\n")),
    /* names */
    BAD_FIELD(400, "A : b"),
    BAD_FIELD(400, "A\t: b"),
    BAD_FIELD(400, "A b: c"),
    BAD_FIELD(400, ": b"),
    BAD_FIELD(400, ":"),
    BAD_FIELD(400, "A"),
    BAD_FIELD(400, "A b"),
    BAD_FIELD(400, "A;: b"),
    BAD_FIELD(400, "A\xc3\xa9: b"),
    BAD_FIELD(400, "Content-Length : 5"),
    BAD_FIELD(400, "Transfer-Encoding : chunked"),
    BAD_FIELD(400, "Content-Length\0: 5"),
    /* before the first field */
    BAD(400, "GET / HTTP/1.1\r\n Host: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\n\tHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\n:\r\nHost: h\r\n\r\n"),
    /* folded lines (RFC 9112 5.2) */
    BAD_FIELD(400, "A: b\r\n c"),
    BAD_FIELD(400, "A: b\r\n\tc"),
    BAD_FIELD(400, "A: b\r\n "),
    BAD_FIELD(400, "A:\r\n b"),
    BAD_FIELD(400, "Content-Length:\r\n 5"),
    BAD_FIELD(400, "Transfer-Encoding:\r\n chunked"),
    BAD_FIELD(400, " A: b"),
    /* line ends */
    BAD_FIELD(400, "A: b\nB: c"),
    BAD_FIELD(400, "A: b\rB: c"),
    BAD_FIELD(400, "A: b\r\r"),
    BAD_FIELD(400, "A: b\n"),
    BAD_FIELD(400, "A:\r"),
    BAD_FIELD(400, "A:\n"),
    BAD_FIELD(400, "A: b\0c"),
    BAD_FIELD(400, "A: b\x0b"),
    BAD_FIELD(400, "A: b\x7f"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\r\n\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\r\n\rX"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHost: h\r\n\r\r\n"),
    /* one Content-Type at most */
    BAD_FIELD(400, "Content-Type: a/b\r\nContent-Type: a/b"),
    BAD_FIELD(400, "Content-Type: a/b\r\ncontent-type: c/d"),
};

static void test_request_fields(void **state)
{
    TRY_ROWS(field_rows);
}

static void test_request_name_bytes(void **state)
{
    char raw[] = "GET / HTTP/1.1\r\nHost: h\r\nAx: v\r\n\r\n";
    char *x = strchr(raw, 'x');

    (void)state;
    for (int c = 0; c < 256; c++) {
        *x = (char)c;
        int want = syntax_is_tchar((char)c) || c == ':' ? DONE : 400;
        if (status_of(RAW(raw), &normal) != want)
            fail_msg("byte %#x in a field name: not %d", c, want);
    }
}

static void test_request_value_bytes(void **state)
{
    char raw[] = "GET / HTTP/1.1\r\nHost: h\r\nA: vxw\r\n\r\n";
    char *x = strchr(raw, 'x');

    (void)state;
    for (int c = 0; c < 256; c++) {
        *x = (char)c;
        int want = (c < 0x20 && c != '\t') || c == 0x7f ? 400 : DONE;
        if (status_of(RAW(raw), &normal) != want)
            fail_msg("byte %#x in a field value: not %d", c, want);
    }
}

static const struct row hosts[] = {
    HOST(" h"),
    HOST(""), /* may be empty (RFC 9110 7.2) */
    HOST(" "),
    HOST("h"),
    HOST(" h\t"),
    HOST(" EXAMPLE.com:80"),
    HOST(" h:"),
    HOST(" h:0"),
    HOST(" h:65535"),
    HOST(" h:00080"),
    HOST(" 192.0.2.1:8000"),
    HOST(" [::1]"),
    HOST(" [2001:db8::7.8.9.1]:8080"),
    HOST(" [v1.x:y]"),
    HOST(" a_b~c!$&'()*+,;=.-"),
    HOST(" %41%2F"),
    BAD_HOST(" a b"),
    BAD_HOST(" h:65536"),
    BAD_HOST(" h:99999999999999999999"),
    BAD_HOST(" h:-1"),
    BAD_HOST(" h:+1"),
    BAD_HOST(" h:8 0"),
    BAD_HOST(" h:http"),
    BAD_HOST(" h:80:80"),
    BAD_HOST(" :80"),
    BAD_HOST(" ::1"),
    BAD_HOST(" [::1"),
    BAD_HOST(" ::1]"),
    BAD_HOST(" []"),
    BAD_HOST(" [::1]x"),
    BAD_HOST(" x[::1]"),
    BAD_HOST(" [::1]:x"),
    BAD_HOST(" [:/:1]"),
    BAD_HOST(" u@h"),
    BAD_HOST(" h/"),
    BAD_HOST(" http://h"),
    BAD_HOST(" h?"),
    BAD_HOST(" h#"),
    BAD_HOST(" h\\"),
    BAD_HOST(" \"h\""),
    BAD_HOST(" <h>"),
    BAD_HOST(" {h}"),
    BAD_HOST(" h|"),
    BAD_HOST(" h^"),
    BAD_HOST(" %"),
    BAD_HOST(" %4"),
    BAD_HOST(" %zz"),
    BAD_HOST(" h\x80"),
    BAD_HOST(" h\xc3\xa9"),
    BAD_HOST(" a\tb"),
    BAD_HOST(" h\r\nHost: h"),
    BAD_HOST(" h\r\nhost: i"),
    BAD(400, "GET / HTTP/1.1\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nHosts: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.1\r\nX-Host: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\nHost: h\r\nHost: h\r\n\r\n"),
    BAD(400, "GET / HTTP/1.0\r\nHost: a b\r\n\r\n"),
    BAD(400, "GET http://h/ HTTP/1.1\r\nHost: a b\r\n\r\n"),
    OK("GET / HTTP/1.0\r\nHost:\r\n\r\n"),
};

static void test_request_host(void **state)
{
    TRY_ROWS(hosts);
}

/* ---- Content-Length ---------------------------------------------------------------------------
 */

#define LENGTH(text, after) "POST / HTTP/1.1\r\nHost: h\r\nContent-Length:" text "\r\n\r\n" after

static const struct row lengths[] = {
    BODY(LENGTH(" 5", "hello"), "hello"),
    BODY(LENGTH("5", "hello"), "hello"),
    BODY(LENGTH(" 5 ", "hello"), "hello"),
    BODY(LENGTH("   5", "hello"), "hello"),
    BODY(LENGTH("\t5\t", "hello"), "hello"),
    BODY(LENGTH(" \t 5 \t", "hello"), "hello"),
    BODY(LENGTH(" 0", ""), ""),
    BODY(LENGTH(" 000", ""), ""),
    BODY(LENGTH(" 0005", "hello"), "hello"),
    BODY(LENGTH(" 3", "\0\r\n"), "\0\r\n"),
    BODY(LENGTH(" 20", "0123456789abcdefghij"), "0123456789abcdefghij"), /* > mem_max */
    BODY(LENGTH(" 5", "helloGET / HTTP/1.1\r\n"), "hello", .rest = 16),
    BODY("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "hi"),
    BODY("HEAD / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi", "hi"),
    BODY("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", "hi"),
    /* none: no body, whatever the method (RFC 9112 6.3) */
    BODY("POST / HTTP/1.1\r\nHost: h\r\n\r\nhi", "", .rest = 2),
    BODY("POST / HTTP/1.0\r\n\r\nhi", "", .rest = 2),
    ROW(MORE, LENGTH(" 5", "hell")),
    ROW(MORE, LENGTH(" 1", "")),
    BAD(400, LENGTH("", "")),
    BAD(400, LENGTH(" ", "")),
    BAD(400, LENGTH(" +5", "hello")),
    BAD(400, LENGTH(" -5", "hello")),
    BAD(400, LENGTH(" -0", "")),
    BAD(400, LENGTH(" 0x5", "hello")),
    BAD(400, LENGTH(" 5.0", "hello")),
    BAD(400, LENGTH(" 5,5", "hello")),
    BAD(400, LENGTH(" 5, 5", "hello")),
    BAD(400, LENGTH(" 5 5", "hello")),
    BAD(400, LENGTH(" 5;", "hello")),
    BAD(400, LENGTH(" \"5\"", "hello")),
    BAD(400, LENGTH(" five", "hello")),
    BAD(400, LENGTH(" 5a", "hello")),
    BAD(400, LENGTH(" 18446744073709551616", "")), /* 2^64 */
    BAD(400, LENGTH(" 18446744073709551617", "x")),
    BAD(400, LENGTH(" 99999999999999999999999999", "")),
    BAD(400, LENGTH(" 5\r\nContent-Length: 5", "hello")),
    BAD(400, LENGTH(" 5\r\nContent-Length: 6", "hello")),
    BAD(400, LENGTH(" 0\r\ncontent-length: 0", "")),
    BAD(400, LENGTH(" 5\r\nContent-Length:", "hello")),
    BAD(400, LENGTH("\r\nContent-Length: 5", "hello")),
    BAD(413, LENGTH(" 1048577", "")),
    BAD(413, LENGTH(" 18446744073709551615", "")),
    BAD(413,
        "POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"),
    ROW(MORE, LENGTH(" 1048576", "")),
};

static void test_request_content_length(void **state)
{
    TRY_ROWS(lengths);
}

/* ---- Transfer-Encoding ------------------------------------------------------------------------
 */

#define CODING(text) "POST / HTTP/1.1\r\nHost: h\r\n" text "\r\n\r\n0\r\n\r\n"

static const struct row codings[] = {
    BODY(CODING("Transfer-Encoding: chunked"), ""),
    BODY(CODING("transfer-encoding:CHUNKED"), ""),
    BODY(CODING("Transfer-Encoding:  Chunked "), ""),
    BODY(CODING("Transfer-Encoding: \tchunked\t \t"), ""),
    BODY(CODING("Transfer-Encoding: , chunked, ,"), ""), /* empty elements, RFC 9110 5.6.1.2 */
    BAD(400, CODING("Transfer-Encoding: chunked;")),
    BAD(400, CODING("Content-Length: 5\t\r\nTransfer-Encoding: chunked\t")),
    BAD(400, CODING("Content-Length: 5\t\r\nContent-Length: 6\t")),
    BAD(400, CODING("Content-Length: 5\t5")),
    BAD(400, CODING("Content-Length: \t")),
    BAD(400, CODING("Content-Length: 5,")),
    BAD(400, CODING("Content-Length: ,5")),
    /* with a length, in any order: a smuggler (RFC 9112 6.3) */
    BAD(400, CODING("Transfer-Encoding: chunked\r\nContent-Length: 5")),
    BAD(400, CODING("Content-Length: 5\r\nTransfer-Encoding: chunked")),
    BAD(400, CODING("Content-Length: 0\r\nTransfer-Encoding: chunked")),
    BAD(400, CODING("Content-Length: 5\r\nTransfer-Encoding:")),
    BAD(400, CODING("Transfer-Encoding:\r\nContent-Length: 5")),
    BAD(400, CODING("Content-Length: 5\r\nTransfer-Encoding: identity")),
    BAD(400, CODING("Transfer-Encoding: gzip\r\nContent-Length: 5")),
    /* empty */
    BAD(400, CODING("Transfer-Encoding:")),
    BAD(400, CODING("Transfer-Encoding: ")),
    BAD(400, CODING("Transfer-Encoding: ,")),
    /* more than one */
    BAD(400, CODING("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked")),
    BAD(400, CODING("Transfer-Encoding: chunked, chunked")),
    BAD(400, CODING("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity")),
    BAD(400, CODING("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked")),
    BAD(400, CODING("Transfer-Encoding: \r\nTransfer-Encoding: chunked")),
    /* chunked is not the last: nobody knows where the body ends (RFC 9112 6.3, 400) */
    BAD(400, CODING("Transfer-Encoding: gzip")),
    BAD(400, CODING("Transfer-Encoding: identity")),
    BAD(400, CODING("Transfer-Encoding: chunked, gzip")),
    BAD(400, CODING("Transfer-Encoding: chunked, identity")),
    BAD(400, CODING("Transfer-Encoding: xchunked")),
    BAD(400, CODING("Transfer-Encoding: chunkedx")),
    BAD(400, CODING("Transfer-Encoding: chunke")),
    BAD(400, CODING("Transfer-Encoding: x chunked")),
    BAD(400, CODING("Transfer-Encoding: chunked;a=b")),
    BAD(400, CODING("Transfer-Encoding: \"chunked\"")),
    BAD(400, CODING("Transfer-Encoding: chun\tked")),
    BAD(400, CODING("Transfer-Encoding: \x0b"
                    "chunked")),
    /* it is the last, but something is before it that is not decoded here (RFC 9112 6.1) */
    BAD(501, CODING("Transfer-Encoding: gzip, chunked")),
    BAD(501, CODING("Transfer-Encoding: gzip,chunked")),
    BAD(501, CODING("Transfer-Encoding: identity, chunked")),
    /* 1.0 does not have it */
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    BAD(400, "POST / HTTP/1.0\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    BAD(400, "POST / HTTP/1.0\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
};

static void test_request_transfer_encoding(void **state)
{
    TRY_ROWS(codings);
}

/* ---- chunks ---------------------------------------------------------------------------------- */

static const struct row chunks[] = {
    BODY(CHUNKED "0\r\n\r\n", ""),
    BODY(CHUNKED "5\r\nhello\r\n0\r\n\r\n", "hello"),
    BODY(CHUNKED "5\r\nhello\r\n0\r\n\r\nGET ", "hello", .rest = 4),
    BODY(CHUNKED "1\r\na\r\n2\r\nbc\r\n3\r\ndef\r\n0\r\n\r\n", "abcdef"),
    BODY(CHUNKED "a\r\n0123456789\r\nA\r\nabcdefghij\r\n0\r\n\r\n", "0123456789abcdefghij"),
    BODY(CHUNKED "1F\r\n0123456789abcdef0123456789ABCDE\r\n0\r\n\r\n",
         "0123456789abcdef0123456789ABCDE"),
    BODY(CHUNKED "0005\r\nhello\r\n0000\r\n\r\n", "hello"),
    BODY(CHUNKED "0000000000000005\r\nhello\r\n0000000000000000\r\n\r\n", "hello"),
    BODY(CHUNKED "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
    BODY(CHUNKED "5\r\n0\r\n\r\n\r\n0\r\n\r\n", "0\r\n\r\n"),
    BODY(CHUNKED "3\r\n\0\xff\n\r\n0\r\n\r\n", "\0\xff\n"),
    ROW(MORE, CHUNKED),
    ROW(MORE, CHUNKED "5"),
    ROW(MORE, CHUNKED "5\r\nhello\r\n"),
    ROW(MORE, CHUNKED "5\r\nhello\r\n0\r\n\r"),
    ROW(MORE, CHUNKED "fffff\r\n"),
    BAD(400, CHUNKED "\r\n"),
    BAD(400, CHUNKED "\r\n5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "\t5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5 \r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "+5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "-5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5h\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "g\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5_\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\0\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "\"5\"\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5,5\r\nhello\r\n0\r\n\r\n"),
    /* line ends: CRLF and nothing else, also behind the data */
    BAD(400, CHUNKED "5\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\rhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\r\nhello\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhello\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhello\r0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhelloXX0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhello\rX0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhello!\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhell\r\n0\r\n\r\n"),
    BAD(400, CHUNKED "5\r\nhello0\r\n\r\n"),
    BAD(400, CHUNKED "0\n\n"),
    BAD(400, CHUNKED "0\r\n\n"),
    BAD(400, CHUNKED "0\r\n\rX"),
    BAD(400, CHUNKED "0\r\nX"
                     "\r\n\r\n"),
    /* sizes beyond all bounds */
    BAD(400, CHUNKED "10000000000000000\r\nx"), /* 2^64 */
    BAD(400, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    BODY(CHUNKED "00000000000000005\r\nhello\r\n0\r\n\r\n",
         "hello"),                                               /* zeros in front do not count */
    BAD(400, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n"), /* 17 digits */
    BAD(413, CHUNKED "ffffffffffffffff\r\nx"),
    BAD(413, CHUNKED "fffffffffffffffe\r\nx"),
    BAD(413, CHUNKED "8000000000000000\r\nx"),
    BAD(413, CHUNKED "100001\r\nx"),
    BAD(413, CHUNKED "1\r\nx\r\n100000\r\n"),
    BAD(413, CHUNKED "1\r\nx\r\nffffffffffffffff\r\n"),
};

static void test_request_chunks(void **state)
{
    TRY_ROWS(chunks);
}

#define EXT(text)     BODY(CHUNKED "3" text "\r\nabc\r\n0" text "\r\n\r\n", "abc")
#define BAD_EXT(text) BAD(400, CHUNKED "3" text "\r\nabc\r\n0\r\n\r\n")

static const struct row extensions[] = {
    EXT(";a"),
    EXT(";a=b"),
    EXT(";a=b;c=d"),
    EXT(";a;b;c"),
    EXT(";a=\"b\""),
    EXT(";a=\"\""),
    EXT(";a=\"b c;d=e,f\""),
    EXT(";a=\"\\\"\""),
    EXT(";a=\"\\\\\""),
    EXT(";a=\"\\x\";b=\"y\""),
    EXT(";a=\"\t\x80\xff\""),
    EXT(" ;a"),
    EXT("\t; \ta"),
    EXT(" ; a = b ; c = \"d\""),
    EXT(";a =b"),
    EXT(";a= b"),
    EXT(";a=b ;c"),
    EXT(";a=\"b\" ;c"),
    EXT(";!#$%&'*+-.^_`|~=!#$%&'*+-.^_`|~"),
    EXT(";5=5"),
    BAD_EXT(";"),
    BAD_EXT(";;"),
    BAD_EXT("; "),
    BAD_EXT(";a;"),
    BAD_EXT(";a="),
    BAD_EXT(";a= "),
    BAD_EXT(";=b"),
    BAD_EXT(";a=b=c"),
    BAD_EXT(";a b"),
    BAD_EXT(";a=b c"),
    BAD_EXT(";a "),
    BAD_EXT(";a=b "),
    BAD_EXT(";a=\"b\" "),
    BAD_EXT(";a=\"b\"c"),
    BAD_EXT(";a=\"b"),
    BAD_EXT(";a=\"b\\"),
    BAD_EXT(";a=\"b\\\""),
    BAD_EXT(";a=b\"c\""),
    BAD_EXT(";\"a\"=b"),
    BAD_EXT(";a,b"),
    BAD_EXT(";a=(b)"),
    BAD_EXT(";a\0"),
    BAD_EXT(";a=\"\0\""),
    BAD_EXT(";a=\"\x7f\""),
    BAD_EXT(";a=\"\x1f\""),
    BAD_EXT(";a=\"\n\""),
    BAD_EXT(";a=\"\r\n\""),
    BAD_EXT(";a\n"),
    BAD_EXT(";a\r"),
    BAD_EXT(" a"),
    BAD_EXT("=b"),
    BAD_EXT(";\xe9"),
};

static void test_request_chunk_extensions(void **state)
{
    TRY_ROWS(extensions);
}

#define TRAILERS(text) CHUNKED "1\r\nx\r\n0\r\n" text "\r\n"

static const struct row trailer_rows[] = {
    BODY(TRAILERS("A: b\r\n"), "x"),
    BODY(TRAILERS("A: b\r\nC:\r\nD: \x80 \r\n"), "x"),
    BODY(TRAILERS("A: b\r\n") "GET ", "x", .rest = 4),
    BODY(TRAILERS("Digest: x\r\nDate: y\r\nX-Forwarded: z\r\nHosts: a\r\nT: b\r\n"), "x"),
    /* what must stand before the body */
    BAD(400, TRAILERS("Connection: close\r\n")),
    BAD(400, TRAILERS("A: b\r\nHost: h\r\n")),
    BAD(400, TRAILERS("host:\r\n")),
    BAD(400, TRAILERS("EXPECT: 100-continue\r\n")),
    BAD(400, TRAILERS("Content-Length: 1\r\n")),
    BAD(400, TRAILERS("Transfer-Encoding: chunked\r\n")),
    BAD(400, TRAILERS("Trailer: A\r\n")),
    BAD(400, TRAILERS("TE: trailers\r\n")),
    BAD(400, TRAILERS("Upgrade: websocket\r\n")),
    BAD(400, TRAILERS("Authorization: Basic x\r\n")),
    BAD(400, TRAILERS("Cookie: a=b\r\n")),
    BAD(400, TRAILERS("X-Forwarded-For: 192.0.2.1\r\n")),
    BAD(400, TRAILERS("x-forwarded-\r\n")),
    BAD(400, TRAILERS("Forwarded: for=192.0.2.1\r\n")),
    BAD(400, TRAILERS("If-None-Match: *\r\n")),
    BAD(400, TRAILERS("Range: bytes=0-1\r\n")),
    BAD(400, TRAILERS("Cache-Control: no-store\r\n")),
    BAD(400, TRAILERS("Content-Type: text/plain\r\n")),
    BAD(400, TRAILERS("Content-Encoding: gzip\r\n")),
    BAD(400, TRAILERS(": b\r\n")),
    BAD(400, TRAILERS("A\r\n")),
    BAD(400, TRAILERS("A : b\r\n")),
    BAD(400, TRAILERS("A b: c\r\n")),
    BAD(400, TRAILERS("A@: c\r\n")),
    BAD(400, TRAILERS(" A: b\r\n")),
    BAD(400, TRAILERS("A: b\r\n c\r\n")),
    BAD(400, TRAILERS("A: b\r\n\tc\r\n")),
    BAD(400, TRAILERS("A: b\nC: d\r\n")),
    BAD(400, TRAILERS("A: b\rC: d\r\n")),
    BAD(400, TRAILERS("A: b\0\r\n")),
    BAD(400, TRAILERS("A: \x01\r\n")),
    BAD(400, CHUNKED "0\r\nA: b\r\n\rX"),
    BAD(400, CHUNKED "0\r\nA: b\r\n\n"),
    BAD(400, CHUNKED "0\r\nGET / HTTP/1.1\r\n\r\n"),
    ROW(MORE, CHUNKED "0\r\nA: b\r\n"),
    ROW(MORE, CHUNKED "0\r\nA: b"),
};

static void test_request_trailers(void **state)
{
    struct run run;

    TRY_ROWS(trailer_rows);
    /* they are no fields of the request, and do not end the connection */
    run_begin(&run, &normal);
    run_feed(&run, RAW(TRAILERS("X: y\r\n")));
    assert_int_equal(run.request.state, REQUEST_DONE);
    assert_int_equal(run.request.field_count, 2);
    assert_int_equal(run.request.trailer_count, 1);
    run_end(&run);
}

static const char *told(struct run *run, struct strbuf *out)
{
    strbuf_reset(out);
    strbuf_addstr(out, "");
    for (size_t i = 0; i < run->request.trailer_count; i++)
        add_field(out, "", &run->request.trailer_fields[i]);
    return out->data;
}

/* In order, repeated ones apart, values without the blanks around them; in one piece as in many. */
static void test_trailers_are_kept(void **state)
{
    static const char raw[] = TRAILERS("A: b\r\nc:\r\nA:\t d \x80 e \t\r\n");
    struct strbuf out = {0};
    struct run run;

    (void)state;
    for (size_t piece = 1; piece < sizeof(raw); piece++) {
        run_begin(&run, &normal);
        for (size_t at = 0; at < sizeof(raw) - 1; at += piece) {
            size_t left = sizeof(raw) - 1 - at, n = left < piece ? left : piece;
            char *bytes = malloc(n);

            memcpy(bytes, raw + at, n);
            (void)request_feed(&run.request, bytes, n);
            free(bytes);
        }
        assert_int_equal(run.request.state, REQUEST_DONE);
        assert_string_equal(told(&run, &out), " 0 A: b\n 0 c: \n 0 A: d \x80 e\n");
        run_end(&run);
    }
    strbuf_release(&out);
}

/* ---- Expect, Connection, Upgrade ------------------------------------------------------------- */

static const struct row expects[] = {
    OK(FIELDS("Expect: 100-continue\r\n")),
    OK(FIELDS("Expect: 100-CONTINUE \r\n")),
    OK("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n"),
    OK("GET / HTTP/1.0\r\nExpect: the worst\r\n\r\n"), /* cannot mean it */
    BAD_FIELD(417, "Expect: 200-ok"),
    BAD_FIELD(417, "Expect: 100-continu"),
    BAD_FIELD(417, "Expect: 100-continuee"),
    BAD_FIELD(417, "Expect: 100-continue, 200-ok"),
    BAD_FIELD(417, "Expect: 100-continue=x"),
    BAD_FIELD(417, "Expect: 100-continue\r\nExpect: x"),
};

static void expect_flags(const char *raw, bool keep_alive, bool asks_close, bool waits)
{
    struct run run;

    run_begin(&run, &normal);
    run_feed(&run, raw, strlen(raw));
    if (run.request.state != REQUEST_DONE || run.request.keep_alive != keep_alive ||
        run.request.asks_close != asks_close || run.request.expects_continue != waits)
        fail_msg("%s: state %d keep_alive %d asks_close %d expects_continue %d", raw,
                 run.request.state, run.request.keep_alive, run.request.asks_close,
                 run.request.expects_continue);
    run_end(&run);
}

static void test_request_expect(void **state)
{
    TRY_ROWS(expects);
    expect_flags(FIELDS("Expect: 100-Continue\r\n"), true, false, true);
    expect_flags(FIELDS("Except: 100-continue\r\n"), true, false, false);
    expect_flags("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", false, false, false);
}

#define OLD(text) "GET / HTTP/1.0\r\n" text "\r\n"

static void test_request_connection(void **state)
{
    (void)state;
    expect_flags(FIELDS(""), true, false, false);
    expect_flags(OLD(""), false, false, false);
    expect_flags(FIELDS("Connection: keep-alive\r\n"), true, false, false);
    expect_flags(OLD("Connection: keep-alive\r\n"), true, false, false);
    expect_flags(OLD("Connection: Keep-Alive\r\n"), true, false, false);
    expect_flags(FIELDS("Connection: close\r\n"), false, true, false);
    expect_flags(FIELDS("connection:CLOSE\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: close\t\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: \tclose \r\n"), false, true, false);
    expect_flags(FIELDS("Connection: foo, close\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: ,, close ,\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: foo,close,bar\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: foo\r\nConnection: close\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: close, keep-alive\r\n"), false, true, false);
    expect_flags(FIELDS("Connection: keep-alive, close\r\n"), false, true, false);
    expect_flags(OLD("Connection: close, keep-alive\r\n"), false, true, false);
    expect_flags(OLD("Connection: keep-alive\r\nConnection: close\r\n"), false, true, false);
    expect_flags(OLD("Connection: x, keep-alive\r\n"), true, false, false);
    expect_flags(FIELDS("Connection: closed\r\n"), true, false, false);
    expect_flags(FIELDS("Connection: clos\r\n"), true, false, false);
    expect_flags(FIELDS("Connection: x-close\r\n"), true, false, false);
    expect_flags(FIELDS("Connection: foo close\r\n"), true, false, false);
    expect_flags(FIELDS("Connection:\r\n"), true, false, false);
    expect_flags(OLD("Connection: keepalive\r\n"), false, false, false);
    expect_flags(OLD("Keep-Alive: timeout=5\r\n"), false, false, false);
    expect_flags(FIELDS("Proxy-Connection: close\r\n"), true, false, false);
}

/* An Upgrade is not taken up: the framing goes on as ever. */
static const struct row upgrades[] = {
    OK(FIELDS("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "GET / /  1"),
    BODY("POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
         "Content-Length: 2\r\n\r\nhiGET ",
         "hi", .rest = 4),
    BODY("POST / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
         "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\nGET ",
         "hi", .rest = 4),
    BODY("POST / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
         "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\nGET ",
         "hi", .rest = 4),
};

static void test_request_upgrade(void **state)
{
    TRY_ROWS(upgrades);
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* line_max 20, field_max 24, fields_max 3, head_max 70, body_max 10 */
#define TIGHT(status, text) ROW(status, text, .limits = &tight)

static const struct row limit_rows[] = {
    TIGHT(DONE, "GET /234567 HTTP/1.1\r\nHost: h\r\n\r\n"), /* a line of 20 */
    TIGHT(414, "GET /2345678 HTTP/1.1\r\nHost: h\r\n\r\n"), /* of 21 */
    TIGHT(414, "GET /2345678 HTTP/1.1"),                    /* refused as soon as it is known */
    TIGHT(414, "GET /23456789abcdef01"),
    TIGHT(414, "AAAAAAAAAAAAAAAAAAAAA"),
    TIGHT(MORE, "AAAAAAAAAAAAAAAAAAAA"),
    TIGHT(414, "GET /2345678901234567890123\n"), /* the limit comes first */
    TIGHT(DONE, "GET / HTTP/1.1\r\nHost: h\r\nA: 456789012345678901234\r\n\r\n"), /* 24 */
    TIGHT(431, "GET / HTTP/1.1\r\nHost: h\r\nA: 4567890123456789012345\r\n\r\n"), /* 25 */
    TIGHT(431, "GET / HTTP/1.1\r\nHost: h\r\nA: 4567890123456789012345"),
    TIGHT(431, "GET / HTTP/1.1\r\nA222222222222222222222222"),
    TIGHT(DONE, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\n\r\n"),
    TIGHT(431, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
    TIGHT(431, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nB: 2\r\nC"),
    TIGHT(DONE, "GET / HTTP/1.1\r\nHost: h\r\nA: 3456789012345678\r\nB: 34567890123456789\r\n\r\n"),
    TIGHT(431, "GET / HTTP/1.1\r\nHost: h\r\nA: 3456789012345678\r\nB: 345678901234567890\r\n\r\n"),
    TIGHT(DONE, "\r\n\r\nGET /234567 HTTP/1.1\r\nHost: h\r\n\r\n"), /* empty lines do not count */
    /* only head_max: 40 */
    ROW(DONE, "GET / HTTP/1.0\r\nA: 34567890123456789\r\n\r\n", .limits = &head_only),
    ROW(431, "GET / HTTP/1.0\r\nA: 345678901234567890\r\n\r\n", .limits = &head_only),
    ROW(DONE, "GET /5678901234567890123456 HTTP/1.0\r\n\r\n", .limits = &head_only),
    ROW(431, "GET /56789012345678901234567 HTTP/1.0\r\n\r\n", .limits = &head_only),
    ROW(MORE, "GET /56789012345678901234567890123456789", .limits = &head_only),
    ROW(414, "GET /567890123456789012345678901234567890", .limits = &head_only),
    ROW(DONE, "GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\nD:\r\nE:\r\n\r\n", .limits = &head_only),
    /* bodies: 10 */
    BODY("PUT / HTTP/1.0\r\nContent-Length: 10\r\n\r\n0123456789", "0123456789", .limits = &tight),
    TIGHT(413, "PUT / HTTP/1.0\r\nContent-Length: 11\r\n\r\n"),
    TIGHT(413, "PUT / HTTP/1.0\r\nContent-Length: 11\r\n\r\n0123456789a"),
};

static const struct request_limits chunk_limits = {
    .head = {.line_max = 20, .field_max = 26, .fields_max = 2, .head_max = 70},
    .body_max = 10,
    .body_place.mem_max = 4,
    .chunk_ext_max = 6,
    .body_place.dir = dir,
};

#define CHUNK_LIMIT(status, text)                                                                  \
    ROW(status, "PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n" text,              \
        .limits = &chunk_limits)

static const struct row chunk_limit_rows[] = {
    BODY("PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n"
         "a\r\n0123456789\r\n0\r\n\r\n",
         "0123456789", .limits = &chunk_limits),
    BODY("PUT / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n"
         "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
         "0123456789", .limits = &chunk_limits),
    CHUNK_LIMIT(413, "b\r\n"),
    CHUNK_LIMIT(DONE, "0;a;b;c\r\n\r\n"),
    CHUNK_LIMIT(400, "0;a;b;c;\r\n\r\n"),
    CHUNK_LIMIT(400, "0;a;b;cd\r\n\r\n"),
    CHUNK_LIMIT(400, "1;abc\r\nx\r\n1;d\r\ny\r\n0;\r\n\r\n"),
    CHUNK_LIMIT(413, "5\r\n01234\r\n6\r\n"),
    CHUNK_LIMIT(413, "5\r\n01234\r\n5\r\n56789\r\n1\r\n"),
    CHUNK_LIMIT(DONE, "0\r\nA: 1\r\nB: 2\r\n\r\n"),
    CHUNK_LIMIT(431, "0\r\nA: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
    CHUNK_LIMIT(DONE, "0\r\nA: 45678901234567890123456\r\n\r\n"),
    CHUNK_LIMIT(431, "0\r\nA: 456789012345678901234567\r\n\r\n"),
    /* bad and too much: which it is must not depend on the cut either */
    CHUNK_LIMIT(431, "0\r\nA@: 1\r\nB: 2\r\nC: 3\r\n\r\n"),
    CHUNK_LIMIT(431, "0\r\nA@: 45678901234567890123456\r\n\r\n"),
    CHUNK_LIMIT(400, "0\r\nA@: 1\r\nB:\x01\r\n\r\n"),
};

static void test_request_limits(void **state)
{
    TRY_ROWS(limit_rows);
    TRY_ROWS(chunk_limit_rows);
}

/* Trailers have a head_max of their own. */
static void test_request_trailers_too_long(void **state)
{
    static const struct request_limits limits = {.head = {.head_max = 100},
                                                 .body_place.mem_max = 4,
                                                 .chunk_ext_max = CHUNK_EXT_MAX,
                                                 .body_place.dir = "/tmp"};
    struct strbuf raw = {0};

    (void)state;
    strbuf_addstr(&raw, CHUNKED "0\r\n");
    strbuf_addf(&raw, "A: %093d\r\n\r\n", 0); /* 3 + 93 + 2 + 2 = 100 */
    assert_int_equal(status_of(raw.data, raw.len, &limits), DONE);
    strbuf_reset(&raw);
    strbuf_addstr(&raw, CHUNKED "0\r\n");
    strbuf_addf(&raw, "A: %094d\r\n\r\n", 0);
    assert_int_equal(status_of(raw.data, raw.len, &limits), 431);
    strbuf_release(&raw);
}

/* The extensions of all size lines together have one budget: else a body of one byte chunks could
 * bring any number of bytes that nobody counts. */
static void test_request_extensions_too_long(void **state)
{
    struct strbuf raw = {0};

    (void)state;
    strbuf_addstr(&raw, CHUNKED);
    for (int i = 0; i < CHUNK_EXT_MAX / 8; i++)
        strbuf_addstr(&raw, "1;a=bcdef\r\nx\r\n"); /* 8 bytes of extension each */
    size_t full = raw.len;
    strbuf_addstr(&raw, "0\r\n\r\n");
    assert_int_equal(status_of(raw.data, raw.len, &normal), DONE);
    raw.len = full;
    strbuf_addstr(&raw, "1;a\r\nx\r\n0\r\n\r\n");
    assert_int_equal(status_of(raw.data, raw.len, &normal), 400);
    strbuf_release(&raw);
}

/* body_max 0: any size that does not wrap around. */
static void test_request_body_unbounded(void **state)
{
    static const struct request_limits limits = {.head = {.head_max = 1000},
                                                 .body_place.dir = "/tmp"};

    (void)state;
    assert_int_equal(status_of(RAW(LENGTH(" 18446744073709551615", "")), &limits), MORE);
    assert_int_equal(status_of(RAW(CHUNKED "7fffffffffffffff\r\n"), &limits), MORE);
    assert_int_equal(status_of(RAW(CHUNKED "fffffffffffffffd\r\n"), &limits), MORE);
    assert_int_equal(status_of(RAW(CHUNKED "fffffffffffffffe\r\n"), &limits), 413);
    assert_int_equal(status_of(RAW(CHUNKED "ffffffffffffffff\r\n"), &limits), 413);
}

/* ---- pipelines and bodies ---------------------------------------------------------------------
 */

/* Several requests in one buffer: each takes its own bytes and no more. */
static void test_request_pipeline(void **state)
{
    static const char *const requests[] = {
        "GET /1 HTTP/1.1\r\nHost: h\r\n\r\n",
        "POST /2 HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nGET ",
        "\r\nGET /3 HTTP/1.1\r\nHost: h\r\n\r\n",
        ("POST /4 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2;x\r\nhi\r\n0\r\nA: "
         "b\r\n\r\n"),
        "HEAD /5 HTTP/1.0\r\nContent-Length: 0\r\n\r\n",
        "GET /6 HTTP/1.1\r\nHost: h\r\n\r\n",
    };
    struct strbuf all = {0};
    size_t at = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++)
        strbuf_addstr(&all, requests[i]);
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct run run;

        run_begin(&run, &normal);
        run_feed(&run, all.data + at, all.len - at);
        assert_int_equal(run.request.state, REQUEST_DONE);
        assert_int_equal(run.used, strlen(requests[i]));
        assert_int_equal(run.request.path.len, 2);
        assert_int_equal(run.request.path.p[1], '1' + (int)i);
        at += run.used;
        run_end(&run);
    }
    assert_int_equal(at, all.len);
    strbuf_release(&all);
}

static void add_binary(struct strbuf *out, size_t len)
{
    for (size_t i = 0; i < len; i++)
        strbuf_addch(out, (char)(i * 7 + i / 256));
}

/* 200 000 bytes of every value, counted and chunked, past what is kept in memory. */
static void test_request_body_large(void **state)
{
    struct request_limits limits = normal;
    struct strbuf body = {0}, raw = {0}, got = {0};

    (void)state;
    limits.body_place.mem_max = 65536;
    add_binary(&body, 200000);
    for (int chunked = 0; chunked < 2; chunked++) {
        struct run run;

        strbuf_reset(&raw);
        strbuf_reset(&got);
        strbuf_addstr(&raw, chunked ? CHUNKED : LENGTH(" 200000", ""));
        for (size_t at = 0, n; at < body.len; at += n) {
            n = chunked ? 1 + random_below(9999) : body.len;
            n = n < body.len - at ? n : body.len - at;
            if (chunked)
                strbuf_addf(&raw, n % 2 ? "%zx\r\n" : "%zX;e=f\r\n", n);
            strbuf_add(&raw, body.data + at, n);
            if (chunked)
                strbuf_addstr(&raw, "\r\n");
        }
        if (chunked)
            strbuf_addstr(&raw, "0\r\n\r\n");
        run_begin(&run, &limits);
        for (size_t at = 0; at < raw.len; at += 8000)
            run_feed(&run, raw.data + at, raw.len - at < 8000 ? raw.len - at : 8000);
        assert_int_equal(run.request.state, REQUEST_DONE);
        assert_int_equal(run.used, raw.len);
        assert_true(run.request.body.fd >= 0);
        add_body(&got, &run.request);
        assert_int_equal(got.len, body.len);
        assert_memory_equal(got.data, body.data, body.len);
        run_end(&run);
    }
    strbuf_release(&body);
    strbuf_release(&raw);
    strbuf_release(&got);
}

/* Nowhere to put it: 507, counted or chunked. */
static void test_request_body_no_room(void **state)
{
    struct request_limits limits = normal;

    (void)state;
    limits.body_place.dir = "/nonexistent/gcorn";
    assert_int_equal(status_of(RAW(LENGTH(" 16", "0123456789abcdef")), &limits), DONE);
    assert_int_equal(status_of(RAW(LENGTH(" 17", "0123456789abcdefg")), &limits), 507);
    assert_int_equal(status_of(RAW(CHUNKED "11\r\n0123456789abcdefg\r\n0\r\n\r\n"), &limits), 507);
}

/* Where no body is taken, the head alone decides; an empty body is none. */
static void test_request_that_may_have_no_body(void **state)
{
    struct request_limits limits = normal;

    (void)state;
    limits.takes_no_body = true;
    assert_int_equal(status_of(RAW(FIELDS("")), &limits), DONE);
    assert_int_equal(status_of(RAW(LENGTH(" 0", "")), &limits), DONE);
    assert_int_equal(status_of(RAW(LENGTH(" 1", "")), &limits), 413);
    assert_int_equal(status_of(RAW(CHUNKED), &limits), 413);
}

/* A head that is larger than its first buffer, in pieces. */
static void test_request_head_grows(void **state)
{
    struct strbuf raw = {0};
    struct run run;

    (void)state;
    strbuf_addstr(&raw, "GET / HTTP/1.1\r\nHost: h\r\n");
    for (int i = 0; i < 90; i++)
        strbuf_addf(&raw, "X-%d: %0200d\r\n", i, i);
    strbuf_addstr(&raw, "\r\n");
    run_begin(&run, &normal);
    for (size_t i = 0; i < raw.len; i += 700)
        run_feed(&run, raw.data + i, raw.len - i < 700 ? raw.len - i : 700);
    assert_int_equal(run.request.state, REQUEST_DONE);
    assert_int_equal(run.request.field_count, 91);
    const struct field *last = &run.request.fields[90];
    assert_int_equal(last->value_len, 200);
    assert_memory_equal(last->value + 198, "89", 2);
    run_end(&run);
    strbuf_release(&raw);
}

static void test_request_has_begun(void **state)
{
    struct run run;

    (void)state;
    run_begin(&run, &normal);
    assert_false(request_has_begun(&run.request));
    run_feed(&run, RAW("\r\n\r\n"));
    assert_false(request_has_begun(&run.request));
    run_feed(&run, RAW("P"));
    assert_true(request_has_begun(&run.request));
    assert_false(request_in_body(&run.request));
    run_feed(&run, RAW("UT / HTTP/1.0\r\nContent-Length: 1\r\n\r\n"));
    assert_true(request_has_begun(&run.request));
    assert_true(request_in_body(&run.request));
    run_feed(&run, RAW("x"));
    assert_false(request_in_body(&run.request));
    run_end(&run);
}

/* ---- mutations --------------------------------------------------------------------------------
 */

static void mutate(struct strbuf *raw)
{
    static const char spice[] = "\r\n\r\n :;,=\"\\\t\0%0159afA/*?#";
    unsigned changes = 1 + random_below(3);

    while (changes-- > 0 && raw->len > 1) {
        unsigned at = random_below((unsigned)raw->len);

        switch (random_below(4)) {
        case 0: raw->data[at] = (char)random_below(256); break;
        case 1: raw->data[at] = spice[random_below(sizeof(spice) - 1)]; break;
        case 2: /* one byte less */
            memmove(raw->data + at, raw->data + at + 1, raw->len - at - 1);
            raw->len--;
            break;
        default: /* a piece twice */
        {
            char piece[16];
            size_t n = 1 + random_below(sizeof(piece));

            n = n < raw->len - at ? n : raw->len - at;
            memcpy(piece, raw->data + at, n);
            (void)strbuf_grow(raw, n);
            memmove(raw->data + at + n, raw->data + at, raw->len - at);
            memcpy(raw->data + at, piece, n);
            raw->len += n;
        }
        }
    }
}

static void try_mutations(const struct row *row, const struct request_limits *limits)
{
    struct strbuf raw = {0}, want = {0};

    for (int i = 0; i < 60; i++) {
        struct run run;

        strbuf_reset(&raw);
        strbuf_add(&raw, row->raw, row->len);
        mutate(&raw);
        run_begin(&run, limits);
        run_feed(&run, raw.data, raw.len);
        (void)outcome_of(&run.request, run.used, &want);
        run_end(&run);
        compare_cut(raw.data, raw.len, limits, BYTES, 0, want.data);
        compare_cut(raw.data, raw.len, limits, RANDOM, 0, want.data);
        compare_cut(raw.data, raw.len, limits, TWO, random_below((unsigned)raw.len), want.data);
    }
    strbuf_release(&raw);
    strbuf_release(&want);
}

/* Broken requests of all kinds: how they were cut must not matter for them either. */
static void test_request_mutations(void **state)
{
    static const struct {
        const struct row *rows;
        size_t count;
    } tables[] = {
        {lines, ARRAY_LEN(lines)},           {targets, ARRAY_LEN(targets)},
        {field_rows, ARRAY_LEN(field_rows)}, {lengths, ARRAY_LEN(lengths)},
        {codings, ARRAY_LEN(codings)},       {chunks, ARRAY_LEN(chunks)},
        {extensions, ARRAY_LEN(extensions)}, {trailer_rows, ARRAY_LEN(trailer_rows)},
        {limit_rows, ARRAY_LEN(limit_rows)}, {chunk_limit_rows, ARRAY_LEN(chunk_limit_rows)},
    };

    (void)state;
    random_state = 4711;
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t].count; i++) {
            const struct row *row = &tables[t].rows[i];

            try_mutations(row, row->limits ? row->limits : &normal);
        }
    }
}

static int make_dir(void **state)
{
    (void)state;
    (void)snprintf(dir, sizeof(dir), "/tmp/gcorn-request-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails when a spooled body left a name behind */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request_line),
        cmocka_unit_test(test_request_methods),
        cmocka_unit_test(test_request_method_bytes),
        cmocka_unit_test(test_request_of_another_protocol),
        cmocka_unit_test(test_request_line_comes_first),
        cmocka_unit_test(test_request_targets),
        cmocka_unit_test(test_request_authority),
        cmocka_unit_test(test_request_fields),
        cmocka_unit_test(test_request_name_bytes),
        cmocka_unit_test(test_request_value_bytes),
        cmocka_unit_test(test_request_host),
        cmocka_unit_test(test_request_content_length),
        cmocka_unit_test(test_request_transfer_encoding),
        cmocka_unit_test(test_request_chunks),
        cmocka_unit_test(test_request_chunk_extensions),
        cmocka_unit_test(test_request_trailers),
        cmocka_unit_test(test_trailers_are_kept),
        cmocka_unit_test(test_request_expect),
        cmocka_unit_test(test_request_connection),
        cmocka_unit_test(test_request_upgrade),
        cmocka_unit_test(test_request_limits),
        cmocka_unit_test(test_request_trailers_too_long),
        cmocka_unit_test(test_request_extensions_too_long),
        cmocka_unit_test(test_request_body_unbounded),
        cmocka_unit_test(test_request_pipeline),
        cmocka_unit_test(test_request_body_large),
        cmocka_unit_test(test_request_body_no_room),
        cmocka_unit_test(test_request_that_may_have_no_body),
        cmocka_unit_test(test_request_head_grows),
        cmocka_unit_test(test_request_has_begun),
        cmocka_unit_test(test_request_mutations),
        cmocka_unit_test(test_request_list_alone),
        cmocka_unit_test(test_request_list_https_is_taken),
        cmocka_unit_test(test_request_list_line_is_one),
        cmocka_unit_test(test_request_list_is_compared),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
