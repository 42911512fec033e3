/* SPDX-License-Identifier: MIT
 *
 * The access log: each atom, what is escaped, how long a line may be, which formats are none.
 */
#include "http_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"
#include "http/accesslog.h"

static const struct access_facts facts = {.wall_ms = HTTP_CASE_WALL * UINT64_C(1000) + 42,
                                          .duration_us = 12003456,
                                          .pid = 4711,
                                          .worker = 3};

static struct gcorn_body *app(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {{"X-Out", "a \"b\""},
                                                  {"x-out", "second"},
                                                  {"Empty", ""},
                                                  {"Content-Length", "5"},
                                                  {NULL, NULL}};

    gcorn_set(env, "my.var", "mine");
    gcorn_set(env, "SERVER_PROTOCOL", "changed");
    gcorn_set(env, "CONTENT_TYPE", "changed");
    gcorn_set(env, "HTTP_REFERER", "changed");
    gcorn_set(env, "REQUEST_METHOD", "changed");
    (void)gcorn_start(start, "201 Created", headers);
    return gcorn_body_text(env, "hello");
}

static char *line_of(struct http_case *c, const char *format)
{
    struct error err = {0};
    char line[ACCESSLOG_LINE_MAX];
    struct accesslog *log = accesslog_new(format, &err);

    if (!log)
        fail_msg("%s: %s", format, err.text);
    size_t len = accesslog_line(log, &c->env, &facts, line);
    accesslog_free(log);
    assert_true(len <= sizeof(line));
    assert_ptr_equal(memchr(line, '\n', len), line + len - 1); /* one line is one line */
    return strndup(line, len);
}

static void expect_line(struct http_case *c, const char *format, const char *want)
{
    char *line = line_of(c, format);
    size_t len = strlen(line);

    assert_true(len > 0 && line[len - 1] == '\n');
    line[len - 1] = '\0';
    if (strcmp(line, want) != 0)
        fail_msg("%s gives '%s', not '%s'", format, line, want);
    free(line);
}

static void open_answered(struct http_case *c, const char *raw)
{
    struct http_answer a;

    http_case_run(c, raw, app, &a);
    http_answer_release(&a);
}

static const char request[] =
    "POST /a%20b?q=1 HTTP/1.1\r\nHost: h\r\nReferer: http://r/\r\nUser-Agent: ua \"1\"\r\n"
    "Content-Type: text/x\r\nA: 1\r\nA: 2\r\nContent-Length: 0\r\n"
    "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"; /* RFC 7617's Aladdin */

static void test_accesslog_atoms(void **state)
{
    static const struct {
        const char *format;
        const char *want;
    } rows[] = {
        {"%(h)s", "192.0.2.7"},
        {"%(l)s", "-"},
        {"%(u)s", "Aladdin"},
        {"%(r)s", "POST /a%20b?q=1 HTTP/1.1"},
        {"%(m)s", "POST"},
        {"%(U)s", "/a%20b"},
        {"%(q)s", "q=1"},
        {"%(H)s", "HTTP/1.1"},
        {"%(s)s", "201"},
        {"%(b)s", "5"},
        {"%(B)s", "5"},
        {"%(f)s", "http://r/"},
        {"%(a)s", "ua \\x221\\x22"},
        {"%(p)s", "<4711>"},
        {"%(T)s", "12"},
        {"%(M)s", "12003"},
        {"%(D)s", "12003456"},
        {"%(L)s", "12.003456"},
        {"%({a}i)s", "1, 2"},
        {"%({User-Agent}i)s", "ua \\x221\\x22"},
        {"%({Content-Type}i)s", "text/x"}, /* what the client sent */
        {"%({none}i)s", "-"},
        {"%({x-out}o)s", "a \\x22b\\x22"},
        {"%({X-OUT}o)s", "a \\x22b\\x22"},
        {"%({x-ou}o)s", "-"},
        {"%({content-length}o)s", "5"},
        {"%({my.var}e)s", "mine"},
        {"%({REQUEST_METHOD}e)s", "changed"},
        {"%({none}e)s", "-"},
        {"%%", "%"},
        {"100%% of %(m)s\"%(s)s", "100% of POST\"201"},
        {"%%(m)s", "%(m)s"},
        {"", ""},
        {"plain", "plain"},
    };
    struct http_case c;

    (void)state;
    open_answered(&c, request);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        expect_line(&c, rows[i].format, rows[i].want);
    http_case_close(&c);
}

