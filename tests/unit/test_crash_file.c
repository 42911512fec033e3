/* SPDX-License-Identifier: MIT
 *
 * crash_file_save: what it writes is plain HTTP that makes the same request again, without its secrets
 * when so told.
 */
#include "http_case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "worker/crash/crash_file.h"

struct place {
    char dir[40];
    int fd;
};

static int make_place(void **state)
{
    struct place *p = xcalloc(1, sizeof(*p));
    struct error err;

    (void)snprintf(p->dir, sizeof(p->dir), "/tmp/gcorn-replay-XXXXXX");
    if (!mkdtemp(p->dir) || (p->fd = crash_file_dir_open(p->dir, &err)) < 0)
        return -1;
    *state = p;
    return 0;
}

static int remove_place(void **state)
{
    struct place *p = *state;

    (void)unlinkat(p->fd, "kept", 0);
    (void)close(p->fd);
    int rc = rmdir(p->dir); /* fails when a test has left anything else */
    free(p);
    return rc;
}

/* What the file holds; the caller releases it. */
static struct strbuf read_kept(const struct place *p)
{
    struct strbuf text = {0};
    struct stat st;
    char bytes[4096];
    ssize_t n;
    int fd = openat(p->fd, "kept", O_RDONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        strbuf_add(&text, bytes, (size_t)n);
    (void)close(fd);
    return text;
}

static void assert_kept(const struct place *p, const char *raw, bool redact, const char *wanted)
{
    struct http_case c;

    http_case_open(&c);
    http_case_feed(&c, raw);
    assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, redact), 0);
    struct strbuf kept = read_kept(p);
    assert_string_equal(kept.data, wanted);
    strbuf_release(&kept);
    assert_int_equal(unlinkat(p->fd, "kept", 0), 0);
    http_case_close(&c);
}

/* The same keys with the same values. */
static void assert_same_environ(struct gcorn_environ *a, struct gcorn_environ *b)
{
    const char *key, *value;
    size_t count = 0, size_a, size_b;

    while ((key = gcorn_variable_at(a, count, &value))) {
        assert_non_null(gcorn_get(b, key));
        assert_string_equal(gcorn_get(b, key), value);
        count++;
    }
    assert_true(count > 15);
    assert_null(gcorn_variable_at(b, count, &value));
    const char *input_a = gcorn_input_all(a, &size_a), *input_b = gcorn_input_all(b, &size_b);
    assert_int_equal(size_a, size_b);
    assert_memory_equal(input_a, input_b, size_a);
}

static void assert_round_trip(const struct place *p, const char *raw, size_t len)
{
    struct http_case before, after;
    const char *value;

    http_case_open(&before);
    http_case_feed_bytes(&before, raw, len);
    (void)gcorn_variable_at(&before.env, 0, &value); /* ends every value in place with a NUL */
    assert_int_equal(crash_file_save(p->fd, "kept", &before.env.request, false), 0);
    struct strbuf kept = read_kept(p);
    http_case_open(&after);
    http_case_feed_bytes(&after, kept.data, kept.len);
    assert_same_environ(&before.env, &after.env);
    http_case_close(&after);
    http_case_close(&before);
    strbuf_release(&kept);
    assert_int_equal(unlinkat(p->fd, "kept", 0), 0);
}

static void test_round_trip_heads(void **state)
{
    static const char *const heads[] = {
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "HEAD http://b:81/x%20y?q=1&r HTTP/1.1\r\nHost: a\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        ("GET /%C3%A4?%ff=%zz HTTP/1.1\r\nHost:a\r\nAccept:\r\nAccept: x\r\nCookie: a=1\r\n"
         "Cookie: b=2\r\nX-Long:   a\tb  \r\nX_Under: 1\r\nx-LOWER: \x80\xff\r\n\r\n"),
        "GET / HTTP/1.7\r\nHost: a\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(heads); i++)
        assert_round_trip(*state, heads[i], strlen(heads[i]));
}

