/* SPDX-License-Identifier: MIT
 *
 * Trailers of answers (RFC 9110 6.5, RFC 9112 7.1.2): who gets them, with which bodies, and their
 * bytes.
 */
#include "http_case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/util.h"

#define TE(value) "GET / HTTP/1.1\r\nHost: h\r\nTE: " value "\r\n\r\n"
#define GET       TE("trailers")
#define HEAD      "HEAD / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n"
#define PLAIN_GET "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

#define COMMON "Server: gcorn\r\nDate: " HTTP_CASE_DATE "\r\n"
#define OK     "HTTP/1.1 200 OK\r\n" COMMON

#define CHUNKED  "Transfer-Encoding: chunked\r\n\r\n"
#define COUNTED  "Content-Length: 5\r\n\r\nhello"
#define IN_CHUNK CHUNKED "5\r\nhello\r\n0\r\n"

/* ---- an application ------------------------------------------------------------------------- */

enum what { TEXT, BUFFER, FILE_BODY, ITER };

static struct {
    enum what what;
    const char *name, *value;
    const struct gcorn_header *headers;
    const char *status;
    int at;     /* the call of next that adds it, from 1; 0: the handler, before gcorn_start */
    bool fails; /* the handler, after that */
    int result, error;
    int nexts;
} app;

static void add_trailer(struct gcorn_environ *env)
{
    errno = 0;
    app.result = gcorn_trailer(env, app.name, app.value);
    app.error = errno;
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)state;
    if (++app.nexts == app.at)
        add_trailer(env);
    *chunk = "hello";
    return app.nexts == 1 ? 5 : 0;
}

static int hello_file(void)
{
    int fd = memfd_create("hello", MFD_CLOEXEC);

    assert_int_equal(write(fd, "hello", 5), 5);
    return fd;
}

static struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct gcorn_body *body;

    if (app.at == 0)
        add_trailer(env);
    if (app.fails)
        return NULL;
    (void)gcorn_start(start, app.status, app.headers);
    switch (app.what) {
    case TEXT: return gcorn_body_text(env, "hello");
    case FILE_BODY: return gcorn_body_file(env, hello_file(), 0, -1);
    case ITER: return gcorn_body_iter(env, next, NULL, NULL);
    case BUFFER: break;
    }
    body = gcorn_body_buffer(env);
    (void)gcorn_buffer_write(body, "hello", 5);
    return body;
}

static void set_app(enum what what, int at)
{
    memset(&app, 0, sizeof(app));
    app.what = what;
    app.at = at;
    app.name = "X-Sum";
    app.value = "5d41";
    app.status = "200 OK";
}

static void expect_of(gcorn_app *run, const char *request, const char *want)
{
    struct http_case c;
    struct http_answer a;

    app.nexts = 0;
    http_case_open(&c);
    http_case_feed(&c, request);
    response_run(&c.env, run);
    c.env.h1.close = !c.env.request.keep_alive;
    c.env.response.takes_files = false;
    http_case_collect(&c, &a);
    strbuf_add(&a.bytes, "", 1);
    assert_string_equal(a.bytes.data, want);
    http_answer_release(&a);
    http_case_close(&c);
}

static void expect(const char *request, const char *want)
{
    expect_of(handler, request, want);
}

static void failed_with(int error)
{
    assert_int_equal(app.result, error == 0 ? 0 : -1);
    assert_int_equal(app.error, error);
}

#define ANNOUNCED  OK "Trailer: X-Sum\r\n" IN_CHUNK "X-Sum: 5d41\r\n\r\n"
#define NO_TRAILER OK IN_CHUNK "\r\n"

/* ---- who, and with what ---------------------------------------------------------------------- */

static void test_trailer_is_announced_where_known(void **state)
{
    (void)state;
    for (enum what what = TEXT; what <= ITER; what++) {
        set_app(what, 0);
        expect(GET, ANNOUNCED);
        failed_with(0);
    }
    set_app(ITER, 1);
    expect(GET, ANNOUNCED);
}

static void test_trailer_at_the_end_is_not_announced(void **state)
{
    (void)state;
    set_app(ITER, 2);
    expect(GET, OK IN_CHUNK "X-Sum: 5d41\r\n\r\n");
    failed_with(0);
}

static void test_trailer_without_te_is_dropped(void **state)
{
    static const char *const requests[] = {PLAIN_GET,
                                           TE("gzip"),
                                           TE(""),
                                           TE("trailers;q=0"),
                                           TE("trailers; q=0.000"),
                                           TE("trailersx"),
                                           TE("x;a=trailers"),
                                           TE("trailer")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        set_app(ITER, 0);
        expect(requests[i], NO_TRAILER);
        failed_with(ENOTSUP);
        set_app(TEXT, 0);
        expect(requests[i], OK COUNTED);
        failed_with(ENOTSUP);
    }
}

