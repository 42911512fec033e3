/* SPDX-License-Identifier: MIT
 *
 * Bodies as a middleware sees them, whatever their kind; files; answers that wait.
 */
#include "http_case.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

#define GET    "GET / HTTP/1.1\r\nHost: h\r\n\r\n"
#define HEAD   "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
#define COMMON "Server: gcorn\r\nDate: " HTTP_CASE_DATE "\r\n"
#define OK     "HTTP/1.1 200 OK\r\n" COMMON

/* ---- an inner application, in every kind ------------------------------------------------------
 */

enum kind { BYTES, BUFFER, OF_FILE, ITER, WAITING, FAILING, NONE, KINDS };
enum start { AT_ONCE, LATE, TWICE, NEVER, TOO_LATE };

static struct {
    enum kind kind;
    enum start start;
    struct gcorn_start_response *start_response;
    int nexts, closes;
    int start_result, start_errno;
    struct gcorn_body *body;
} inner;

static int make_file(const char *text)
{
    int fd = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(write_all(fd, text, strlen(text)), 0);
    return fd;
}

static void inner_start(void)
{
    static const struct gcorn_header first[] = {{"X-Inner", "1"}, {NULL, NULL}};

    errno = 0;
    inner.start_result = gcorn_start(inner.start_response, "200 OK", first);
    inner.start_errno = errno;
}

static ssize_t inner_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    static const char *const pieces[] = {"hel", "lo"};

    (void)env;
    assert_null(state);
    assert_int_equal(inner.closes, 0);
    int n = inner.nexts++;
    if (inner.kind == WAITING && n % 2 == 0)
        return GCORN_AGAIN;
    if (inner.kind == WAITING)
        n /= 2;
    if ((inner.start == LATE && n == 0) || (inner.start == TOO_LATE && n == 1))
        inner_start();
    if (inner.kind == FAILING && n == 1)
        return -1;
    if (n >= 2)
        return 0;
    *chunk = pieces[n];
    return (ssize_t)strlen(pieces[n]);
}

static void inner_close(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    inner.closes++;
}

static struct gcorn_body *inner_body(struct gcorn_environ *env)
{
    struct gcorn_body *body;

    switch (inner.kind) {
    case BYTES: return gcorn_body_text(env, "hello");
    case BUFFER:
        body = gcorn_body_buffer(env);
        (void)gcorn_buffer_printf(body, "%s", "hel");
        (void)gcorn_buffer_write(body, "lo", 2);
        return body;
    case OF_FILE: return gcorn_body_file(env, make_file("say hello!"), 4, 5);
    case NONE: return NULL;
    default: return gcorn_body_iter(env, inner_next, inner_close, NULL);
    }
}

static struct gcorn_body *inner_app(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    inner.start_response = start;
    if (inner.start == AT_ONCE || inner.start == TWICE)
        inner_start();
    if (inner.start == TWICE)
        inner_start();
    return inner.body = inner_body(env);
}

/* ---- a middleware: upper case, and a field more -----------------------------------------------
 */

struct upper {
    struct gcorn_environ *env;
    struct gcorn_start_response *outer;
    struct gcorn_body *inner;
    char text[16];
};

static int upper_start(void *state, const char *status, const struct gcorn_header *headers)
{
    struct upper *u = state;

    struct gcorn_header_list *list = gcorn_header_list_new(u->env, headers);

    gcorn_header_append(list, "X-Upper", "1");
    return gcorn_start(u->outer, status, gcorn_header_array(list));
}

static ssize_t upper_next(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct upper *u = state;
    const void *data;
    ssize_t n = gcorn_body_next(u->inner, &data);

    assert_ptr_equal(env, u->env);
    for (ssize_t i = 0; i < n; i++)
        u->text[i] = (char)toupper(((const unsigned char *)data)[i]);
    *chunk = u->text;
    return n;
}

static void upper_close(struct gcorn_environ *env, void *state)
{
    struct upper *u = state;

    (void)env;
    gcorn_body_close(u->inner);
    gcorn_body_close(u->inner);
    gcorn_body_close(NULL);
}