static void test_accesslog_time(void **state)
{
    struct http_case c;

    (void)state;
    assert_int_equal(setenv("TZ", "UTC0", 1), 0);
    tzset();
    open_answered(&c, request);
    expect_line(&c, "%(t)s", "[06/Nov/1994:08:49:37 +0000]");
    assert_int_equal(setenv("TZ", "XXX-05:30", 1), 0);
    tzset();
    expect_line(&c, "%(t)s", "[06/Nov/1994:14:19:37 +0530]");
    assert_int_equal(setenv("TZ", "UTC0", 1), 0);
    tzset();
    http_case_close(&c);
}

static void test_accesslog_absent(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    http_case_run(&c, "HEAD / HTTP/1.0\r\n\r\n", app, &a);
    http_answer_release(&a);
    c.peer.remote_addr = "";
    expect_line(&c, "%(h)s %(u)s %(f)s %(a)s %(b)s %(B)s %(q)s.", "- - - - - 0 .");
    http_case_close(&c);
}

/* RFC 7617: the user ends at the first colon. */
static void test_accesslog_user(void **state)
{
    static const struct {
        const char *credentials;
        const char *want;
    } rows[] = {
        {"Basic dTpw", "u"}, /* u:p */
        {"basic dTpw", "u"},
        {"BASIC dTpw", "u"},
        {"Basic dXNlcjo=", "user"},             /* user: */
        {"Basic OnA=", "-"},                    /* :p */
        {"Basic dTpwOng=", "u"},                /* u:p:x */
        {"Basic w6k6cA==", "\\xc3\\xa9"},       /* e acute */
        {"Basic ImEiXA==", "\\x22a\\x22\\x5c"}, /* "a"\ */
        {"Basic YQpiOng=", "a\\x0ab"},          /* a newline */
        {"Basic", "-"},
        {"Basic ", "-"},
        {"Basic !!!!", "-"},
        {"Bearer dTpw", "-"},
        {"dTpw", "-"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char raw[200];

        (void)snprintf(raw, sizeof(raw), "GET / HTTP/1.0\r\nAuthorization: %s\r\n\r\n",
                       rows[i].credentials);
        open_answered(&c, raw);
        expect_line(&c, "%(u)s", rows[i].want);
        http_case_close(&c);
    }
}

/* Nobody forges a line or ends a quoted text. */
static void test_accesslog_escaping(void **state)
{
    struct strbuf raw = {0};
    struct http_case c;

    (void)state;
    strbuf_addstr(&raw, "GET /\"\\?\" HTTP/1.0\r\nReferer: ");
    for (int b = 1; b < 256; b++) {
        if ((b >= 0x20 || b == '\t') && b != 0x7f)
            strbuf_addch(&raw, (char)b);
    }
    strbuf_addstr(&raw, "x\r\n\r\n");
    open_answered(&c, raw.data);
    char *line = line_of(&c, "%(r)s %(U)s %(q)s %(f)s %({referer}i)s %({HTTP_REFERER}e)s");
    for (const char *p = line; *p != '\0' && p[1] != '\0'; p++) {
        assert_true((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f && *p != '"');
        if (*p == '\\')
            assert_int_equal(p[1], 'x');
    }
    assert_non_null(strstr(line, "GET /\\x22\\x5c?\\x22 HTTP/1.0 /\\x22\\x5c \\x22 "));
    assert_non_null(strstr(line, "\\xfe\\xffx"));
    free(line);
    strbuf_release(&raw);
    http_case_close(&c);
}

static void test_accesslog_truncated(void **state)
{
    char out[ACCESSLOG_LINE_MAX + 64];
    struct strbuf raw = {0};
    struct error err;
    struct http_case c;

    (void)state;
    strbuf_addstr(&raw, "GET / HTTP/1.0\r\nReferer: ");
    for (int i = 0; i < 8000; i++)
        strbuf_addch(&raw, i % 2 ? 'r' : '"');
    strbuf_addstr(&raw, "\r\n\r\n");
    open_answered(&c, raw.data);
    struct accesslog *log = accesslog_new("%(f)s%(f)s%(f)s", &err);
    memset(out, 'o', sizeof(out));
    assert_int_equal(accesslog_line(log, &c.env, &facts, out), ACCESSLOG_LINE_MAX);
    assert_memory_equal(out, "\\x22r", 5);
    assert_ptr_equal(memchr(out, '\n', sizeof(out)), out + ACCESSLOG_LINE_MAX - 1);
    for (size_t i = ACCESSLOG_LINE_MAX; i < sizeof(out); i++)
        assert_int_equal(out[i], 'o'); /* not a byte behind its room */
    accesslog_free(log);
    http_case_close(&c);

    /* a line of just that length is whole */
    for (size_t len = ACCESSLOG_LINE_MAX - 1; len <= ACCESSLOG_LINE_MAX; len++) {
        strbuf_reset(&raw);
        for (size_t i = 1; i < len; i++)
            strbuf_addch(&raw, 'x');
        strbuf_addch(&raw, 'y');
        http_case_open(&c);
        char *line = line_of(&c, raw.data);
        assert_int_equal(strlen(line), ACCESSLOG_LINE_MAX);
        assert_int_equal(line[ACCESSLOG_LINE_MAX - 2], len < ACCESSLOG_LINE_MAX ? 'y' : 'x');
        free(line);
        http_case_close(&c);
    }
    strbuf_release(&raw);
}

static void test_accesslog_bad_formats(void **state)
{
    static const char *const bad[] = {
        "%",         "a%",      "%s",     "%(",       "%()s",    "%(h",      "%(h)",
        "%(h)d",     "%(x)s",   "%(hh)s", "%({a})s",  "%({}i)s", "%({a}x)s", "%({a}i)",
        "%({a}i)d",  "%({ai)s", "%(i)s",  "%(o)s",    "%(e)s",   "%h",       "%(h)s %",
        "%({a}ii)s", "%({a}",   "%({",    "%(\xff)s",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err = {0};

        if (accesslog_new(bad[i], &err))
            fail_msg("%s is a format", bad[i]);
        assert_int_equal(err.status, EXIT_USAGE);
        assert_non_null(strstr(err.text, "access_log_format"));
    }
    accesslog_free(NULL);
}

static const char every_atom[] =
    "%(h)s %(l)s %(u)s %(r)s %(m)s %(U)s %(q)s %(H)s %(s)s %(b)s %(f)s %(a)s %({host}i)s "
    "%({content-type}i)s %({content-length}o)s %({REQUEST_METHOD}e)s %({HTTP_HOST}e)s";

static void expect_refused(const char *raw, const char *want)
{
    struct http_case c;
    struct http_answer a;

    http_case_open(&c);
    (void)request_feed(&c.env.request, raw, strlen(raw));
    assert_int_not_equal(c.env.request.state, REQUEST_DONE);
    response_refuse(&c.env, c.env.request.refusal ? c.env.request.refusal : 408, NULL);
    http_case_collect(&c, &a);
    http_answer_release(&a);
    expect_line(&c, every_atom, want);
    http_case_close(&c);
}

/* Of a refused request there may be all, or some, or nothing. */
static void test_accesslog_refused(void **state)
{
    (void)state;
    expect_refused("GET / HTTP/1.1\r\n\r\n",
                   "192.0.2.7 - - GET / HTTP/1.1 GET /  HTTP/1.1 400 16 - "
                   "- - - 16 GET -");
    expect_refused("GET /x HTTP/2.0\r\nHost: h\r\n\r\n",
                   "192.0.2.7 - - GET /x HTTP/2.0 - - - - 505 31 - - - - 31 - -");
    expect_refused("GET /\r\nA:\n", "192.0.2.7 - - GET / - - - - 400 16 - - - - 16 - -");
    expect_refused("", "192.0.2.7 - - - - - - - 408 20 - - - - 20 - -");
    /* a line that did not come whole is not logged */
    expect_refused("GET /half", "192.0.2.7 - - - - - - - 408 20 - - - - 20 - -");
    expect_refused("GET /bad\n", "192.0.2.7 - - - - - - - 400 16 - - - - 16 - -");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accesslog_atoms),       cmocka_unit_test(test_accesslog_time),
        cmocka_unit_test(test_accesslog_absent),      cmocka_unit_test(test_accesslog_user),
        cmocka_unit_test(test_accesslog_escaping),    cmocka_unit_test(test_accesslog_truncated),
        cmocka_unit_test(test_accesslog_bad_formats), cmocka_unit_test(test_accesslog_refused),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
