/* SPDX-License-Identifier: MIT
 *
 * Answers: what applications may do and not do, and the bytes that leave for it (RFC 9112 6,
 * RFC 9110 6.4 and 8.6). A scripted application stands for all kinds of them.
 */
#include "http_case.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"

#define GET     "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
#define GET_10  "GET / HTTP/1.0\r\n\r\n"
#define KEEP_10 "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
#define CLOSE   "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

#define LINE(status) "HTTP/1.1 " status "\r\n"
#define COMMON       "Server: gcorn\r\nDate: " HTTP_CASE_DATE "\r\n"
#define OK           LINE("200 OK") COMMON
#define ERROR_500                                                                                  \
    LINE("500 Internal Server Error")                                                              \
    COMMON "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\n\r\n"                 \
           "500 Internal Server Error\n"

/* ---- the scripted application -----------------------------------------------------------------
 */

enum what { BYTES, BUFFER, ITER, NOTHING };

static struct {
    enum what what;
    const char *status; /* NULL: gcorn_start is not called */
    const struct gcorn_header *headers;
    const char *const *pieces; /* NULL-ended; NULL: none */
    int start_at;              /* which call of next starts the answer, from 1; 0: the handler */
    int fail_at;               /* which call of next fails, from 1; 0: none */

    int start_result, start_errno; /* of the last gcorn_start */
    int nexts, closes;
    struct gcorn_start_response *start;
} app;

static void app_start(void)
{
    errno = 0;
    app.start_result = gcorn_start(app.start, app.status, app.headers);
    app.start_errno = errno;
}

static ssize_t app_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    assert_ptr_equal(state, &app);
    assert_int_equal(app.closes, 0);
    app.nexts++;
    if (app.nexts == app.start_at)
        app_start();
    if (app.nexts == app.fail_at)
        return -1;
    const char *piece = app.pieces ? app.pieces[app.nexts - 1] : NULL;
    *chunk = piece;
    return piece ? (ssize_t)strlen(piece) : 0;
}

static void app_close(struct gcorn_environ *env, void *state)
{
    assert_non_null(env);
    assert_ptr_equal(state, &app);
    app.closes++;
}

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct gcorn_body *body = NULL;

    app.start = start;
    if (app.status && app.start_at == 0)
        app_start();
    switch (app.what) {
    case BYTES: return gcorn_body_text(env, app.pieces[0]);
    case BUFFER:
        body = gcorn_body_buffer(env);
        for (const char *const *p = app.pieces; p && *p; p++)
            assert_int_equal(gcorn_buffer_write(body, *p, strlen(*p)), 0);
        break;
    case ITER: body = gcorn_body_iter(env, app_next, app_close, &app); break;
    case NOTHING: (void)gcorn_body_iter(env, app_next, app_close, &app); break;
    }
    return body;
}

/* Sets the script anew. */
#define SCRIPT(kind, ...) set_script((struct script){.what = (kind), __VA_ARGS__})

struct script {
    enum what what;
    const char *status;
    const struct gcorn_header *headers;
    const char *const *pieces;
    int start_at, fail_at;
};

static void set_script(struct script s)
{
    memset(&app, 0, sizeof(app));
    app.what = s.what;
    app.status = s.status;
    app.headers = s.headers;
    app.pieces = s.pieces;
    app.start_at = s.start_at;
    app.fail_at = s.fail_at;
}

#define PIECES(...)  ((const char *const[]){__VA_ARGS__, NULL})
#define HEADERS(...) ((const struct gcorn_header[]){__VA_ARGS__, {NULL, NULL}})

enum { KEPT = 0, CLOSED = 1, BROKEN = 2 };

/* Runs the script: just these bytes leave, and the connection is kept, closed or broken. Every body
 * is closed once, by the end of the request at the latest. */
static void expect_bytes(const char *request, const char *want, size_t len, int end)
{
    struct http_case c;
    struct http_answer a;

    app.nexts = app.closes = 0;
    http_case_run(&c, request, handler, &a);
    if (a.bytes.len != len || memcmp(a.bytes.data, want, len) != 0)
        fail_msg("%s\ngives\n%s\nnot\n%s", request, a.bytes.data, want);
    assert_int_equal(a.broken, (end & BROKEN) != 0);
    assert_int_equal(a.close, (end & CLOSED) != 0);
    http_answer_release(&a);
    http_case_close(&c);
    assert_int_equal(app.closes, app.what == ITER || app.what == NOTHING);
}

static void expect_answer(const char *request, const char *want, int end)
{
    expect_bytes(request, want, strlen(want), end);
}

/* ---- framing --------------------------------------------------------------------------------- */