static struct gcorn_body *upper(struct gcorn_environ *env, struct gcorn_start_response *start,
                                gcorn_app *app)
{
    struct upper *u = gcorn_alloc(env, sizeof(*u));

    *u = (struct upper){.env = env, .outer = start};
    u->inner = app(env, gcorn_start_wrap(env, upper_start, u));
    return u->inner ? gcorn_body_iter(env, upper_next, upper_close, u) : NULL;
}

static struct gcorn_body *once(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    return upper(env, start, inner_app);
}

static struct gcorn_body *nested(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    return upper(env, start, once);
}

/* ---- running ----------------------------------------------------------------------------------
 */

static void set(enum kind kind, enum start start)
{
    memset(&inner, 0, sizeof(inner));
    inner.kind = kind;
    inner.start = start;
}

/* The answer with its waits left out: how many there were. */
static int run(const char *request, gcorn_app *app, struct strbuf *out, bool *broken)
{
    struct http_case c;
    const char *data;
    size_t len;
    int waits = 0;
    bool more;

    http_case_open(&c);
    http_case_feed(&c, request);
    response_run(&c.env, app);
    do {
        more = framing_h1_next(&c.env, out, &data, &len);
        if (c.env.response.waits) {
            assert_true(more && len == 0);
            waits++;
        }
        strbuf_add(out, len > 0 ? data : "", len);
        assert_true(waits < 10);
    } while (more);
    *broken = c.env.response.broken;
    http_case_close(&c);
    return waits;
}

static void expect(const char *request, gcorn_app *app, const char *want, bool want_broken)
{
    struct strbuf out = {0};
    bool broken;

    inner.nexts = inner.closes = 0;
    (void)run(request, app, &out, &broken);
    if (strcmp(out.data, want) != 0)
        fail_msg("kind %d, start %d gives\n%s\nnot\n%s", inner.kind, inner.start, out.data, want);
    assert_int_equal(broken, want_broken);
    assert_int_equal(inner.closes, inner.kind >= ITER && inner.kind != NONE);
    strbuf_release(&out);
}

#define ERROR_500                                                                                  \
    "HTTP/1.1 500 Internal Server Error\r\n" COMMON                                                \
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 26\r\n\r\n"                        \
    "500 Internal Server Error\n"
#define WHOLE                                                                                      \
    OK "X-Inner: 1\r\nX-Upper: 1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nHELLO\r\n0\r\n\r\n"
#define PIECES "Transfer-Encoding: chunked\r\n\r\n3\r\nHEL\r\n2\r\nLO\r\n0\r\n\r\n"

static void test_middleware_over_each_kind(void **state)
{
    (void)state;
    for (enum kind kind = BYTES; kind <= OF_FILE; kind++) {
        set(kind, AT_ONCE);
        expect(GET, once, WHOLE, false);
        set(kind, TWICE);
        expect(GET, once, WHOLE, false);
        set(kind, NEVER);
        expect(GET, once, ERROR_500, false);
        expect(GET, nested, ERROR_500, false);
    }
    for (enum kind kind = ITER; kind <= WAITING; kind++) {
        for (enum start start = AT_ONCE; start <= TWICE; start++) {
            set(kind, start);
            expect(GET, once, OK "X-Inner: 1\r\nX-Upper: 1\r\n" PIECES, false);
            expect(GET, nested, OK "X-Inner: 1\r\nX-Upper: 1\r\nX-Upper: 1\r\n" PIECES, false);
            expect(HEAD, nested, OK "X-Inner: 1\r\nX-Upper: 1\r\nX-Upper: 1\r\n\r\n", false);
        }
        set(kind, NEVER);
        expect(GET, nested, ERROR_500, false);
        set(kind, TOO_LATE);
        expect(GET, nested, ERROR_500, false);
    }
    set(FAILING, AT_ONCE);
    expect(GET, nested,
           OK "X-Inner: 1\r\nX-Upper: 1\r\nX-Upper: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
              "3\r\nHEL\r\n",
           true);
    set(NONE, AT_ONCE);
    expect(GET, nested, ERROR_500, false);
}

/* A start after the first byte has been handed over, through a middleware that passes it on. */
static ssize_t start_again(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    if (inner.nexts++ > 0) {
        inner_start();
        return 0;
    }
    *chunk = "x";
    return 1;
}