static void test_te_is_a_list(void **state)
{
    static const char *const requests[] = {TE("TRAILERS"),
                                           TE("gzip, trailers"),
                                           TE("deflate;q=0.5,trailers ,"),
                                           TE("trailers;q=0.5"),
                                           TE("trailers;q=1"),
                                           TE("gzip\r\nte: trailers"),
                                           TE("trailers\r\nConnection: TE")};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        set_app(ITER, 0);
        expect(requests[i], ANNOUNCED);
    }
}

static void test_client_of_http_1_0_gets_no_trailer(void **state)
{
    (void)state;
    set_app(ITER, 0);
    expect("GET / HTTP/1.0\r\nTE: trailers\r\n\r\n", OK "Connection: close\r\n\r\nhello");
    failed_with(ENOTSUP);
}

static void test_answer_without_body_has_no_trailer(void **state)
{
    (void)state;
    set_app(TEXT, 0);
    expect(HEAD, OK "Content-Length: 5\r\n\r\n");
    failed_with(ENOTSUP);
    app.status = "204 No Content";
    expect(GET, "HTTP/1.1 204 No Content\r\n" COMMON "\r\n");
    failed_with(0); /* it was not known then */
    app.status = "304 Not Modified";
    expect(GET, "HTTP/1.1 304 Not Modified\r\n" COMMON "\r\n");
    set_app(ITER, 2);
    app.status = "304 Not Modified";
    expect(GET, "HTTP/1.1 304 Not Modified\r\n" COMMON "\r\n");
}

/* ---- a length that is known ------------------------------------------------------------------ */

static const struct gcorn_header five[] = {{"Content-Length", "5"}, {NULL, NULL}};

static void test_given_length_leaves_no_trailer(void **state)
{
    (void)state;
    for (enum what what = TEXT; what <= ITER; what++) {
        set_app(what, 0);
        app.headers = five;
        expect(GET, OK COUNTED);
        failed_with(0); /* the length came later */
    }
    set_app(ITER, 1);
    app.headers = five;
    expect(GET, OK COUNTED);
    failed_with(ENOTSUP);
}

static struct gcorn_body *adds_late(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    struct gcorn_body *body;

    (void)gcorn_start(start, "200 OK", app.headers);
    add_trailer(env);
    failed_with(app.headers ? ENOTSUP : 0);
    body = gcorn_body_text(env, "hello");
    return body;
}

static void test_trailer_after_start(void **state)
{
    (void)state;
    set_app(TEXT, -1);
    expect_of(adds_late, GET, ANNOUNCED);
    app.headers = five;
    expect_of(adds_late, GET, OK COUNTED);
}

/* The sender takes files itself where the length is known, and reads them where it is not told. */
static void test_file_with_trailer_is_read_in_chunks(void **state)
{
    static const struct gcorn_header *const headers[] = {NULL, five};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct http_case c;
        struct strbuf out = {0};
        const char *data;
        size_t len;

        set_app(FILE_BODY, 0);
        app.headers = headers[i];
        http_case_open(&c);
        http_case_feed(&c, GET);
        response_run(&c.env, handler);
        c.env.response.takes_files = true;
        assert_true(framing_h1_next(&c.env, &out, &data, &len));
        assert_int_equal(c.env.response.file.left, headers[i] ? 5 : 0);
        strbuf_release(&out);
        http_case_close(&c);
    }
}

/* ---- too late, or the end of another answer --------------------------------------------------- */

static void add_at_end(void *arg)
{
    add_trailer(arg);
}

static struct gcorn_body *defers(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    gcorn_defer(env, add_at_end, env);
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_iter(env, next, NULL, NULL);
}

static void test_trailer_after_end_is_too_late(void **state)
{
    (void)state;
    set_app(ITER, -1);
    expect_of(defers, GET, NO_TRAILER);
    failed_with(EALREADY);
}

static void test_500_has_no_trailer_of_failed_handler(void **state)
{
    (void)state;
    set_app(TEXT, 0);
    app.fails = true;
    expect(GET, "HTTP/1.1 500 Internal Server Error\r\n" COMMON
                "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\n\r\n"
                "500 Internal Server Error\n");
}

static ssize_t next_fails(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)state;
    if (++app.nexts == 1)
        return next(env, state, chunk);
    *chunk = "hello";
    return app.nexts == 2 ? 5 : -1;
}

static struct gcorn_body *breaks(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    add_trailer(env);
    (void)gcorn_start(start, "200 OK", NULL);
    app.nexts = 1;
    return gcorn_body_iter(env, next_fails, NULL, NULL);
}

static void test_broken_answer_ends_without_trailer(void **state)
{
    (void)state;
    set_app(ITER, -1);
    expect_of(breaks, GET, OK "Trailer: X-Sum\r\n" CHUNKED "5\r\nhello\r\n");
}

/* ---- which ----------------------------------------------------------------------------------- */