static const struct gcorn_header plain[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
#define PLAIN "Content-Type: text/plain\r\n"

static void test_response_bytes(void **state)
{
    (void)state;
    SCRIPT(BYTES, "200 OK", plain, PIECES("hello"));
    expect_answer(GET, OK PLAIN "Content-Length: 5\r\n\r\nhello", KEPT);
    expect_answer(CLOSE, OK "Connection: close\r\n" PLAIN "Content-Length: 5\r\n\r\nhello", CLOSED);
    expect_answer(GET_10, OK "Connection: close\r\n" PLAIN "Content-Length: 5\r\n\r\nhello",
                  CLOSED);
    expect_answer(KEEP_10, OK "Connection: keep-alive\r\n" PLAIN "Content-Length: 5\r\n\r\nhello",
                  KEPT);
    expect_answer(HEAD, OK PLAIN "Content-Length: 5\r\n\r\n", KEPT);
    SCRIPT(BYTES, "200 OK", NULL, PIECES(""));
    expect_answer(GET, OK "Content-Length: 0\r\n\r\n", KEPT);
    expect_answer(HEAD, OK "Content-Length: 0\r\n\r\n", KEPT);
}

static void test_response_buffer(void **state)
{
    (void)state;
    SCRIPT(BUFFER, "200 OK", NULL, PIECES("hel", "", "lo"));
    expect_answer(GET, OK "Content-Length: 5\r\n\r\nhello", KEPT);
    expect_answer(GET_10, OK "Connection: close\r\nContent-Length: 5\r\n\r\nhello", CLOSED);
    expect_answer(HEAD, OK "Content-Length: 5\r\n\r\n", KEPT);
    SCRIPT(BUFFER, "200 OK", NULL, NULL);
    expect_answer(GET, OK "Content-Length: 0\r\n\r\n", KEPT);
}

static void test_response_iterator_chunked(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", plain, PIECES("hello", " wonderful worlds"));
    expect_answer(
        GET,
        OK PLAIN
        "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n11\r\n wonderful worlds\r\n0\r\n\r\n",
        KEPT);
    assert_int_equal(app.nexts, 3);
    SCRIPT(ITER, "200 OK", NULL, NULL);
    expect_answer(GET, OK "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", KEPT);
    SCRIPT(ITER, "200 OK", NULL, PIECES("x"));
    expect_answer(CLOSE,
                  OK "Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                  CLOSED);
}

/* A 1.0 client knows no chunks: the end of the connection is the end of the body, whatever it
 * asked for. */
static void test_response_iterator_close(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", NULL, PIECES("hel", "lo"));
    expect_answer(GET_10, OK "Connection: close\r\n\r\nhello", CLOSED);
    SCRIPT(ITER, "200 OK", NULL, PIECES("hel", "lo"));
    expect_answer(KEEP_10, OK "Connection: close\r\n\r\nhello", CLOSED);
    SCRIPT(ITER, "200 OK", NULL, PIECES("hel", "lo"), 0, 2);
    expect_answer(GET_10, OK "Connection: close\r\n\r\nhel", CLOSED | BROKEN);
}

static void test_response_iterator_counted(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", HEADERS({"content-length", "5"}, {"A", "b"}), PIECES("hel", "lo"));
    expect_answer(GET, OK "A: b\r\nContent-Length: 5\r\n\r\nhello", KEPT);
    assert_int_equal(app.nexts, 2); /* complete: nobody asks for more */
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "5"}), PIECES("hel", "lo"));
    expect_answer(KEEP_10, OK "Connection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", KEPT);
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "0"}), NULL);
    expect_answer(GET, OK "Content-Length: 0\r\n\r\n", KEPT);
}

/* A longer body is cut, or its tail would be read as the next answer; a shorter one is broken. */
static void test_response_wrong_length(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "5"}), PIECES("hel", "lo, world", "more"));
    expect_answer(GET, OK "Content-Length: 5\r\n\r\nhello", KEPT);
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "0"}), PIECES("hello"));
    expect_answer(GET, OK "Content-Length: 0\r\n\r\n", KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"Content-Length", "3"}), PIECES("hello"));
    expect_answer(GET, OK "Content-Length: 3\r\n\r\nhel", KEPT);
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "9"}), PIECES("hel", "lo"));
    expect_answer(GET, OK "Content-Length: 9\r\n\r\nhello", BROKEN);
    SCRIPT(BYTES, "200 OK", HEADERS({"Content-Length", "9"}), PIECES("hello"));
    expect_answer(GET, OK "Content-Length: 9\r\n\r\nhello", BROKEN);
    SCRIPT(BUFFER, "200 OK", HEADERS({"Content-Length", "9"}), PIECES("hello"));
    expect_answer(GET, OK "Content-Length: 9\r\n\r\nhello", BROKEN);
    SCRIPT(BYTES, "200 OK", HEADERS({"Content-Length", "9"}), PIECES(""));
    expect_answer(GET, OK "Content-Length: 9\r\n\r\n", BROKEN);
}

/* The header fields of HEAD are those of GET, as far as they are known (RFC 9110 9.3.2). */
static void test_response_head(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", NULL, PIECES("hel", "lo"));
    expect_answer(HEAD, OK "\r\n", KEPT);
    assert_int_equal(app.nexts, 1); /* what is late for GET is late here; nobody sees the rest */
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "99"}), PIECES("hel", "lo"));
    expect_answer(HEAD, OK "Content-Length: 99\r\n\r\n", KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"Content-Length", "99"}), PIECES(""));
    expect_answer(HEAD, OK "Content-Length: 99\r\n\r\n", KEPT);
    SCRIPT(ITER, "200 OK", NULL, PIECES("x"));
    expect_answer("HEAD / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                  OK "Connection: keep-alive\r\n\r\n", KEPT);
}

/* What is 500 for GET is 500 for HEAD, without its text. */
static void test_response_head_failed(void **state)
{
    static const char want[] = LINE("500 Internal Server Error") COMMON
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\n\r\n";

    (void)state;
    SCRIPT(BYTES, NULL, NULL, PIECES("hello"));
    expect_answer(HEAD, want, KEPT);
    SCRIPT(BUFFER, NULL, NULL, PIECES("hello"));
    expect_answer(HEAD, want, KEPT);
    SCRIPT(BYTES, "bad", NULL, PIECES("hello"));
    expect_answer(HEAD, want, KEPT);
    SCRIPT(ITER, NULL, NULL, PIECES("hello", "more"));
    expect_answer(HEAD, want, KEPT);
    SCRIPT(ITER, "200 OK", NULL, PIECES("hello", "more"), 2);
    expect_answer(HEAD, want, KEPT);
    SCRIPT(ITER, "200 OK", NULL, PIECES("hello"), 0, 1);
    expect_answer(HEAD, want, KEPT);
    SCRIPT(NOTHING, "200 OK");
    expect_answer(HEAD, want, KEPT);
}