static struct gcorn_body *starts_again(struct gcorn_environ *env,
                                       struct gcorn_start_response *start)
{
    inner.start_response = start;
    inner_start();
    return gcorn_body_iter(env, start_again, inner_close, NULL);
}

static struct gcorn_body *starts_again_inside(struct gcorn_environ *env,
                                              struct gcorn_start_response *start)
{
    return upper(env, start, starts_again);
}

static void test_middleware_start_too_late(void **state)
{
    (void)state;
    set(ITER, NEVER);
    expect(GET, starts_again_inside,
           OK "X-Inner: 1\r\nX-Upper: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nX\r\n0\r\n\r\n",
           false);
    assert_int_equal(inner.start_result, -1);
    assert_int_equal(inner.start_errno, EALREADY);
}

static void test_next_repeats_its_end(void **state)
{
    static const int64_t lens[] = {5, 5, 5, -1, -1, -1};
    struct http_case c;
    const void *chunk;

    (void)state;
    for (enum kind kind = BYTES; kind <= FAILING; kind++) {
        struct strbuf all = {0};
        ssize_t n;

        set(kind, AT_ONCE);
        http_case_open(&c);
        http_case_feed(&c, GET);
        struct gcorn_body *body = inner_body(&c.env);
        assert_int_equal(gcorn_body_len(body), lens[kind]);
        while ((n = gcorn_body_next(body, &chunk)) > 0 || n == GCORN_AGAIN) {
            if (n > 0)
                strbuf_add(&all, chunk, (size_t)n);
        }
        assert_string_equal(all.data, kind == FAILING ? "hel" : "hello");
        int nexts = inner.nexts;
        for (int i = 0; i < 3; i++)
            assert_int_equal(gcorn_body_next(body, &chunk), kind == FAILING ? -1 : 0);
        assert_int_equal(inner.nexts, nexts);
        assert_int_equal(gcorn_body_len(body), lens[kind] < 0 ? -1 : 0);
        if (kind == BUFFER)
            assert_int_equal(gcorn_buffer_write(body, "late", 4), -1);
        gcorn_body_close(body);
        gcorn_body_close(body);
        assert_int_equal(gcorn_body_next(body, &chunk), kind == FAILING ? -1 : 0);
        strbuf_release(&all);
        http_case_close(&c);
        assert_int_equal(inner.closes, kind >= ITER);
    }
}

static void test_next_of_a_closed_body(void **state)
{
    struct http_case c;
    const void *chunk;

    (void)state;
    for (enum kind kind = BYTES; kind <= FAILING; kind++) {
        set(kind, AT_ONCE);
        http_case_open(&c);
        http_case_feed(&c, GET);
        struct gcorn_body *body = inner_body(&c.env);
        gcorn_body_close(body);
        assert_int_equal(gcorn_body_next(body, &chunk), -1);
        assert_null(chunk);
        http_case_close(&c);
    }
}

/* ---- files ------------------------------------------------------------------------------------
 */

static void test_file_parts(void **state)
{
    static const struct {
        int64_t offset, len, want;
    } rows[] = {{0, -1, 10},  {4, -1, 6}, {4, 5, 5},   {10, -1, 0}, {10, 0, 0}, {0, 0, 0},
                {11, -1, -1}, {4, 7, -1}, {-1, 2, -1}, {0, -2, -1}, {0, 11, -1}};
    struct http_case c;

    (void)state;
    http_case_open(&c);
    http_case_feed(&c, GET);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int fd = make_file("0123456789");

        errno = 0;
        struct gcorn_body *body = gcorn_body_file(&c.env, fd, rows[i].offset, rows[i].len);
        if (rows[i].want < 0) {
            assert_null(body);
            assert_int_equal(errno, EINVAL);
            assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken all the same */
        } else {
            assert_int_equal(gcorn_body_len(body), rows[i].want);
        }
        gcorn_body_close(body);
        assert_int_equal(fcntl(fd, F_GETFD), -1);
    }
    assert_null(gcorn_body_file(&c.env, -1, 0, -1));
    assert_int_equal(errno, EBADF);
    http_case_close(&c);
}

