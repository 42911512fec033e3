/* SPDX-License-Identifier: MIT
 *
 * What an application sees of a request: PEP 3333 and RFC 3875 variables, fields, the query, the
 * input, memory and deferred functions.
 */
#include "http/environ_fields.h"
#include "http_case.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/util.h"
#include "temp_dir.h"

static void expect_var(struct http_case *c, const char *key, const char *want)
{
    const char *got = gcorn_get(&c->env, key);

    if ((got == NULL) != (want == NULL) || (got && want && strcmp(got, want) != 0))
        fail_msg("%s is '%s', not '%s'", key, got ? got : "(none)", want ? want : "(none)");
}

static void open_with(struct http_case *c, const char *raw)
{
    http_case_open(c);
    c->context.limits.body_place.dir = temp_dir;
    request_release(&c->env.request);
    environ_init(&c->env, &c->context, &c->peer, HTTP_CASE_ID);
    http_case_feed(c, raw);
}

/* ---- variables ------------------------------------------------------------------------------- */

static void test_environ_variables(void **state)
{
    static const struct {
        const char *key;
        const char *value;
    } want[] = {
        {"REQUEST_METHOD", "POST"},
        {"SCRIPT_NAME", ""},
        {"PATH_INFO", "/a b/\xc3\xa9+/"},
        {"QUERY_STRING", "x=%20&y"},
        {"RAW_URI", "/a%20b/%C3%a9+/?x=%20&y"},
        {"CONTENT_TYPE", "text/plain; a=\"b\""},
        {"CONTENT_LENGTH", "2"},
        {"SERVER_PROTOCOL", "HTTP/1.1"},
        {"SERVER_NAME", "198.51.100.1"},
        {"SERVER_PORT", "8000"},
        {"SERVER_SOFTWARE", "gcorn/" GCORN_VERSION},
        {"REMOTE_ADDR", "192.0.2.7"},
        {"REMOTE_PORT", "49152"},
        {"wsgi.version", "1.0"},
        {"wsgi.url_scheme", "http"},
        {"wsgi.multithread", "0"},
        {"wsgi.multiprocess", "1"},
        {"wsgi.run_once", "0"},
        {"gcorn.request_id", "00c0ffee12345678"},
        {"HTTP_HOST", "example.com:8000"},
        {"HTTP_X_Y", "z"},
        {"HTTP_EMPTY", ""},
        /* those that have a key of their own, and those that are not there */
        {"HTTP_CONTENT_TYPE", NULL},
        {"HTTP_CONTENT_LENGTH", NULL},
        {"HTTP_X", NULL},
        {"HTTP_X_Y_Z", NULL},
        {"HTTP_", NULL},
        {"HTTP_x_y", NULL},
        {"HTTP_X-Y", NULL},
        {"http_host", NULL},
        {"request_method", NULL},
        {"", NULL},
        {"gcorn.status", NULL}, /* the answer has not begun */
        {"gcorn.bytes_sent", NULL},
    };
    struct http_case c;

    (void)state;
    open_with(&c, "POST /a%20b/%C3%a9+/?x=%20&y HTTP/1.1\r\nHost: example.com:8000\r\n"
                  "Content-Type:  text/plain; a=\"b\" \r\nContent-Length: 2\r\nx-Y: z\r\n"
                  "EMPTY: \r\n\r\nhi");
    for (int twice = 0; twice < 2; twice++) {
        for (size_t i = 0; i < ARRAY_LEN(want); i++)
            expect_var(&c, want[i].key, want[i].value);
    }
    http_case_close(&c);
}