/* Neither has a body; 204 has no Content-Length either (RFC 9110 8.6). */
static void test_response_no_body(void **state)
{
    (void)state;
    SCRIPT(BYTES, "204 No Content", NULL, PIECES(""));
    expect_answer(GET, LINE("204 No Content") COMMON "\r\n", KEPT);
    SCRIPT(BYTES, "204 No Content", HEADERS({"Content-Length", "5"}), PIECES("hello"));
    expect_answer(GET, LINE("204 No Content") COMMON "\r\n", KEPT);
    expect_answer(HEAD, LINE("204 No Content") COMMON "\r\n", KEPT);
    SCRIPT(ITER, "204 No Content", NULL, PIECES("hello"));
    expect_answer(GET, LINE("204 No Content") COMMON "\r\n", KEPT);
    SCRIPT(ITER, "204 No Content", NULL, PIECES("hello"));
    expect_answer(KEEP_10, LINE("204 No Content") COMMON "Connection: keep-alive\r\n\r\n", KEPT);
    SCRIPT(BYTES, "304 Not Modified", HEADERS({"ETag", "\"x\""}), PIECES(""));
    expect_answer(GET, LINE("304 Not Modified") COMMON "ETag: \"x\"\r\n\r\n", KEPT);
    SCRIPT(BYTES, "304 Not Modified", HEADERS({"Content-Length", "5"}), PIECES("hello"));
    expect_answer(GET, LINE("304 Not Modified") COMMON "Content-Length: 5\r\n\r\n", KEPT);
    SCRIPT(BYTES, "205 Reset Content", NULL, PIECES(""));
    expect_answer(GET, LINE("205 Reset Content") COMMON "Content-Length: 0\r\n\r\n", KEPT);
}

static void test_response_status_line(void **state)
{
    (void)state;
    SCRIPT(BYTES, "404", NULL, PIECES(""));
    expect_answer(GET, LINE("404 ") COMMON "Content-Length: 0\r\n\r\n", KEPT);
    SCRIPT(BYTES, "404 ", NULL, PIECES(""));
    expect_answer(GET, LINE("404 ") COMMON "Content-Length: 0\r\n\r\n", KEPT);
    SCRIPT(BYTES, "418 I'm a \"teapot\"\t\xc3\xa9", NULL, PIECES(""));
    expect_answer(GET, LINE("418 I'm a \"teapot\"\t\xc3\xa9") COMMON "Content-Length: 0\r\n\r\n",
                  KEPT);
}

static void test_response_date_and_server(void **state)
{
    (void)state;
    SCRIPT(BYTES, "200 OK", HEADERS({"Server", "mine"}), PIECES(""));
    expect_answer(
        GET, LINE("200 OK") "Date: " HTTP_CASE_DATE "\r\nServer: mine\r\nContent-Length: 0\r\n\r\n",
        KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"date", "today"}), PIECES(""));
    expect_answer(GET, LINE("200 OK") "Server: gcorn\r\ndate: today\r\nContent-Length: 0\r\n\r\n",
                  KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"DATE", "today"}, {"SERVER", ""}), PIECES(""));
    expect_answer(GET, LINE("200 OK") "DATE: today\r\nSERVER: \r\nContent-Length: 0\r\n\r\n", KEPT);
}

static void test_context_date(void **state)
{
    struct http_context c = {0};

    (void)state;
    http_context_set_date(&c, 0);
    assert_string_equal(c.common_fields,
                        "\r\nServer: gcorn\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\n");
    assert_int_equal(c.common_fields_len, strlen(c.common_fields));
    http_context_set_date(&c, 951782400); /* a leap day */
    assert_string_equal(c.common_fields,
                        "\r\nServer: gcorn\r\nDate: Tue, 29 Feb 2000 00:00:00 GMT\r\n");
}

/* ---- gcorn_start ------------------------------------------------------------------------------
 */

static void test_response_start_late(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", plain, PIECES("hello"), 1);
    expect_answer(GET, OK PLAIN "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", KEPT);
    assert_int_equal(app.start_result, 0);
    /* for HEAD the body is asked only until it has started */
    SCRIPT(ITER, "200 OK", plain, PIECES("hello", "more"), 1);
    expect_answer(HEAD, OK PLAIN "\r\n", KEPT);
    assert_int_equal(app.nexts, 1);
    /* at the end, without a byte */
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "0"}), NULL, 1);
    expect_answer(GET, OK "Content-Length: 0\r\n\r\n", KEPT);
    /* too late: with the second piece */
    SCRIPT(ITER, "200 OK", plain, PIECES("hello", "more"), 2);
    expect_answer(GET, ERROR_500, KEPT);
    assert_int_equal(app.nexts, 1);
    /* never */
    SCRIPT(ITER, NULL, NULL, NULL);
    expect_answer(GET, ERROR_500, KEPT);
    SCRIPT(BYTES, NULL, NULL, PIECES("hello"));
    expect_answer(GET, ERROR_500, KEPT);
}

static struct gcorn_body *starts_twice(struct gcorn_environ *env,
                                       struct gcorn_start_response *start)
{
    char status[16] = "404 Gone", value[4] = "v1";
    const struct gcorn_header first[] = {
        {"Content-Length", "77"}, {"Server", "x"}, {"Date", "y"}, {NULL, NULL}};
    const struct gcorn_header second[] = {{"X", value}, {NULL, NULL}};