static int shrinking = -1;

static struct gcorn_body *shrinks(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    char *text = gcorn_alloc(env, 200001);

    memset(text, 'f', 200000);
    shrinking = make_file(text);
    (void)gcorn_start(start, "200 OK", NULL);
    return gcorn_body_file(env, shrinking, 0, -1);
}

/* An answer that is asked for piece by piece. */
struct asked {
    struct http_case c;
    struct strbuf out;
    const char *data;
    size_t len;
};

static void asked_begin(struct asked *a, gcorn_app *app)
{
    *a = (struct asked){0};
    http_case_open(&a->c);
    http_case_feed(&a->c, GET);
    response_run(&a->c.env, app);
}

static bool asked_next(struct asked *a)
{
    return framing_h1_next(&a->c.env, &a->out, &a->data, &a->len);
}

static void asked_end(struct asked *a)
{
    http_case_close(&a->c);
    strbuf_release(&a->out);
}

/* Read by a sender who does not take files. */
static void test_file_that_shrinks(void **state)
{
    struct asked a;

    (void)state;
    asked_begin(&a, shrinks);
    assert_true(asked_next(&a));
    assert_non_null(strstr(a.out.data, "Content-Length: 200000\r\n"));
    assert_int_equal(ftruncate(shrinking, 1), 0);
    assert_false(asked_next(&a));
    assert_true(a.c.env.response.broken);
    asked_end(&a);
}

static struct gcorn_body *a_file(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    set(OF_FILE, AT_ONCE);
    return inner_app(env, start);
}

/* Handed out to a sender who fetches the bytes himself. */
static void test_file_taken(void **state)
{
    struct asked a;
    struct response *r = &a.c.env.response;

    (void)state;
    asked_begin(&a, a_file);
    r->takes_files = true;
    assert_true(asked_next(&a));
    assert_string_equal(a.out.data, OK "X-Inner: 1\r\nContent-Length: 5\r\n\r\n");
    assert_int_equal(a.len, 0);
    assert_int_equal(r->file.offset, 4);
    assert_int_equal(r->file.left, 5);
    assert_int_equal(r->body_len, 5);
    r->file.left = 2;
    response_abandon(&a.c.env);
    assert_int_equal(r->body_len, 3);
    asked_end(&a);

    asked_begin(&a, a_file);
    r->takes_files = true;
    assert_true(asked_next(&a));
    r->file.left = 0;
    assert_false(asked_next(&a));
    assert_false(r->broken);
    asked_end(&a);
}

/* ---- waiting ----------------------------------------------------------------------------------
 */

static void test_wait_holds_the_head_back(void **state)
{
    struct asked a;

    (void)state;
    set(WAITING, AT_ONCE);
    asked_begin(&a, inner_app);
    assert_true(asked_next(&a));
    assert_true(a.c.env.response.waits);
    assert_int_equal(a.out.len, 0);
    assert_int_equal(a.c.env.response.phase, RESPONSE_OPEN);
    inner_start(); /* still replaces the answer */
    assert_int_equal(inner.start_result, 0);
    assert_true(asked_next(&a));
    assert_false(a.c.env.response.waits);
    assert_non_null(strstr(a.out.data, "3\r\nhel\r\n"));
    size_t before = a.out.len;
    assert_true(asked_next(&a));
    assert_true(a.c.env.response.waits);
    assert_int_equal(a.out.len, before);
    asked_end(&a);
    assert_int_equal(inner.closes, 1);
}

static void test_wait_of_head(void **state)
{
    struct strbuf out = {0};
    bool broken;

    (void)state;
    set(WAITING, AT_ONCE);
    assert_int_equal(run(HEAD, inner_app, &out, &broken), 0);
    assert_string_equal(out.data, OK "X-Inner: 1\r\n\r\n");
    strbuf_reset(&out);
    set(WAITING, LATE);
    assert_int_equal(run(HEAD, inner_app, &out, &broken), 1);
    assert_string_equal(out.data, OK "X-Inner: 1\r\n\r\n");
    assert_int_equal(inner.nexts, 2);
    strbuf_release(&out);
}