static void test_round_trip_bodies(void **state)
{
    static const char *const bodies[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\na\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
         "2;ext=1\r\nab\r\n10\r\n0123456789abcdef\r\n0\r\nX-Sum: x\r\n\r\n"),
        "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    };
    static const char with_nul[] =
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n\0\xff\0";

    for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
        assert_round_trip(*state, bodies[i], strlen(bodies[i]));
    assert_round_trip(*state, with_nul, sizeof(with_nul) - 1);
}

/* The largest body that is kept whole, and one more byte, which comes from a file. */
static void test_bodies_around_the_limit(void **state)
{
    const struct place *p = *state;

    for (int chunked = 0; chunked <= 1; chunked++) {
        for (size_t len = CRASH_FILE_BODY_MAX; len <= CRASH_FILE_BODY_MAX + 1; len++) {
            struct strbuf raw = {0};
            struct http_case c;

            strbuf_addstr(&raw, "POST / HTTP/1.1\r\nHost: a\r\n");
            if (chunked)
                strbuf_addf(&raw, "Transfer-Encoding: chunked\r\n\r\n%zx\r\n", len);
            else
                strbuf_addf(&raw, "Content-Length: %zu\r\n\r\n", len);
            for (size_t i = 0; i < len; i++)
                strbuf_addch(&raw, (char)('a' + i % 26));
            size_t to_limit = raw.len - (len - CRASH_FILE_BODY_MAX);
            strbuf_addstr(&raw, chunked ? "\r\n0\r\n\r\n" : "");
            if (len == CRASH_FILE_BODY_MAX)
                assert_round_trip(p, raw.data, raw.len);
            http_case_open(&c);
            http_case_feed_bytes(&c, raw.data, raw.len);
            assert_true((c.env.request.body.fd >= 0) == (len > CRASH_FILE_BODY_MAX));
            assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, true), 0);
            struct strbuf kept = read_kept(p);
            assert_int_equal(kept.len, len > CRASH_FILE_BODY_MAX ? to_limit : raw.len);
            assert_memory_equal(kept.data, raw.data, kept.len);
            strbuf_release(&kept);
            strbuf_release(&raw);
            assert_int_equal(unlinkat(p->fd, "kept", 0), 0);
            http_case_close(&c);
        }
    }
}

static void test_redaction(void **state)
{
    assert_kept(*state,
                "POST /login?password=x HTTP/1.1\r\nHost: a\r\nAuthorization: Basic eDp5\r\n"
                "PROXY-AUTHORIZATION: y\r\nCookie: id=1\r\nX-Api-Key: z\r\nX_API_KEY: z\r\n"
                "X-Auth-Token: t\r\nX-Amz-Security-Token: t\r\nX-CSRF-Token: t\r\nAccept: a?b\r\n"
                "Referer: http://a/b?c=secret\r\nX-Original-URI: /b\r\nContent-Length: 3\r\n\r\n"
                "p=q",
                true,
                "POST /login?redacted HTTP/1.1\r\nHost: a\r\nAuthorization: redacted\r\n"
                "PROXY-AUTHORIZATION: redacted\r\nCookie: redacted\r\nX-Api-Key: redacted\r\n"
                "X_API_KEY: redacted\r\nX-Auth-Token: redacted\r\n"
                "X-Amz-Security-Token: redacted\r\nX-CSRF-Token: redacted\r\nAccept: a?b\r\n"
                "Referer: http://a/b?redacted\r\nX-Original-URI: /b\r\nContent-Length: 3\r\n\r\n"
                "p=q");
    assert_kept(*state, "GET /?a HTTP/1.1\r\nHost: a\r\nCookie: id=1\r\n\r\n", false,
                "GET /?a HTTP/1.1\r\nHost: a\r\nCookie: id=1\r\n\r\n");
}

/* A handler may come at any time. */
static void test_save_refuses_a_head_that_is_not_complete(void **state)
{
    static const char *const starts[] = {"", "G", "GET / HTTP/1.1\r\nHost: a\r\n",
                                         "BR@W / HTTP/1.1\r\nHost: a\r\n\r\n"};
    const struct place *p = *state;

    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        struct http_case c;

        http_case_open(&c);
        (void)request_feed(&c.env.request, starts[i], strlen(starts[i]));
        assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, true), -1);
        assert_int_equal(errno, EINVAL);
        http_case_close(&c);
    }
}