    assert_int_equal(gcorn_start(start, "200 OK", first), 0);
    assert_int_equal(gcorn_start(start, status, second), 0);
    memset(status, '#', sizeof(status)); /* both were copied */
    memset(value, '#', sizeof(value));
    return gcorn_body_text(env, "abc");
}

/* The later start replaces all of the earlier one. */
static void test_response_start_twice(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    http_case_run(&c, GET, starts_twice, &a);
    assert_string_equal(a.bytes.data,
                        LINE("404 Gone") COMMON "X: v1\r\nContent-Length: 3\r\n\r\nabc");
    assert_int_equal(c.env.response.status, 404);
    http_answer_release(&a);
    http_case_close(&c);
}

static void test_response_start_refused(void **state)
{
    static const struct {
        const char *status;
        struct gcorn_header headers[3];
    } bad[] = {
        {"200 OK", {{"A", "b\r\nC: d"}}},
        {"200 OK", {{"A", "b\r"}}},
        {"200 OK", {{"A", "b\n"}}},
        {"200 OK", {{"A", "\x01"}}},
        {"200 OK", {{"A", "\x7f"}}},
        {"200 OK", {{"A", "0123456789abcdef\n"}}},
        {"200 OK", {{"A", NULL}}},
        {"200 OK", {{"", "b"}}},
        {"200 OK", {{"A b", "c"}}},
        {"200 OK", {{"A:", "c"}}},
        {"200 OK", {{"A\r\nB", "c"}}},
        {"200 OK", {{"A\xc3\xa9", "c"}}},
        {"200 OK", {{"Connection", "close"}}},
        {"200 OK", {{"connection", "keep-alive"}}},
        {"200 OK", {{"Keep-Alive", "timeout=5"}}},
        {"200 OK", {{"Transfer-Encoding", "chunked"}}},
        {"200 OK", {{"TRANSFER-ENCODING", "identity"}}},
        {"200 OK", {{"TE", "trailers"}}},
        {"200 OK", {{"Trailer", "X"}}},
        {"200 OK", {{"Upgrade", "websocket"}}},
        {"200 OK", {{"Proxy-Connection", "close"}}},
        {"200 OK", {{"Proxy-Authenticate", "Basic"}}},
        {"200 OK", {{"Proxy-Authorization", "x"}}},
        {"200 OK", {{"Content-Length", "5"}, {"content-length", "5"}}},
        {"200 OK", {{"Content-Length", "0"}, {"Content-Length", "0"}}},
        {"200 OK", {{"Content-Length", ""}}},
        {"200 OK", {{"Content-Length", "-1"}}},
        {"200 OK", {{"Content-Length", "-0"}}},
        {"200 OK", {{"Content-Length", "+1"}}},
        {"200 OK", {{"Content-Length", " 1"}}},
        {"200 OK", {{"Content-Length", "1 "}}},
        {"200 OK", {{"Content-Length", "0x1"}}},
        {"200 OK", {{"Content-Length", "1, 1"}}},
        {"200 OK", {{"Content-Length", "9223372036854775808"}}},
        {"200 OK", {{"Good", "x"}, {"Bad ", "y"}}},
        {"", {{"A", "b"}}},
        {"OK", {{"A", "b"}}},
        {"20", {{"A", "b"}}},
        {"20 OK", {{"A", "b"}}},
        {"2000 OK", {{"A", "b"}}},
        {"200OK", {{"A", "b"}}},
        {" 200 OK", {{"A", "b"}}},
        {"HTTP/1.1 200 OK", {{"A", "b"}}},
        {"200 OK\r\nX: y", {{"A", "b"}}},
        {"200 OK\n", {{"A", "b"}}},
        {"200\r", {{"A", "b"}}},
        {"2\xb2"
         "0 OK",
         {{"A", "b"}}},
        {"099 OK", {{"A", "b"}}},
        {"100 Continue", {{"A", "b"}}},
        {"101 Switching Protocols", {{"A", "b"}}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        SCRIPT(BYTES, bad[i].status, bad[i].headers, PIECES("secret"));
        expect_answer(GET, ERROR_500, KEPT);
        if (app.start_result != -1 || app.start_errno != EINVAL)
            fail_msg("%s, %s: %s", bad[i].status, bad[i].headers[0].name,
                     strerror(app.start_errno));
    }
}

/* Near to what is refused, and good. */
static void test_response_start_accepted(void **state)
{
    (void)state;
    SCRIPT(BYTES, "200 OK", HEADERS({"Tea", "x"}, {"Connections", "y"}, {"X_Y", ""}, {"V", "a\tb"}),
           PIECES(""));
    expect_answer(
        GET, OK "Tea: x\r\nConnections: y\r\nX_Y: \r\nV: a\tb\r\nContent-Length: 0\r\n\r\n", KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2"}), PIECES(""));
    expect_answer(GET, OK "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 0\r\n\r\n", KEPT);
    SCRIPT(BYTES, "200 OK", HEADERS({"Content-Length", "005"}), PIECES("hello"));
    expect_answer(GET, OK "Content-Length: 5\r\n\r\nhello", KEPT);
}

static struct gcorn_body *null_status(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    assert_int_equal(gcorn_start(start, NULL, NULL), -1);
    assert_int_equal(errno, EINVAL);
    return gcorn_body_text(env, "x");
}

static struct gcorn_body *refused_then_good(struct gcorn_environ *env,
                                            struct gcorn_start_response *start)
{
    static const struct gcorn_header bad[] = {
        {"Content-Length", "9"}, {"Date", "x"}, {"Bad name", "x"}, {NULL, NULL}};

    assert_int_equal(gcorn_start(start, "200 OK", bad), -1);
    assert_int_equal(gcorn_start(start, "200 OK", NULL), 0);
    return gcorn_body_text(env, "x");
}

static struct gcorn_body *good_then_refused(struct gcorn_environ *env,
                                            struct gcorn_start_response *start)
{
    assert_int_equal(gcorn_start(start, "200 OK", plain), 0);
    assert_int_equal(gcorn_start(start, "1", NULL), -1);
    return gcorn_body_text(env, "x");
}

static void expect_of(gcorn_app *run, const char *want)
{
    struct http_case c;
    struct http_answer a;

    http_case_run(&c, GET, run, &a);
    assert_string_equal(a.bytes.data, want);
    http_answer_release(&a);
    http_case_close(&c);
}

static void test_response_start_mended(void **state)
{
    (void)state;
    expect_of(null_status, ERROR_500);
    expect_of(refused_then_good, OK "Content-Length: 1\r\n\r\nx");
    expect_of(good_then_refused, ERROR_500);
}

static ssize_t restarting_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *calls = state;

    (void)env;
    errno = 0;
    int result = gcorn_start(app.start, "500 Late", NULL);
    if (++*calls == 1) {
        assert_int_equal(result, 0); /* no byte has been handed over yet */
        *chunk = "x";
        return 1;
    }
    assert_int_equal(result, -1);
    assert_int_equal(errno, EALREADY);
    return 0;
}

static int restarts;

static struct gcorn_body *restarting(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    app.start = start;
    restarts = 0;
    assert_int_equal(gcorn_start(start, "200 OK", plain), 0);
    return gcorn_body_iter(env, restarting_next, NULL, &restarts);
}

static void test_response_start_after_first_byte(void **state)
{
    (void)state;
    expect_of(restarting,
              LINE("500 Late") COMMON "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
    assert_int_equal(restarts, 2);
}

/* ---- failures -------------------------------------------------------------------------------- */

static void test_response_null_body(void **state)
{
    (void)state;
    SCRIPT(NOTHING, "200 OK", plain);
    expect_answer(GET, ERROR_500, KEPT);
    SCRIPT(NOTHING, NULL);
    expect_answer(CLOSE,
                  LINE("500 Internal Server Error") COMMON
                  "Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
                  "Content-Length: 26\r\n\r\n500 Internal Server Error\n",
                  CLOSED);
}

static struct gcorn_body *text_of_null(struct gcorn_environ *env,
                                       struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_text(env, NULL);
}

static struct gcorn_body *integer(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)env;
    (void)gcorn_start(start, "200 OK", NULL);
    return (struct gcorn_body *)(uintptr_t)42;
}

static struct gcorn_body *of_no_request(struct gcorn_environ *env,
                                        struct gcorn_start_response *start)
{
    static struct gcorn_body body;

    (void)gcorn_body_text(env, "of the request, and not returned");
    (void)gcorn_start(start, "200 OK", NULL);
    return &body;
}

static struct gcorn_body *bytes_of_null(struct gcorn_environ *env,
                                        struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_bytes(env, NULL, 5);
}

static struct gcorn_body *iter_of_null(struct gcorn_environ *env,
                                       struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_iter(env, NULL, NULL, NULL);
}

static struct gcorn_body *the_first_of_two(struct gcorn_environ *env,
                                           struct gcorn_start_response *start)
{
    struct gcorn_body *first = gcorn_body_text(env, "x");

    (void)gcorn_body_text(env, "not returned");
    (void)gcorn_start(start, "200 OK", NULL);
    return first;
}

static void test_response_what_is_not_a_body(void **state)
{
    const void *chunk;

    (void)state;
    expect_of(integer, ERROR_500);
    expect_of(of_no_request, ERROR_500);
    expect_of(bytes_of_null, ERROR_500);
    expect_of(iter_of_null, ERROR_500);
    expect_of(the_first_of_two, OK "Content-Length: 1\r\n\r\nx");
    assert_int_equal(gcorn_body_next(NULL, &chunk), -1);
    assert_int_equal(gcorn_body_len(NULL), -1);
    assert_int_equal(gcorn_buffer_write(NULL, "x", 1), -1);
    gcorn_body_close(NULL);
}

static ssize_t no_chunk_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    (void)chunk;
    return 5;
}

