/* SPDX-License-Identifier: MIT
 *
 * gcorn_on_head and bodies that are read as they come, in the test library: each rule a row, with the
 * bytes of the body cut at every place, and all at once. The outcome is the same, and that of a
 * server.
 */
#include "case.h"

#include <string.h>

static char seen[1024]; /* by the application, in order */

static void note(const char *what)
{
    size_t len = strlen(seen);

    (void)snprintf(seen + len, sizeof(seen) - len, "%s%s", len > 0 ? " " : "", what);
}

/* ---- the application --------------------------------------------------------------------- */

struct reader {
    char text[64];
    size_t len;
    bool begins;
    bool counts; /* in place of keeping it */
    bool has_ended;
};

static ssize_t next_read(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct reader *r = (struct reader *)state;
    ssize_t n;

    *chunk = "handled";
    if (r->has_ended)
        return 0;
    if (r->begins) {
        r->begins = false;
        return 7;
    }
    while ((n = gcorn_input_read(env, r->text + (r->counts ? 0 : r->len), r->counts ? 64 : 3)) > 0)
        r->len += (size_t)n;
    if (n != 0)
        return n;
    r->has_ended = true;
    note(r->counts ? gcorn_printf(env, "read(%zu)", r->len)
                   : gcorn_printf(env, "read(%s)", r->text));
    return 7;
}

static void close_reader(struct gcorn_environ *env, void *state)
{
    char rest[8];
    ssize_t n;

    (void)state;
    while ((n = gcorn_input_read(env, rest, sizeof(rest))) > 0)
        continue;
    if (n == -1)
        note(errno == EBADMSG      ? "close(EBADMSG)"
             : errno == EMSGSIZE   ? "close(EMSGSIZE)"
             : errno == ECONNRESET ? "close(ECONNRESET)"
                                   : "close(?)");
}

/* ---- middleware that passes everything on ------------------------------------------------ */

static ssize_t next_wrapped(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    return gcorn_body_next((struct gcorn_body *)state, chunk);
}

static void close_wrapped(struct gcorn_environ *env, void *state)
{
    (void)env;
    note("outer");
    gcorn_body_close((struct gcorn_body *)state);
}

GCORN_EXPORT
struct gcorn_body *gcorn_on_head(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    note("head");
    if (strcmp(path, "/deny") == 0) {
        gcorn_start(start_response, "401 Unauthorized", NULL);
        return gcorn_body_text(env, "denied");
    }
    if (strstr(path, "/limit"))
        assert_int_equal(gcorn_limit_body(env, 4), 0);
    if (strncmp(path, "/s", 2) == 0)
        assert_int_equal(gcorn_stream_body(env), 0);
    return NULL;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", NULL);
    if (strncmp(path, "/s", 2) == 0) {
        struct reader *r = (struct reader *)gcorn_alloc(env, sizeof(*r));

        note("stream");
        r->begins = strstr(path, "/begins") != NULL;
        r->counts = strstr(path, "/counts") != NULL;
        struct gcorn_body *body = gcorn_body_iter(env, next_read, close_reader, r);
        return strstr(path, "/wrapped") ? gcorn_body_iter(env, next_wrapped, close_wrapped, body)
                                        : body;
    }
    note(gcorn_printf(env, "handler(%s)", gcorn_input_all(env, NULL)));
    return gcorn_body_text(env, "handled");
}

/* ---- rows -------------------------------------------------------------------------------- */

#define CHUNKED "\nTransfer-Encoding: chunked"
#define FIVE    "\nContent-Length: 5"

static const struct row {
    const char *head, *body;
    int status;
    bool is_broken, closes;
    const char *seen;
} rows[] = {
    {"GET / HTTP/1.1", "", 200, false, false, "head handler()"},
    {"POST / HTTP/1.1" FIVE, "hello", 200, false, false, "head handler(hello)"},
    {"POST / HTTP/1.1" CHUNKED, "3\r\nabc\r\n0\r\n\r\n", 200, false, false, "head handler(abc)"},
    {"POST / HTTP/1.1" CHUNKED, "3\r\nabc\r\nzz\r\n", 400, false, true, "head"},
    {"POST /deny HTTP/1.1" FIVE, "hello", 401, false, false, "head"},
    {"POST /deny HTTP/1.1" CHUNKED, "zz\r\n", 401, false, true, "head"},
    {"POST /deny HTTP/1.1\nExpect: 100-continue" FIVE, "hello", 401, false, true, "head"},
    {"POST /limit HTTP/1.1" FIVE, "hello", 413, false, true, "head"},
    {"POST /limit HTTP/1.1" CHUNKED, "5\r\nhello\r\n0\r\n\r\n", 413, false, true, "head"},
    {"POST /s HTTP/1.1" FIVE, "hello", 200, false, false, "head stream read(hello)"},
    {"POST /s/wrapped HTTP/1.1" FIVE, "hello", 200, false, false, "head stream read(hello) outer"},
    {"POST /s/wrapped HTTP/1.1" CHUNKED, "3\r\nabc\r\nzz\r\n", 400, false, true,
     "head stream outer close(EBADMSG)"},
    {"GET /s HTTP/1.1", "", 200, false, false, "head stream read()"},
    {"POST /s HTTP/1.1" CHUNKED, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 200, false, false,
     "head stream read(abcde)"},
    {"POST /s HTTP/1.1" CHUNKED, "3\r\nabc\r\nzz\r\n", 400, false, true,
     "head stream close(EBADMSG)"},
    {"POST /s/limit HTTP/1.1" CHUNKED, "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", 413, false, true,
     "head stream close(EMSGSIZE)"},
    {"POST /s/begins HTTP/1.1" FIVE, "hello", 200, false, false, "head stream read(hello)"},
    {"POST /s/begins HTTP/1.1" CHUNKED, "3\r\nabc\r\nzz\r\n", 200, true, true,
     "head stream close(EBADMSG)"},
};