static void test_save_leaves_an_older_file_alone(void **state)
{
    const struct place *p = *state;
    struct http_case c;

    http_case_open(&c);
    http_case_feed(&c, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, true), 0);
    assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, true), -1);
    assert_int_equal(errno, EEXIST);
    struct strbuf kept = read_kept(p);
    assert_string_equal(kept.data, "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n");
    strbuf_release(&kept);
    http_case_close(&c);
}

/* A body that cannot be read (its file is gone under the spool) leaves no half of a request. */
static void test_save_leaves_no_half_file(void **state)
{
    const struct place *p = *state;
    struct http_case c;

    http_case_open(&c);
    http_case_feed(&c, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab");
    c.env.request.body.fd = p->fd; /* a directory: EBADF or EISDIR */
    assert_int_equal(crash_file_save(p->fd, "kept", &c.env.request, true), -1);
    assert_true(errno == EBADF || errno == EISDIR);
    c.env.request.body.fd = -1;
    assert_int_equal(faccessat(p->fd, "kept", F_OK, 0), -1);
    http_case_close(&c);
}

static void test_dir_open_says_what_is_wrong(void **state)
{
    struct error err;

    (void)state;
    assert_int_equal(crash_file_dir_open("/nonexistent/dir", &err), -1);
    assert_string_equal(err.text, "crash_dir: cannot open the directory /nonexistent/dir: No such "
                                  "file or directory");
    assert_int_equal(crash_file_dir_open("/dev/null", &err), -1);
    assert_non_null(strstr(err.text, "Not a directory"));
}

/* ---- how many are kept ------------------------------------------------------------------- */

static void make_file(const struct place *p, const char *name, time_t at)
{
    const struct timespec times[2] = {{.tv_sec = at}, {.tv_sec = at}};
    int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(futimens(fd, times), 0);
    (void)close(fd);
}

static bool is_there(const struct place *p, const char *name)
{
    return faccessat(p->fd, name, F_OK, 0) == 0;
}

static void test_trim_removes_the_oldest_of_its_own(void **state)
{
    static const char *const others[] = {"kept", "0000000001-0123456789abcdef.http.old",
                                         "000000001-0123456789abcdef.http",
                                         "0000000001-0123456789abcdeF.http"};
    static const char *const own[] = {"0000000009-0123456789abcdef.http",
                                      "0000000008-0123456789abcdef.http",
                                      "0000000007-0123456789abcdef.http"};
    const struct place *p = *state;

    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        make_file(p, others[i], 1);
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        make_file(p, own[i], 100 + (time_t)i);
    assert_int_equal(crash_file_dir_trim(p->fd, 3), 0);
    assert_true(is_there(p, own[0]) && is_there(p, own[1]) && is_there(p, own[2]));
    assert_int_equal(crash_file_dir_trim(p->fd, 2), 0);
    assert_true(!is_there(p, own[0]) && is_there(p, own[1]) && is_there(p, own[2]));
    assert_int_equal(crash_file_dir_trim(p->fd, 0), 0);
    assert_false(is_there(p, own[1]) || is_there(p, own[2]));
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_int_equal(unlinkat(p->fd, others[i], 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define IN_PLACE(f) cmocka_unit_test_setup_teardown(f, make_place, remove_place)
        IN_PLACE(test_round_trip_heads),
        IN_PLACE(test_round_trip_bodies),
        IN_PLACE(test_bodies_around_the_limit),
        IN_PLACE(test_redaction),
        IN_PLACE(test_save_refuses_a_head_that_is_not_complete),
        IN_PLACE(test_save_leaves_an_older_file_alone),
        IN_PLACE(test_save_leaves_no_half_file),
        IN_PLACE(test_trim_removes_the_oldest_of_its_own),
        cmocka_unit_test(test_dir_open_says_what_is_wrong),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