static struct gcorn_body *no_chunk(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_iter(env, no_chunk_next, NULL, NULL);
}

static void test_response_next_fails(void **state)
{
    (void)state;
    SCRIPT(ITER, "200 OK", plain, PIECES("x"), 0, 1);
    expect_answer(GET, ERROR_500, KEPT);
    SCRIPT(ITER, "200 OK", plain, PIECES("x"), 1, 1);
    expect_answer(GET, ERROR_500, KEPT);
    SCRIPT(ITER, "200 OK", NULL, PIECES("x", "y"), 0, 2);
    expect_answer(GET, OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", BROKEN);
    SCRIPT(ITER, "200 OK", HEADERS({"Content-Length", "2"}), PIECES("x", "y"), 0, 2);
    expect_answer(GET, OK "Content-Length: 2\r\n\r\nx", BROKEN);
    assert_int_equal(app.nexts, 2); /* not asked again */
    expect_of(text_of_null, ERROR_500);
    expect_of(no_chunk, ERROR_500);
}

/* The client leaves amid the answer: close is called all the same, once. */
static void test_response_abandoned(void **state)
{
    struct http_case c;
    struct strbuf out = {0};
    const char *data;
    size_t len;

    (void)state;
    SCRIPT(ITER, "200 OK", plain, PIECES("a", "b", "c"));
    http_case_open(&c);
    http_case_feed(&c, GET);
    response_run(&c.env, handler);
    assert_true(environ_has_code(&c.env));
    assert_true(framing_h1_next(&c.env, &out, &data, &len));
    assert_int_equal(app.closes, 0);
    http_case_close(&c);
    assert_int_equal(app.closes, 1);
    strbuf_release(&out);

    SCRIPT(ITER, "200 OK", plain, PIECES("a"));
    http_case_open(&c);
    http_case_feed(&c, GET);
    response_run(&c.env, handler);
    response_close(&c.env);
    response_close(&c.env);
    assert_false(environ_has_code(&c.env));
    http_case_close(&c);
    assert_int_equal(app.closes, 1);
    assert_int_equal(app.nexts, 0);
}

/* ---- buffers --------------------------------------------------------------------------------- */

static struct gcorn_body *unused;

static struct gcorn_body *writes(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    unused = gcorn_body_buffer(env);
    assert_int_equal(gcorn_buffer_write(unused, "lost", 4), 0);
    (void)gcorn_start(start, "200 OK", NULL);
    assert_int_equal(gcorn_buffer_printf(body, "%d %s", 42, "is it"), 0);
    assert_int_equal(gcorn_buffer_printf(body, "%s", ""), 0);
    assert_int_equal(gcorn_buffer_printf(body, "%0300d", 7), 0);
    struct gcorn_body *bytes = gcorn_body_bytes(env, "x", 1);
    assert_int_equal(gcorn_buffer_write(bytes, "y", 1), -1);
    assert_int_equal(errno, EINVAL);
    return body;
}

static void test_response_writef(void **state)
{
    struct http_case c;
    struct http_answer a;
    char want[512];

    (void)state;
    (void)snprintf(want, sizeof(want), OK "Content-Length: 308\r\n\r\n42 is it%0300d", 7);
    http_case_run(&c, GET, writes, &a);
    assert_string_equal(a.bytes.data, want);
    assert_int_equal(gcorn_buffer_write(c.env.response.body, "late", 4), -1);
    assert_int_equal(errno, EINVAL);
    http_answer_release(&a);
    http_case_close(&c);
}

static struct gcorn_body *writes_much(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct gcorn_body *body = gcorn_body_buffer(env);
    int failures = 0;

    (void)gcorn_start(start, "200 OK", NULL);
    for (int i = 0; i < 10000; i++)
        failures += gcorn_buffer_printf(body, "%09d\n", i) < 0;
    *(int *)gcorn_get_ptr(env, "t.failures") = failures;
    return body;
}

/* 100,000 bytes: past what memory holds they lie in a file: where none can be made, it is 500. */
static void test_response_buffer_spooled(void **state)
{
    struct http_case c;
    struct http_answer a;
    int failures;

    (void)state;
    for (int room = 1; room >= 0; room--) {
        http_case_open(&c);
        if (!room)
            c.context.limits.body_place.dir = "/nonexistent/gcorn";
        http_case_feed(&c, GET);
        gcorn_set_ptr(&c.env, "t.failures", &failures);
        response_run(&c.env, writes_much);
        http_case_collect(&c, &a);
        if (room) {
            static const char head[] = OK "Content-Length: 100000\r\n\r\n";
            size_t head_len = sizeof(head) - 1;

            assert_int_equal(failures, 0);
            assert_int_equal(a.bytes.len, head_len + 100000);
            assert_memory_equal(a.bytes.data, head, head_len);
            assert_memory_equal(a.bytes.data + head_len + 76540, "000007654\n", 10);
            assert_memory_equal(a.bytes.data + a.bytes.len - 10, "000009999\n", 10);
        } else {
            assert_true(failures > 0);
            assert_string_equal(a.bytes.data, ERROR_500);
        }
        http_answer_release(&a);
        http_case_close(&c);
    }
}

/* ---- large pieces -----------------------------------------------------------------------------
 */

static char large[3][40000];
static int large_next_calls;

static ssize_t large_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    static const size_t lens[] = {40000, 10, 16384, 16385};
    int i = large_next_calls++;

    (void)env;
    (void)state;
    if (i == (int)ARRAY_LEN(lens))
        return 0;
    *chunk = large[i % 3];
    return (ssize_t)lens[i];
}