static void test_wait_abandoned(void **state)
{
    struct asked a;

    (void)state;
    set(WAITING, AT_ONCE);
    asked_begin(&a, inner_app);
    (void)asked_next(&a);
    response_abandon(&a.c.env);
    assert_string_equal(gcorn_get(&a.c.env, "gcorn.status"), "499");
    asked_end(&a);
    assert_int_equal(inner.closes, 1);
}

/* ---- copied and borrowed ---------------------------------------------------------------------- */

static void chunk_is(struct gcorn_body *body, const char *wanted)
{
    const void *chunk;
    size_t len = strlen(wanted);

    assert_int_equal(gcorn_body_len(body), len);
    assert_int_equal(gcorn_body_next(body, &chunk), len);
    assert_memory_equal(chunk, wanted, len);
    assert_int_equal(gcorn_body_next(body, &chunk), 0);
}

static void test_bodies_are_copies(void **state)
{
    struct http_case c;
    char text[] = "abc";

    (void)state;
    http_case_open(&c);
    struct gcorn_body *of_text = gcorn_body_text(&c.env, text);
    struct gcorn_body *of_bytes = gcorn_body_bytes(&c.env, text, 2);
    struct gcorn_body *formatted = gcorn_body_printf(&c.env, "%s-%d", text, 7);
    memset(text, '#', sizeof(text));
    chunk_is(of_text, "abc");
    chunk_is(of_bytes, "ab");
    chunk_is(formatted, "abc-7");
    chunk_is(gcorn_body_text(&c.env, ""), "");
    chunk_is(gcorn_body_printf(&c.env, "%s", ""), "");
    assert_null(gcorn_body_text(&c.env, NULL));
    http_case_close(&c);
}

static void test_borrowed_bytes_are_not_copied(void **state)
{
    struct http_case c;
    static char text[] = "abc";
    const void *chunk;

    (void)state;
    http_case_open(&c);
    struct gcorn_body *body = gcorn_body_borrow(&c.env, text, 3);
    assert_int_equal(gcorn_body_next(body, &chunk), 3);
    assert_ptr_equal(chunk, text);
    http_case_close(&c);
}

/* A frame of the application, and one of its caller's. AddressSanitizer would put their arrays
 * elsewhere (detect_stack_use_after_return). */
static void __attribute__((noinline, no_sanitize_address))
borrow_from_stack(struct http_case *c, const char *outer)
{
    char own[16] = "own";
    const void *chunk;

    errno = 0;
    assert_int_equal(gcorn_body_next(gcorn_body_borrow(&c->env, own, 3), &chunk), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(gcorn_body_next(gcorn_body_borrow(&c->env, outer, 3), &chunk), -1);
    chunk_is(gcorn_body_borrow(&c->env, gcorn_printf(&c->env, "%s", own), 3), "own");
    chunk_is(gcorn_body_bytes(&c->env, own, 3), "own");
}

static void __attribute__((no_sanitize_address)) test_borrowed_stack_bytes_are_refused(void **state)
{
    struct http_case c;
    char outer[16] = "outer";

    (void)state;
    http_case_open(&c);
    body_note_stack(__builtin_frame_address(0));
    borrow_from_stack(&c, outer);
    body_note_stack(NULL); /* of a thread that is not known */
    chunk_is(gcorn_body_borrow(&c.env, outer, 5), "outer");
    http_case_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_middleware_over_each_kind),
        cmocka_unit_test(test_middleware_start_too_late),
        cmocka_unit_test(test_next_repeats_its_end),
        cmocka_unit_test(test_next_of_a_closed_body),
        cmocka_unit_test(test_file_parts),
        cmocka_unit_test(test_file_that_shrinks),
        cmocka_unit_test(test_file_taken),
        cmocka_unit_test(test_wait_holds_the_head_back),
        cmocka_unit_test(test_wait_of_head),
        cmocka_unit_test(test_wait_abandoned),
        cmocka_unit_test(test_bodies_are_copies),
        cmocka_unit_test(test_borrowed_bytes_are_not_copied),
        cmocka_unit_test(test_borrowed_stack_bytes_are_refused),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