static void test_invalid_trailer_is_refused(void **state)
{
    static const struct gcorn_header bad[] = {
        {NULL, "x"},
        {"", "x"},
        {"A b", "x"},
        {"A:", "x"},
        {"A", NULL},
        {"A", "x\r\nB: y"},
        {"A", "\x01"},
        {"Content-Length", "5"},
        {"transfer-encoding", "chunked"},
        {"Trailer", "X"},
        {"TE", "trailers"},
        {"Connection", "close"},
        {"Upgrade", "h2c"},
        {"Host", "h"},
        {"Content-Type", "text/plain"},
        {"Content-Encoding", "gzip"},
        {"Content-Range", "bytes 0-1/2"},
        {"Set-Cookie", "a=b"},
        {"WWW-Authenticate", "Basic"},
        {"Cache-Control", "no-store"},
        {"Location", "/"},
        {"Retry-After", "1"},
        {"Vary", "X"},
        {"Date", HTTP_CASE_DATE},
        {"Age", "1"},
        {"Expires", "0"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        set_app(ITER, 0);
        app.name = bad[i].name;
        app.value = bad[i].value;
        expect(GET, NO_TRAILER);
        failed_with(EINVAL);
        expect(PLAIN_GET, NO_TRAILER); /* whoever asks */
        failed_with(EINVAL);
    }
}

static struct gcorn_body *adds_many(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "200 OK", NULL);
    assert_int_equal(gcorn_trailer(env, "ETag", "\"1\""), 0);
    assert_int_equal(gcorn_trailer(env, "Server-Timing", "a;dur=1"), 0);
    assert_int_equal(gcorn_trailer(env, "server-timing", ""), 0);
    return gcorn_body_text(env, "hello");
}

static void test_trailers_keep_order_and_repetition(void **state)
{
    (void)state;
    expect_of(adds_many, GET,
              OK "Trailer: ETag, Server-Timing\r\n" IN_CHUNK
                 "ETag: \"1\"\r\nServer-Timing: a;dur=1\r\nserver-timing: \r\n\r\n");
}

static struct gcorn_body *adds_all(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    int count = 0;

    while (gcorn_trailer(env, "A", app.value) == 0)
        count++;
    assert_int_equal(errno, EMSGSIZE);
    app.result = count;
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_text(env, "hello");
}

static void test_trailers_are_bounded(void **state)
{
    static char value[4096];
    struct http_case c;
    struct http_answer a;

    (void)state;
    set_app(TEXT, 0);
    http_case_run(&c, GET, adds_all, &a);
    assert_int_equal(app.result, 100);
    http_answer_release(&a);
    http_case_close(&c);
    memset(value, 'v', sizeof(value) - 1);
    app.value = value;
    http_case_run(&c, GET, adds_all, &a);
    assert_int_equal(app.result, 65536 / (4095 + 5));
    http_answer_release(&a);
    http_case_close(&c);
}

/* The head that is kept of one answer is not that of the next. */
static void test_kept_head_and_trailers(void **state)
{
    static const char *const names[] = {"X-Sum", "te", "X-Sum", "Y"};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct http_answer a;

        set_app(ITER, 0);
        app.name = names[i];
        http_case_feed(&c, GET);
        response_run(&c.env, handler);
        http_case_collect(&c, &a);
        strbuf_add(&a.bytes, "", 1);
        if (app.result == 0)
            assert_non_null(strstr(a.bytes.data, i == 3 ? "Trailer: Y\r\n" : "Trailer: X-Sum\r\n"));
        else
            assert_null(strstr(a.bytes.data, "Trailer"));
        http_answer_release(&a);
        environ_reset(&c.env);
        environ_init(&c.env, &c.context, &c.peer, HTTP_CASE_ID);
    }
    http_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trailer_is_announced_where_known),
        cmocka_unit_test(test_trailer_at_the_end_is_not_announced),
        cmocka_unit_test(test_trailer_without_te_is_dropped),
        cmocka_unit_test(test_te_is_a_list),
        cmocka_unit_test(test_client_of_http_1_0_gets_no_trailer),
        cmocka_unit_test(test_answer_without_body_has_no_trailer),
        cmocka_unit_test(test_given_length_leaves_no_trailer),
        cmocka_unit_test(test_trailer_after_start),
        cmocka_unit_test(test_file_with_trailer_is_read_in_chunks),
        cmocka_unit_test(test_trailer_after_end_is_too_late),
        cmocka_unit_test(test_500_has_no_trailer_of_failed_handler),
        cmocka_unit_test(test_broken_answer_ends_without_trailer),
        cmocka_unit_test(test_invalid_trailer_is_refused),
        cmocka_unit_test(test_trailers_keep_order_and_repetition),
        cmocka_unit_test(test_trailers_are_bounded),
        cmocka_unit_test(test_kept_head_and_trailers),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