static struct gcorn_body *large_app(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    large_next_calls = 0;
    (void)gcorn_start(start, "200 OK", app.headers);
    return gcorn_body_iter(env, large_next, NULL, NULL);
}

static void add_large(struct strbuf *out, size_t i, size_t len, bool chunked)
{
    if (chunked)
        strbuf_addf(out, "%zx\r\n", len);
    strbuf_add(out, large[i], len);
    if (chunked)
        strbuf_addstr(out, "\r\n");
}

/* Pieces above 16 KiB are handed out where they lie, with the same bytes around them. */
static void expect_large(const char *request, const char *head, bool chunked)
{
    struct http_case c;
    struct http_answer a;
    struct strbuf want = {0};

    strbuf_addstr(&want, head);
    add_large(&want, 0, 40000, chunked);
    add_large(&want, 1, 10, chunked);
    add_large(&want, 2, 16384, chunked);
    add_large(&want, 0, 16385, chunked);
    if (chunked)
        strbuf_addstr(&want, "0\r\n\r\n");
    http_case_run(&c, request, large_app, &a);
    assert_int_equal(a.bytes.len, want.len);
    assert_memory_equal(a.bytes.data, want.data, want.len);
    assert_int_equal(a.in_place, 2);
    assert_false(a.broken);
    assert_int_equal(c.env.response.body_len, 40000 + 10 + 16384 + 16385);
    http_answer_release(&a);
    http_case_close(&c);
    strbuf_release(&want);
}