static void check(const struct row *row, const struct gcorn_test *t, const char *how)
{
    const char *connection = gcorn_headers_get(t->headers, "Connection");

    if (t->status != row->status || t->broken != row->is_broken ||
        (connection != NULL) != row->closes || strcmp(seen, row->seen) != 0)
        fail_msg("%s, %s: %d%s%s, \"%s\"", row->head, how, t->status, t->broken ? ", broken" : "",
                 connection ? ", closes" : "", seen);
}

static void test_every_cut_has_the_same_outcome(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *body = rows[i].body;

        for (size_t cut = 0; cut <= strlen(body); cut++) {
            seen[0] = '\0';
            struct gcorn_test *t = gcorn_test_open(handler, rows[i].head);
            gcorn_test_send(t, body, cut);
            gcorn_test_send(t, body + cut, strlen(body) - cut);
            check(&rows[i], t, "in pieces");
            gcorn_test_close(t);
        }
    }
}

static void test_whole_request_has_it_too(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        seen[0] = '\0';
        struct gcorn_test *t =
            gcorn_test_request(handler, rows[i].head, rows[i].body, strlen(rows[i].body));
        check(&rows[i], t, "whole");
        gcorn_test_close(t);
    }
}

static void test_long_body_is_read_as_there_is_room(void **state)
{
    static char bytes[1000000] = {'x'};
    struct gcorn_test *t;

    (void)state;
    seen[0] = '\0';
    t = gcorn_test_request(handler, "POST /s/counts HTTP/1.1", bytes, sizeof(bytes));
    assert_true(t->complete && t->status == 200);
    assert_string_equal(seen, "head stream read(1000000)");
    gcorn_test_close(t);
}

static void test_client_that_waits_is_told_to_go_on(void **state)
{
    static const char *const paths[] = {"/", "/s"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char head[128];

        (void)snprintf(head, sizeof(head), "POST %s HTTP/1.1\nExpect: 100-continue" FIVE, paths[i]);
        struct gcorn_test *t = gcorn_test_open(handler, head);
        assert_int_equal(gcorn_test_interim(t, 0, NULL), 100);
        gcorn_test_send(t, "hello", 5);
        assert_int_equal(t->status, 200);
        assert_int_equal(gcorn_test_interim(t, 1, NULL), 0);
        gcorn_test_close(t);
    }
}

static void test_client_that_leaves_is_told(void **state)
{
    (void)state;
    seen[0] = '\0';
    struct gcorn_test *t = gcorn_test_open(handler, "POST /s HTTP/1.1" FIVE);
    gcorn_test_send(t, "he", 2);
    assert_true(t->waits);
    gcorn_test_close(t);
    assert_string_equal(seen, "head stream close(ECONNRESET)");
}

static void test_body_that_is_cut_short_is_refused(void **state)
{
    static const char *const heads[] = {"POST / HTTP/1.1" FIVE, "POST /s HTTP/1.1" FIVE};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct gcorn_test *t = gcorn_test_open(handler, heads[i]);
        gcorn_test_send(t, "he", 2);
        assert_int_equal(t->status, 0);
        gcorn_test_send(t, NULL, 0);
        assert_int_equal(t->status, 400);
        gcorn_test_close(t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_cut_has_the_same_outcome),
        cmocka_unit_test(test_whole_request_has_it_too),
        cmocka_unit_test(test_long_body_is_read_as_there_is_room),
        cmocka_unit_test(test_client_that_waits_is_told_to_go_on),
        cmocka_unit_test(test_client_that_leaves_is_told),
        cmocka_unit_test(test_body_that_is_cut_short_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