static void test_environ_bare(void **state)
{
    struct http_case c;

    (void)state;
    http_case_open(&c);
    c.peer.remote_addr[0] = c.peer.remote_port[0] = '\0';
    c.local = (struct http_local){"/run/x.sock", "", "https"};
    c.context.multithread = true;
    c.context.multiprocess = false;
    http_case_feed(&c, "GET / HTTP/1.0\r\n\r\n");
    expect_var(&c, "PATH_INFO", "/");
    expect_var(&c, "QUERY_STRING", "");
    expect_var(&c, "RAW_URI", "/");
    expect_var(&c, "CONTENT_TYPE", NULL);
    expect_var(&c, "CONTENT_LENGTH", NULL);
    expect_var(&c, "SERVER_PROTOCOL", "HTTP/1.0");
    expect_var(&c, "REMOTE_ADDR", "");
    expect_var(&c, "SERVER_NAME", "/run/x.sock");
    expect_var(&c, "wsgi.url_scheme", "https");
    expect_var(&c, "wsgi.multithread", "1");
    expect_var(&c, "wsgi.multiprocess", "0");
    expect_var(&c, "HTTP_HOST", NULL);
    http_case_close(&c);
}

/* A unix socket's requests have the name and port that the client used. */
static void test_environ_server_of_unix_socket(void **state)
{
    static const struct {
        const char *scheme, *head, *name, *port;
    } rows[] = {
        {"http", "GET / HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", "a.example", "8080"},
        {"http", "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "80"},
        {"https", "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", "a.example", "443"},
        {"https", "GET / HTTP/1.1\r\nHost: a.example:80\r\n\r\n", "a.example", "80"},
        {"http", "GET / HTTP/1.1\r\nHost: a.example:\r\n\r\n", "a.example", "80"},
        {"http", "GET / HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", "[::1]", "81"},
        {"http", "GET / HTTP/1.1\r\nHost: [2001:db8::1]\r\n\r\n", "[2001:db8::1]", "80"},
        {"http", "GET http://b.example:82/ HTTP/1.1\r\nHost: a.example:81\r\n\r\n", "b.example",
         "82"},
        {"http", "GET / HTTP/1.1\r\nHost:\r\n\r\n", "localhost", "80"},
        {"http", "GET / HTTP/1.0\r\n\r\n", "localhost", "80"},
        {"https", "GET / HTTP/1.0\r\n\r\n", "localhost", "443"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;

        http_case_open(&c);
        c.local = (struct http_local){"", "", rows[i].scheme};
        http_case_feed(&c, rows[i].head);
        expect_var(&c, "SERVER_NAME", rows[i].name);
        expect_var(&c, "SERVER_PORT", rows[i].port);
        http_case_close(&c);
    }
}

static void test_environ_length_of_chunks(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                  "4\r\nabcd\r\n1\r\ne\r\n0\r\nX: 9\r\n\r\n");
    expect_var(&c, "CONTENT_LENGTH", "5");
    assert_null(environ_field(&c.env, "content-length")); /* for the log: the client sent none */
    http_case_close(&c);
}

static void test_environ_targets(void **state)
{
    struct http_case c;

    (void)state;
    /* the authority of the target wins over Host (RFC 9112 3.2.2) */
    open_with(&c, "GET http://a.example:81/x%2f?y HTTP/1.1\r\nHost: b.example\r\n\r\n");
    expect_var(&c, "HTTP_HOST", "a.example:81");
    expect_var(&c, "PATH_INFO", "/x/");
    expect_var(&c, "QUERY_STRING", "y");
    expect_var(&c, "RAW_URI", "http://a.example:81/x%2f?y");
    http_case_close(&c);
    open_with(&c, "GET http://a.example HTTP/1.0\r\n\r\n");
    expect_var(&c, "HTTP_HOST", "a.example");
    expect_var(&c, "PATH_INFO", "/");
    http_case_close(&c);
    open_with(&c, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    expect_var(&c, "PATH_INFO", "*");
    expect_var(&c, "REQUEST_METHOD", "OPTIONS");
    http_case_close(&c);
}

static void test_environ_fields_joined(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nCookie: x=1\r\na: 2, 3\r\nB: only\r\n"
                  "A:\r\ncookie: y=2\r\nX-Real-IP: good\r\nX_Real_IP: forged\r\nX_Only: forged\r\n"
                  "A: 4\r\n\r\n");
    expect_var(&c, "HTTP_A", "1, 2, 3, , 4");
    expect_var(&c, "HTTP_COOKIE", "x=1; y=2");
    expect_var(&c, "HTTP_B", "only");
    /* '_' in a name would be '-' in the key: dropped */
    expect_var(&c, "HTTP_X_REAL_IP", "good");
    expect_var(&c, "HTTP_X_ONLY", NULL);
    assert_string_equal(environ_field(&c.env, "a"), "1, 2, 3, , 4");
    assert_string_equal(environ_field(&c.env, "x-real-ip"), "good");
    assert_null(environ_field(&c.env, "x-none"));
    http_case_close(&c);
}

static void test_environ_set(void **state)
{
    char key[] = "my.key", value[] = "v1";
    struct http_case c;

    (void)state;
    open_with(&c, "GET /a HTTP/1.1\r\nHost: h\r\n\r\n");
    const char *path = gcorn_get(&c.env, "PATH_INFO");
    const char *host = gcorn_get(&c.env, "HTTP_HOST");
    gcorn_set(&c.env, key, value);
    memset(key, '#', sizeof(key) - 1); /* both are copied */
    memset(value, '#', sizeof(value) - 1);
    expect_var(&c, "my.key", "v1");
    const char *old = gcorn_get(&c.env, "my.key");
    gcorn_set(&c.env, "my.key", "v2");
    expect_var(&c, "my.key", "v2");
    assert_string_equal(old, "v1"); /* valid until the request is over */
    gcorn_set(&c.env, "my.key", NULL);
    expect_var(&c, "my.key", NULL);
    gcorn_set(&c.env, "my.key", "");
    expect_var(&c, "my.key", "");

    gcorn_set(&c.env, "PATH_INFO", "/rest");
    gcorn_set(&c.env, "SCRIPT_NAME", "/a"); /* never asked for before */
    gcorn_set(&c.env, "HTTP_HOST", NULL);
    gcorn_set(&c.env, "REQUEST_METHOD", NULL);
    gcorn_set(&c.env, "HTTP_NEW", "x");
    expect_var(&c, "PATH_INFO", "/rest");
    expect_var(&c, "SCRIPT_NAME", "/a");
    expect_var(&c, "HTTP_HOST", NULL);
    expect_var(&c, "REQUEST_METHOD", NULL);
    expect_var(&c, "HTTP_NEW", "x");
    assert_string_equal(path, "/a");
    assert_string_equal(host, "h");
    /* its own value back */
    gcorn_set(&c.env, "PATH_INFO", gcorn_get(&c.env, "PATH_INFO"));
    expect_var(&c, "PATH_INFO", "/rest");
    http_case_close(&c);
}

static size_t count_key(struct http_case *c, const char *want, const char **value)
{
    size_t found = 0;
    const char *key, *v;

    for (size_t i = 0; (key = gcorn_variable_at(&c->env, i, &v)) != NULL; i++) {
        assert_non_null(v);
        if (strcmp(key, want) == 0) {
            *value = v;
            found++;
        }
    }
    return found;
}

static void test_environ_each(void **state)
{
    static const char *const present[] = {
        "REQUEST_METHOD",  "SCRIPT_NAME",      "PATH_INFO",
        "QUERY_STRING",    "RAW_URI",          "SERVER_PROTOCOL",
        "SERVER_NAME",     "SERVER_PORT",      "SERVER_SOFTWARE",
        "REMOTE_ADDR",     "REMOTE_PORT",      "wsgi.version",
        "wsgi.url_scheme", "wsgi.multithread", "wsgi.multiprocess",
        "wsgi.run_once",   "gcorn.request_id", "HTTP_HOST",
        "HTTP_A",          "HTTP_LATER",
    };
    struct http_case c;
    const char *value = NULL;
    size_t count = 0;

    (void)state;
    open_with(&c, "GET / HTTP/1.1\r\nHost: h\r\nA: 1\r\nLater: x\r\nA: 2\r\nB_C: no\r\n\r\n");
    (void)gcorn_get(&c.env, "CONTENT_TYPE");
    (void)gcorn_get(&c.env, "HTTP_A");
    for (size_t i = 0; i < ARRAY_LEN(present); i++) {
        if (count_key(&c, present[i], &value) != 1)
            fail_msg("%s is not listed once", present[i]);
        assert_string_equal(value, gcorn_get(&c.env, present[i]));
    }
    while (gcorn_variable_at(&c.env, count, &value))
        count++;
    assert_int_equal(count, ARRAY_LEN(present));
    assert_null(gcorn_variable_at(&c.env, count + 5, &value));

    gcorn_set(&c.env, "mine", "x");
    gcorn_set(&c.env, "HTTP_A", NULL);
    assert_int_equal(count_key(&c, "mine", &value), 1);
    assert_int_equal(count_key(&c, "HTTP_A", &value), 0);
    gcorn_set(&c.env, "mine", "y");
    assert_int_equal(count_key(&c, "mine", &value), 1);
    assert_string_equal(value, "y");
    http_case_close(&c);

    /* a host that came with the target alone */
    open_with(&c, "GET http://t/ HTTP/1.0\r\n\r\n");
    assert_int_equal(count_key(&c, "HTTP_HOST", &value), 1);
    assert_string_equal(value, "t");
    http_case_close(&c);
}

static void test_environ_objects(void **state)
{
    struct http_case c;
    char key[] = "my.obj";
    int a, b;

    (void)state;
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    assert_null(gcorn_get_ptr(&c.env, "my.obj"));
    gcorn_set_ptr(&c.env, key, &a);
    key[0] = '#';
    gcorn_set_ptr(&c.env, "other", &b);
    assert_ptr_equal(gcorn_get_ptr(&c.env, "my.obj"), &a);
    assert_ptr_equal(gcorn_get_ptr(&c.env, "other"), &b);
    gcorn_set_ptr(&c.env, "my.obj", &b);
    assert_ptr_equal(gcorn_get_ptr(&c.env, "my.obj"), &b);
    gcorn_set_ptr(&c.env, "my.obj", NULL);
    assert_null(gcorn_get_ptr(&c.env, "my.obj"));
    expect_var(&c, "other", NULL); /* objects are no variables */
    http_case_close(&c);
}

static struct gcorn_body *small(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    (void)gcorn_start(start, "404 Not Found", NULL);
    return gcorn_body_text(env, "gone");
}

static void test_environ_answer_facts(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    http_case_run(&c, "GET / HTTP/1.0\r\n\r\n", small, &a);
    expect_var(&c, "gcorn.status", "404");
    expect_var(&c, "gcorn.bytes_sent", "4");
    http_answer_release(&a);
    http_case_close(&c);
}

/* ---- the query --------------------------------------------------------------------------------
 */

static void test_environ_query(void **state)
{
    static const struct {
        const char *query;
        const char *name;
        const char *want;
    } rows[] = {
        {"a=1", "a", "1"},
        {"a=1&b=2", "b", "2"},
        {"a=1&a=2", "a", "1"},
        {"ab=1&a=2", "a", "2"},
        {"a=1", "A", NULL},
        {"a=1", "", NULL},
        {"a", "a", ""},
        {"a=", "a", ""},
        {"a&b=1", "a", ""},
        {"a=b=c", "a", "b=c"},
        {"a=x+y%2B%26%3d", "a", "x y+&="},
        {"a=%C3%a9", "a", "\xc3\xa9"},
        {"%61+b=1", "a b", "1"},
        {"&&a=1&", "a", "1"},
        {"=1", "", "1"},
        {"a=1;b=2", "b", NULL},
        {"a=1;b=2", "a", "1;b=2"},
        {"a=?/", "a", "?/"},
        /* malformed */
        {"a=%", "a", NULL},
        {"a=%4", "a", NULL},
        {"a=%4g", "a", NULL},
        {"a=%00", "a", NULL},
        {"%=1", "%", NULL},
        {"a=%zz&a=1", "a", NULL}, /* the first value is, so there is none */
        {"%zz=1&a=2", "a", "2"},
        {"b=%zz&a=2", "a", "2"},
        {"", "a", NULL},
        {"", "", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char raw[200];

        (void)snprintf(raw, sizeof(raw), "GET /?%s HTTP/1.0\r\n\r\n", rows[i].query);
        open_with(&c, raw);
        const char *got = gcorn_query(&c.env, rows[i].name);
        if ((got == NULL) != (rows[i].want == NULL) || (got && strcmp(got, rows[i].want) != 0))
            fail_msg("%s of %s is '%s'", rows[i].name, rows[i].query, got ? got : "(none)");
        http_case_close(&c);
    }
}

/* An inner application sees the query that it was given. */
static void test_environ_query_set(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "GET /?a=1 HTTP/1.0\r\n\r\n");
    gcorn_set(&c.env, "QUERY_STRING", "a=2");
    assert_string_equal(gcorn_query(&c.env, "a"), "2");
    gcorn_set(&c.env, "QUERY_STRING", NULL);
    assert_null(gcorn_query(&c.env, "a"));
    http_case_close(&c);
}

static void test_query_values_are_all_found(void **state)
{
    static const struct {
        const char *query;
        size_t i;
        int result;
        const char *value;
    } rows[] = {
        {"a=1&b=2&a=3", 0, 1, "1"},
        {"a=1&b=2&a=3", 1, 1, "3"},
        {"a=1&b=2&a=3", 2, 0, NULL},
        {"a=1&a=%zz&a=3", 0, 1, "1"},
        {"a=1&a=%zz&a=3", 1, -1, NULL},
        {"a=1&a=%zz&a=3", 2, 1, "3"},
        {"a=%00", 0, -1, NULL},
        {"a=%4", 0, -1, NULL},
        {"a", 0, 1, ""},
        {"%61=1&a=2", 1, 1, "2"},
        {"b=1", 0, 0, NULL},
        {"", 0, 0, NULL},
        {"%zz=1&a=2", 0, 1, "2"},
        {"a=&a=x+y", 0, 1, ""},
        {"a=&a=x+y", 1, 1, "x y"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char raw[200];
        const char *value = "left as it was";

        (void)snprintf(raw, sizeof(raw), "GET /?%s HTTP/1.0\r\n\r\n", rows[i].query);
        open_with(&c, raw);
        errno = 0;
        assert_int_equal(gcorn_query_value(&c.env, "a", rows[i].i, &value), rows[i].result);
        assert_int_equal(errno, rows[i].result < 0 ? EINVAL : 0);
        if (rows[i].value)
            assert_string_equal(value, rows[i].value);
        else
            assert_null(value);
        http_case_close(&c);
    }
}

/* ---- fields as they came ----------------------------------------------------------------------
 */

static void field_is(struct http_case *c, size_t i, const char *name, const char *value)
{
    size_t name_len, value_len;
    const char *got, *text = gcorn_field_at(&c->env, i, &name_len, &got, &value_len);

    assert_non_null(text);
    assert_int_equal(name_len, strlen(name));
    assert_memory_equal(text, name, name_len);
    assert_int_equal(value_len, strlen(value));
    assert_memory_equal(got, value, value_len);
}

static void test_fields_are_as_received(void **state)
{
    struct http_case c;
    size_t name_len, value_len;
    const char *value;

    (void)state;
    open_with(&c, "POST / HTTP/1.1\r\nhOsT: t\r\nX-A: 1\r\nCookie: a=1\r\nX_A: low\r\n"
                  "x-a:   2  \r\nContent-Length: 0\r\nEmpty:\r\nX-A: 1\r\n\r\n");
    for (int round = 0; round < 2; round++) { /* asking for variables changes none of them */
        field_is(&c, 0, "hOsT", "t");
        field_is(&c, 1, "X-A", "1");
        field_is(&c, 2, "Cookie", "a=1");
        field_is(&c, 3, "X_A", "low");
        field_is(&c, 4, "x-a", "2");
        field_is(&c, 5, "Content-Length", "0");
        field_is(&c, 6, "Empty", "");
        field_is(&c, 7, "X-A", "1");
        assert_null(gcorn_field_at(&c.env, 8, &name_len, &value, &value_len));
        assert_null(gcorn_field_at(&c.env, SIZE_MAX, &name_len, &value, &value_len));
        assert_string_equal(gcorn_get(&c.env, "HTTP_X_A"), "1, 2, 1");
        gcorn_set(&c.env, "HTTP_COOKIE", "b=2");
    }
    http_case_close(&c);
}

static void test_request_without_fields_has_none(void **state)
{
    struct http_case c;
    size_t name_len, value_len;
    const char *value;

    (void)state;
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    assert_null(gcorn_field_at(&c.env, 0, &name_len, &value, &value_len));
    http_case_close(&c);
}

/* They are no fields of the head, and no variables. */
static void test_trailers_are_walked_apart(void **state)
{
    static const char most[] = "POST / HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "0\r\nX-T: 1\r\n";
    struct http_case c;
    size_t name_len, value_len;
    const char *value;

    (void)state;
    http_case_open(&c);
    (void)request_feed(&c.env.request, most, sizeof(most) - 1);
    assert_null(gcorn_trailer_at(&c.env, 0, &name_len, &value, &value_len)); /* not all there */
    http_case_feed(&c, "x-t:\r\n\r\n");
    const char *name = gcorn_trailer_at(&c.env, 0, &name_len, &value, &value_len);
    assert_int_equal(name_len, 3);
    assert_memory_equal(name, "X-T", 3);
    assert_int_equal(value_len, 1);
    assert_memory_equal(value, "1", 1);
    name = gcorn_trailer_at(&c.env, 1, &name_len, &value, &value_len);
    assert_memory_equal(name, "x-t", 3);
    assert_int_equal(value_len, 0);
    assert_null(gcorn_trailer_at(&c.env, 2, &name_len, &value, &value_len));
    assert_null(gcorn_trailer_at(&c.env, SIZE_MAX, &name_len, &value, &value_len));
    assert_null(gcorn_field_at(&c.env, 2, &name_len, &value, &value_len));
    assert_null(gcorn_get(&c.env, "HTTP_X_T"));
    http_case_close(&c);
}

/* ---- input ------------------------------------------------------------------------------------
 */

static void test_environ_input_small(void **state)
{
    struct http_case c;
    char buf[8];
    size_t len = 77;

    (void)state;
    open_with(&c, "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello");
    assert_int_equal(gcorn_input_read(&c.env, buf, 3), 3);
    assert_memory_equal(buf, "hel", 3);
    assert_string_equal(gcorn_input_all(&c.env, &len), "hello");
    assert_int_equal(len, 5);
    assert_int_equal(gcorn_input_read(&c.env, buf, sizeof(buf)),
                     2); /* not moved by gcorn_input_all */
    assert_memory_equal(buf, "lo", 2);
    assert_int_equal(gcorn_input_read(&c.env, buf, sizeof(buf)), 0);
    assert_int_equal(gcorn_input_read(&c.env, buf, sizeof(buf)), 0);
    assert_string_equal(gcorn_input_all(&c.env, NULL), "hello");
    http_case_close(&c);

    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    assert_string_equal(gcorn_input_all(&c.env, &len), "");
    assert_int_equal(len, 0);
    assert_int_equal(gcorn_input_read(&c.env, buf, sizeof(buf)), 0);
    http_case_close(&c);
}

/* Past 64 KiB the body lies in an unlinked file; a page's multiple must be followed by a NUL too.
 */
static void test_environ_input_spooled(void **state)
{
    static const size_t sizes[] = {65536, 65537, 131072, 200001};

    (void)state;
    for (size_t s = 0; s < ARRAY_LEN(sizes); s++) {
        struct strbuf raw = {0}, got = {0};
        struct http_case c;
        char buf[7001];
        ssize_t n;
        size_t len;

        strbuf_addf(&raw, "POST / HTTP/1.0\r\nContent-Length: %zu\r\n\r\n", sizes[s]);
        size_t head = raw.len;
        for (size_t i = 0; i < sizes[s]; i++)
            strbuf_addch(&raw, (char)(i * 31 + i / 251));
        http_case_open(&c);
        c.context.limits.body_place.dir = temp_dir;
        environ_init(&c.env, &c.context, &c.peer, 1);
        http_case_feed_bytes(&c, raw.data, raw.len);
        assert_int_equal(c.env.request.body.fd >= 0, sizes[s] > 65536);
        for (int twice = 0; twice < 2; twice++) {
            const char *input = gcorn_input_all(&c.env, &len);

            assert_non_null(input);
            assert_int_equal(len, sizes[s]);
            assert_memory_equal(input, raw.data + head, len);
            assert_int_equal(input[len], 0);
        }
        while ((n = gcorn_input_read(&c.env, buf, sizeof(buf))) > 0)
            strbuf_add(&got, buf, (size_t)n);
        assert_int_equal(n, 0);
        assert_int_equal(got.len, sizes[s]);
        assert_memory_equal(got.data, raw.data + head, got.len);
        int fd = c.env.request.body.fd;
        http_case_close(&c);
        if (fd >= 0)
            assert_int_equal(fcntl(fd, F_GETFD), -1); /* closed */
        strbuf_release(&raw);
        strbuf_release(&got);
    }
}

/* ---- memory -----------------------------------------------------------------------------------
 */

static void test_environ_memory(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    for (size_t size = 0; size < 10000; size = size * 2 + 1) {
        char *p = gcorn_alloc(&c.env, size);

        assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xff, size); /* the next one is zeroed all the same */
    }
    const char *text = gcorn_printf(&c.env, "%d-%s", 42, "x");
    const char *wide = gcorn_printf(&c.env, "%05000d", 1);
    assert_string_equal(text, "42-x");
    assert_int_equal(strlen(wide), 5000);
    assert_string_equal(gcorn_printf(&c.env, "%s", ""), "");
    http_case_close(&c);
}

static char order[16];

static void note(void *arg)
{
    size_t len = strlen(order);

    order[len] = *(const char *)arg;
    order[len + 1] = '\0';
}

static struct gcorn_environ *deferring;

static void note_and_defer(void *arg)
{
    note(arg);
    gcorn_defer(deferring, note, (void *)(uintptr_t) "N");
}

static void close_notes(struct gcorn_environ *env, void *state)
{
    note(state);
    gcorn_defer(env, note, (void *)(uintptr_t) "D");
}

static ssize_t next_never(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    (void)chunk;
    fail_msg("nobody asked for this body");
    return 0;
}

/* After the body is closed, the latest first; also what was deferred meanwhile. */
static void test_environ_defer(void **state)
{
    static char a[] = "a", b[] = "b", x[] = "x";
    struct http_case c;

    (void)state;
    order[0] = '\0';
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    deferring = &c.env;
    assert_false(environ_has_code(&c.env));
    gcorn_defer(&c.env, note, a);
    assert_true(environ_has_code(&c.env));
    gcorn_defer(&c.env, note_and_defer, b);
    (void)gcorn_body_iter(&c.env, next_never, close_notes, x);
    environ_reset(&c.env);
    assert_string_equal(order, "xDbNa");
    environ_init(&c.env, &c.context, &c.peer, 2);
    assert_false(environ_has_code(&c.env));
    http_case_close(&c);
    assert_string_equal(order, "xDbNa"); /* once */
}

static int late_closes;

static void count_close(struct gcorn_environ *env, void *state)
{
    if (late_closes++ == 0) /* and one more, by the closing of the first */
        (void)gcorn_body_iter(env, next_never, count_close, state);
}

static void make_body(void *arg)
{
    struct gcorn_environ *env = arg;

    (void)gcorn_body_iter(env, next_never, count_close, NULL);
}

/* What is made with an environ is released with it, also what is made at its end. */
static void test_environ_bodies_of_the_end(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    late_closes = 0;
    gcorn_defer(&c.env, make_body, &c.env);
    http_case_close(&c);
    assert_int_equal(late_closes, 2);
}

/* A stream may log for as long as its client stays. */
static void test_environ_log_takes_no_memory(void **state)
{
    struct http_case c;

    (void)state;
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    gcorn_log(&c.env, GCORN_CRITICAL, "about a request");
    const struct arena before = c.env.arena;
    gcorn_log(&c.env, GCORN_CRITICAL, "about a request");
    assert_ptr_equal(c.env.arena.next, before.next);
    assert_ptr_equal(c.env.arena.block, before.block);
    http_case_close(&c);
}

/* ---- the rest ---------------------------------------------------------------------------------
 */

static void test_environ_key(void **state)
{
    char key[32];

    (void)state;
    environ_key(key, "aZ-09_b!extra", 8);
    assert_string_equal(key, "AZ_09_B!");
    environ_key(key, "", 0);
    assert_string_equal(key, "");
}

/* In each state that a request can be abandoned in, and twice in a row with an init between. */
static void test_environ_reset_any_state(void **state)
{
    static const char *const beginnings[] = {
        "",
        "\r\n",
        "GET / HT",
        "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhe",
        "POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        "POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b",
        "POST / HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\x01",
        "GET /\n",
    };
    struct http_case c;

    (void)state;
    http_case_open(&c);
    for (size_t i = 0; i < ARRAY_LEN(beginnings); i++) {
        (void)request_feed(&c.env.request, beginnings[i], strlen(beginnings[i]));
        environ_reset(&c.env);
        environ_init(&c.env, &c.context, &c.peer, i);
        assert_false(request_has_begun(&c.env.request));
    }
    http_case_feed(&c, "GET /ok HTTP/1.0\r\n\r\n");
    expect_var(&c, "PATH_INFO", "/ok");
    http_case_close(&c);
}

static void test_environ_log(void **state)
{
    struct http_case c;
    char text[10000] = "", path[100];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/log", temp_dir);
    int fd = open(path, LOG_FILE_FLAGS, 0644);
    assert_true(fd >= 0);
    log_set_fd(fd);
    log_set_level(LOG_LEVEL_INFO);
    open_with(&c, "GET / HTTP/1.0\r\n\r\n");
    gcorn_log(&c.env, GCORN_WARNING, "a %d\nb", 1);
    gcorn_log(&c.env, GCORN_DEBUG, "unseen");
    gcorn_log(NULL, GCORN_ERROR, "outside %s\n", "all"); /* the final newline is not shown */
    gcorn_log(&c.env, GCORN_INFO, "%09000d", 1);
    http_case_close(&c);
    log_set_fd(STDERR_FILENO);
    (void)close(fd);

    fd = open(path, O_RDONLY);
    assert_true(read(fd, text, sizeof(text) - 1) > 0);
    (void)close(fd);
    assert_int_equal(unlink(path), 0);
    char *second = strchr(text, '\n') + 1, *third = strchr(second, '\n') + 1;
    second[-1] = third[-1] = '\0';
    assert_non_null(strstr(text, "[WARNING] [00c0ffee12345678] a 1\\x0ab"));
    assert_string_equal(strstr(second, "[ERROR]"), "[ERROR] outside all");
    assert_non_null(strstr(third, "[INFO] [00c0ffee12345678] 0000"));
    assert_true(strlen(third) <= LOG_LINE_MAX);
    assert_ptr_equal(strchr(third, '\n'), third + strlen(third) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_environ_variables),
        cmocka_unit_test(test_environ_bare),
        cmocka_unit_test(test_environ_server_of_unix_socket),
        cmocka_unit_test(test_environ_length_of_chunks),
        cmocka_unit_test(test_environ_targets),
        cmocka_unit_test(test_environ_fields_joined),
        cmocka_unit_test(test_environ_set),
        cmocka_unit_test(test_environ_each),
        cmocka_unit_test(test_environ_objects),
        cmocka_unit_test(test_environ_answer_facts),
        cmocka_unit_test(test_environ_query),
        cmocka_unit_test(test_environ_query_set),
        cmocka_unit_test(test_query_values_are_all_found),
        cmocka_unit_test(test_fields_are_as_received),
        cmocka_unit_test(test_request_without_fields_has_none),
        cmocka_unit_test(test_trailers_are_walked_apart),
        cmocka_unit_test(test_environ_input_small),
        cmocka_unit_test(test_environ_input_spooled),
        cmocka_unit_test(test_environ_memory),
        cmocka_unit_test(test_environ_defer),
        cmocka_unit_test(test_environ_bodies_of_the_end),
        cmocka_unit_test(test_environ_log_takes_no_memory),
        cmocka_unit_test(test_environ_key),
        cmocka_unit_test(test_environ_reset_any_state),
        cmocka_unit_test(test_environ_log),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