static void test_response_large(void **state)
{
    (void)state;
    for (size_t i = 0; i < 3; i++)
        memset(large[i], 'a' + (int)i, sizeof(large[i]));
    app.headers = NULL;
    expect_large(GET, OK "Transfer-Encoding: chunked\r\n\r\n", true);
    expect_large(GET_10, OK "Connection: close\r\n\r\n", false);
    app.headers = HEADERS({"Content-Length", "72779"});
    expect_large(GET, OK "Content-Length: 72779\r\n\r\n", false);
}

static struct gcorn_body *large_bytes(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_borrow(env, large[0], sizeof(large[0]));
}

static void test_response_large_in_place(void **state)
{
    struct http_case c;
    struct strbuf out = {0};
    const char *data;
    size_t len;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    response_run(&c.env, large_bytes);
    assert_false(framing_h1_next(&c.env, &out, &data, &len));
    assert_ptr_equal(data, large[0]);
    assert_int_equal(len, sizeof(large[0]));
    assert_string_equal(out.data, OK "Content-Length: 40000\r\n\r\n");
    strbuf_release(&out);
    http_case_close(&c);
}

static ssize_t large_then_again(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    *chunk = large[0];
    return large_next_calls++ == 0 ? (ssize_t)sizeof(large[0]) : GCORN_AGAIN;
}

static struct gcorn_body *large_wait(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    large_next_calls = 0;
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_iter(env, large_then_again, NULL, NULL);
}

/* Nothing of a chunk is held back while its application has nothing more. */
static void test_response_large_then_waits(void **state)
{
    struct http_case c;
    struct strbuf out = {0};
    const char *data;
    size_t len;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    response_run(&c.env, large_wait);
    assert_true(framing_h1_next(&c.env, &out, &data, &len));
    assert_ptr_equal(data, large[0]);
    strbuf_reset(&out);
    for (int i = 0; i < 3; i++) { /* once, however often it is asked */
        assert_true(framing_h1_next(&c.env, &out, &data, &len));
        assert_true(c.env.response.waits);
        assert_int_equal(len, 0);
        assert_int_equal(out.len, 2);
        assert_memory_equal(out.data, "\r\n", 2);
    }
    strbuf_release(&out);
    http_case_close(&c);
}

/* ---- the server's own answers ------------------------------------------------------------------
 */

static void test_response_refuse(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    http_case_open(&c);
    (void)request_feed(&c.env.request, "GET\n", 4);
    assert_int_equal(c.env.request.state, REQUEST_REFUSED);
    response_refuse(&c.env, 400, "because");
    c.env.h1.close = true;
    http_case_collect(&c, &a);
    assert_string_equal(a.bytes.data, LINE("400 Bad Request") COMMON
                        "Connection: close\r\nContent-Type: text/plain; charset=utf-8\r\n"
                        "Content-Length: 25\r\n\r\n400 Bad Request: because\n");
    assert_int_equal(a.calls, 1);
    http_answer_release(&a);
    http_case_close(&c);
}

static void test_response_reason(void **state)
{
    (void)state;
    assert_string_equal(response_reason(400), "Bad Request");
    assert_string_equal(response_reason(413), "Content Too Large");
    assert_string_equal(response_reason(431), "Request Header Fields Too Large");
    assert_string_equal(response_reason(505), "HTTP Version Not Supported");
    assert_string_equal(response_reason(299), "Unknown");
}

/* ---- an environ over and over ------------------------------------------------------------------
 */

/* A worker keeps one environ for many requests: nothing of one may show in the next. */
static void test_response_reuse(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    for (int i = 0; i < 3; i++) {
        struct http_answer a;
        bool bad = i == 1;

        SCRIPT(ITER, bad ? "1" : "200 OK", NULL, PIECES("x"));
        http_case_feed(&c, bad ? CLOSE : GET);
        response_run(&c.env, handler);
        http_case_collect(&c, &a);
        assert_string_equal(a.bytes.data,
                            bad ? ERROR_500
                                : OK "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n");
        http_answer_release(&a);
        environ_reset(&c.env);
        assert_int_equal(app.closes, 1);
        environ_init(&c.env, &c.context, &c.peer, 1);
    }
    http_case_close(&c);
}

/* One answer of an environ that is kept; date is the second in which it leaves. */
static void answer_again(struct http_case *c, const char *request, time_t date,
                         struct http_answer *a)
{
    app.nexts = app.closes = 0;
    http_context_set_date(&c->context, date);
    http_case_feed(c, request);
    response_run(&c->env, handler);
    c->env.h1.close = !c->env.request.keep_alive;
    http_case_collect(c, a);
    environ_reset(&c->env);
    environ_init(&c->env, &c->context, &c->peer, HTTP_CASE_ID);
}

/* Whatever was answered before, an answer is the same as if it were the first: also where both say
 * nearly the same. */
static void test_response_after_another(void **state)
{
    static const struct gcorn_header
        other_value[] = {{"Content-Type", "text/html"}, {NULL, NULL}},
        longer[] = {{"Content-Type", "text/plain2"}, {NULL, NULL}},
        shorter[] = {{"Content-Type", "text"}, {NULL, NULL}},
        other_name[] = {{"content-Type", "text/plain"}, {NULL, NULL}},
        two[] = {{"Content-Type", "text/plain"}, {"X", "y"}, {NULL, NULL}},
        dated[] = {{"Content-Type", "text/plain"}, {"Date", "now"}, {NULL, NULL}},
        counted[] = {{"Content-Type", "text/plain"}, {"Content-Length", "5"}, {NULL, NULL}},
        refused[] = {{"Content-Type", "text/plain"}, {"X", "a\nb"}, {NULL, NULL}},
        no_value[] = {{"Content-Type", NULL}, {NULL, NULL}},
        many[] = {{"A", "1"}, {"B", "2"}, {"C", "3"}, {"D", "4"}, {"E", "5"},
                  {"F", "6"}, {"G", "7"}, {"H", "8"}, {"I", "9"}, {NULL, NULL}};
    static const struct again {
        const char *request, *status;
        const struct gcorn_header *headers;
        const char *text;
        time_t later; /* seconds */
        enum what what;
    } all[] = {
        {GET, "200 OK", plain, "hello", 0, BYTES},
        {GET, "200 OK", plain, "hello", 1, BYTES},
        {GET, "200 OK", plain, "hello!", 0, BYTES},
        {GET, "200 OK", plain, "hello", 0, ITER},
        {HEAD, "200 OK", plain, "hello", 0, BYTES},
        {CLOSE, "200 OK", plain, "hello", 0, BYTES},
        {KEEP_10, "200 OK", plain, "hello", 0, BYTES},
        {GET_10, "200 OK", plain, "hello", 0, ITER},
        {GET, "200 OKAY", plain, "hello", 0, BYTES},
        {GET, "200 O", plain, "hello", 0, BYTES},
        {GET, "200", plain, "hello", 0, BYTES},
        {GET, "204 No Content", plain, "", 0, BYTES},
        {GET, "404 No", plain, "hello", 0, BYTES},
        {GET, "1 No", plain, "hello", 0, BYTES},
        {GET, NULL, plain, "hello", 0, BYTES},
        {GET, "200 OK", NULL, "hello", 0, BYTES},
        {GET, "200 OK", other_value, "hello", 0, BYTES},
        {GET, "200 OK", longer, "hello", 0, BYTES},
        {GET, "200 OK", shorter, "hello", 0, BYTES},
        {GET, "200 OK", other_name, "hello", 0, BYTES},
        {GET, "200 OK", two, "hello", 0, BYTES},
        {GET, "200 OK", dated, "hello", 0, BYTES},
        {GET, "200 OK", dated, "hello", 1, BYTES},
        {GET, "200 OK", counted, "hello", 0, BYTES},
        {GET, "200 OK", refused, "hello", 0, BYTES},
        {GET, "200 OK", no_value, "hello", 0, BYTES},
        {GET, "200 OK", many, "hello", 0, BYTES},
        {GET, "200 OK", many, "hello", 1, BYTES},
    };

    (void)state;
    for (size_t before = 0; before < ARRAY_LEN(all); before++) {
        for (size_t i = 0; i < ARRAY_LEN(all); i++) {
            const struct again *turns[] = {&all[i], &all[before], &all[i], &all[i]};
            struct http_answer answers[ARRAY_LEN(turns)];
            struct http_case c;

            http_case_open(&c);
            for (size_t turn = 0; turn < ARRAY_LEN(turns); turn++) {
                const struct again *t = turns[turn];

                SCRIPT(t->what, t->status, t->headers, PIECES(t->text, NULL));
                answer_again(&c, t->request, HTTP_CASE_WALL + t->later, &answers[turn]);
            }
            assert_string_equal(answers[2].bytes.data, answers[0].bytes.data);
            assert_string_equal(answers[3].bytes.data, answers[0].bytes.data);
            for (size_t turn = 0; turn < ARRAY_LEN(turns); turn++)
                http_answer_release(&answers[turn]);
            http_case_close(&c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_response_bytes),
        cmocka_unit_test(test_response_buffer),
        cmocka_unit_test(test_response_iterator_chunked),
        cmocka_unit_test(test_response_iterator_close),
        cmocka_unit_test(test_response_iterator_counted),
        cmocka_unit_test(test_response_wrong_length),
        cmocka_unit_test(test_response_head),
        cmocka_unit_test(test_response_head_failed),
        cmocka_unit_test(test_response_no_body),
        cmocka_unit_test(test_response_status_line),
        cmocka_unit_test(test_response_date_and_server),
        cmocka_unit_test(test_context_date),
        cmocka_unit_test(test_response_start_late),
        cmocka_unit_test(test_response_start_twice),
        cmocka_unit_test(test_response_start_refused),
        cmocka_unit_test(test_response_start_accepted),
        cmocka_unit_test(test_response_start_mended),
        cmocka_unit_test(test_response_start_after_first_byte),
        cmocka_unit_test(test_response_null_body),
        cmocka_unit_test(test_response_next_fails),
        cmocka_unit_test(test_response_what_is_not_a_body),
        cmocka_unit_test(test_response_abandoned),
        cmocka_unit_test(test_response_writef),
        cmocka_unit_test(test_response_buffer_spooled),
        cmocka_unit_test(test_response_large),
        cmocka_unit_test(test_response_large_in_place),
        cmocka_unit_test(test_response_large_then_waits),
        cmocka_unit_test(test_response_refuse),
        cmocka_unit_test(test_response_reason),
        cmocka_unit_test(test_response_reuse),
        cmocka_unit_test(test_response_after_another),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
