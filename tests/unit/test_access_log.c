/* SPDX-License-Identifier: MIT
 *
 * The access log: each atom, what is escaped, how long a line may be, which formats are none.
 */
#include "http_case.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/ascii.h"
#include "base/util.h"
#include "http/access_log.h"

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
    char line[ACCESS_LOG_LINE_MAX];
    struct access_log *log = access_log_new(format, &err);

    if (!log)
        fail_msg("%s: %s", format, err.text);
    size_t len = access_log_line(log, &c->env, &facts, line);
    access_log_free(log);
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

static void test_access_log_atoms(void **state)
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

static void test_access_log_time(void **state)
{
    struct http_case c;

    (void)state;
    zone_set(0);
    open_answered(&c, request);
    expect_line(&c, "%(t)s", "[06/Nov/1994:08:49:37 +0000]");
    zone_set(19800);
    expect_line(&c, "%(t)s", "[06/Nov/1994:14:19:37 +0530]");
    zone_set(0);
    http_case_close(&c);
}

static void test_access_log_absent(void **state)
{
    struct http_case c;
    struct http_answer a;

    (void)state;
    http_case_run(&c, "HEAD / HTTP/1.0\r\n\r\n", app, &a);
    http_answer_release(&a);
    c.peer.remote_addr[0] = '\0';
    expect_line(&c, "%(h)s %(u)s %(f)s %(a)s %(b)s %(B)s %(q)s.", "- - - - - 0 .");
    http_case_close(&c);
}

/* RFC 7617: the user ends at the first colon. */
static void test_access_log_user(void **state)
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
static void test_access_log_escaping(void **state)
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

/* A number that does not fit is cut where the line ends, as a text is. */
static void test_access_log_number_at_the_end(void **state)
{
    struct http_case c;

    (void)state;
    for (size_t room = 0; room <= 3; room++) {
        struct strbuf format = {0};

        open_answered(&c, "GET / HTTP/1.0\r\n\r\n");
        for (size_t i = 0; i < ACCESS_LOG_LINE_MAX - 1 - room; i++)
            strbuf_addch(&format, 'x');
        strbuf_addstr(&format, "%(s)s");
        char *line = line_of(&c, format.data);
        assert_int_equal(strlen(line), ACCESS_LOG_LINE_MAX);
        assert_memory_equal(line + ACCESS_LOG_LINE_MAX - 1 - room, "201", room);
        free(line);
        strbuf_release(&format);
        http_case_close(&c);
    }
}

static void test_access_log_truncated(void **state)
{
    char out[ACCESS_LOG_LINE_MAX + 64];
    struct strbuf raw = {0};
    struct error err;
    struct http_case c;

    (void)state;
    strbuf_addstr(&raw, "GET / HTTP/1.0\r\nReferer: ");
    for (int i = 0; i < 8000; i++)
        strbuf_addch(&raw, i % 2 ? 'r' : '"');
    strbuf_addstr(&raw, "\r\n\r\n");
    open_answered(&c, raw.data);
    struct access_log *log = access_log_new("%(f)s%(f)s%(f)s", &err);
    memset(out, 'o', sizeof(out));
    assert_int_equal(access_log_line(log, &c.env, &facts, out), ACCESS_LOG_LINE_MAX);
    assert_memory_equal(out, "\\x22r", 5);
    assert_ptr_equal(memchr(out, '\n', sizeof(out)), out + ACCESS_LOG_LINE_MAX - 1);
    for (size_t i = ACCESS_LOG_LINE_MAX; i < sizeof(out); i++)
        assert_int_equal(out[i], 'o'); /* not a byte behind its room */
    access_log_free(log);
    http_case_close(&c);

    /* a line of just that length is whole */
    for (size_t len = ACCESS_LOG_LINE_MAX - 1; len <= ACCESS_LOG_LINE_MAX; len++) {
        strbuf_reset(&raw);
        for (size_t i = 1; i < len; i++)
            strbuf_addch(&raw, 'x');
        strbuf_addch(&raw, 'y');
        http_case_open(&c);
        char *line = line_of(&c, raw.data);
        assert_int_equal(strlen(line), ACCESS_LOG_LINE_MAX);
        assert_int_equal(line[ACCESS_LOG_LINE_MAX - 2], len < ACCESS_LOG_LINE_MAX ? 'y' : 'x');
        free(line);
        http_case_close(&c);
    }
    strbuf_release(&raw);
}

static void test_access_log_bad_formats(void **state)
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

        if (access_log_new(bad[i], &err))
            fail_msg("%s is a format", bad[i]);
        assert_int_equal(err.status, EXIT_USAGE);
        assert_non_null(strstr(err.text, "access_log_format"));
    }
    access_log_free(NULL);
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
static void test_access_log_refused(void **state)
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

/* ---- combined, json, logfmt -------------------------------------------------------------- */

static void test_access_log_combined(void **state)
{
    struct http_case c;

    (void)state;
    zone_set(0);
    open_answered(&c, request);
    expect_line(&c, "combined",
                "192.0.2.7 - Aladdin [06/Nov/1994:08:49:37 +0000] \"POST /a%20b?q=1 HTTP/1.1\" "
                "201 5 \"http://r/\" \"ua \\x221\\x22\"");
    expect_line(&c, "combined ", "combined "); /* a text */
    expect_line(&c, "%(I)s", "00c0ffee12345678");
    http_case_close(&c);
}

#define JSON_START                                                                                 \
    "{\"time\":\"1994-11-06T08:49:37.042+00:00\",\"remote_addr\":\"192.0.2.7\",\"request_id\":"    \
    "\"00c0ffee12345678\",\"pid\":4711,\"worker\":3,"
#define LOGFMT_START                                                                               \
    "time=1994-11-06T08:49:37.042+00:00 remote_addr=192.0.2.7 request_id=00c0ffee12345678 "        \
    "pid=4711 worker=3 "

static void test_access_log_json_and_logfmt(void **state)
{
    struct http_case c;

    (void)state;
    zone_set(0);
    open_answered(&c, request);
    expect_line(&c, "json",
                JSON_START "\"status\":201,\"bytes\":5,\"duration_us\":12003456,"
                           "\"protocol\":\"HTTP/1.1\",\"method\":\"POST\",\"path\":\"/a%20b\","
                           "\"query\":\"q=1\",\"referer\":\"http://r/\","
                           "\"user_agent\":\"ua \\\"1\\\"\"}");
    expect_line(&c, "logfmt",
                LOGFMT_START "status=201 bytes=5 duration_us=12003456 protocol=HTTP/1.1 "
                             "method=POST path=/a%20b query=\"q=1\" referer=http://r/ "
                             "user_agent=\"ua \\\"1\\\"\"");
    http_case_close(&c);
}

/* East of Greenwich by 5 h 30 min; a unix peer; a field that is there twice, and one that is empty.
 */
static void test_access_log_json_values(void **state)
{
    struct http_case c;

    (void)state;
    zone_set(19800);
    open_answered(&c, "GET / HTTP/1.0\r\nUser-Agent: a\r\nuser-agent: b\r\nReferer:\r\n\r\n");
    c.peer.remote_addr[0] = '\0';
    char *line = line_of(&c, "json");
    assert_non_null(
        strstr(line, "{\"time\":\"1994-11-06T14:19:37.042+05:30\",\"remote_addr\":null,"));
    assert_non_null(strstr(line, "\"query\":\"\",\"referer\":\"\",\"user_agent\":\"a, b\"}\n"));
    free(line);
    line = line_of(&c, "logfmt");
    assert_non_null(strstr(line, "time=1994-11-06T14:19:37.042+05:30 request_id="));
    assert_non_null(strstr(line, " query=\"\" referer=\"\" user_agent=\"a, b\"\n"));
    free(line);
    zone_set(0);
    http_case_close(&c);
}

/* What becomes of each text, as a User-Agent: in JSON with its quotes, and in logfmt. */
static void test_access_log_quoting(void **state)
{
    static const struct {
        const char *text;
        const char *json;
        const char *logfmt; /* NULL: as in JSON */
    } rows[] = {
        {"plain", "\"plain\"", "plain"},
        {"Mozilla/5.0-(X11;-Linux-x86_64)", "\"Mozilla/5.0-(X11;-Linux-x86_64)\"",
         "Mozilla/5.0-(X11;-Linux-x86_64)"},
        {"two words", "\"two words\"", NULL},
        {"a=b", "\"a=b\"", NULL},
        {"\"", "\"\\\"\"", NULL},
        {"1234567\"", "\"1234567\\\"\"", NULL},
        {"12345678\"", "\"12345678\\\"\"", NULL},
        {"\\x41\\", "\"\\\\x41\\\\\"", NULL},
        {"a\tb", "\"a\\u0009b\"", NULL},
        {"\xc3\xa9", "\"\\u00e9\"", NULL},                   /* UTF-8 */
        {"\xe2\x82\xac", "\"\\u20ac\"", NULL},               /* of three bytes */
        {"\xf0\x9f\x98\x80", "\"\\ud83d\\ude00\"", NULL},    /* of four */
        {"\xf4\x8f\xbf\xbf", "\"\\udbff\\udfff\"", NULL},    /* the last character */
        {"\xe9t\xe9", "\"\\u00e9t\\u00e9\"", NULL},          /* ISO 8859-1 */
        {"\xc3", "\"\\u00c3\"", NULL},                       /* half a character */
        {"\xc0\xaf", "\"\\u00c0\\u00af\"", NULL},            /* overlong */
        {"\xed\xa0\x80", "\"\\u00ed\\u00a0\\u0080\"", NULL}, /* a surrogate */
        {"\xf4\x90\x80\x80", "\"\\u00f4\\u0090\\u0080\\u0080\"", NULL},
        {"\xff\xfe", "\"\\u00ff\\u00fe\"", NULL},
        {"\xc2\x9b", "\"\\u009b\"", NULL},     /* CSI, a terminal's */
        {"\xe2\x80\xae", "\"\\u202e\"", NULL}, /* turns the reading direction */
        {"\xe2\x80\xa8", "\"\\u2028\"", NULL}, /* a line's end, for some */
        {"null", "\"null\"", "null"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_case c;
        char raw[200], want[200];

        (void)snprintf(raw, sizeof(raw), "GET / HTTP/1.0\r\nUser-Agent: %s\r\n\r\n", rows[i].text);
        open_answered(&c, raw);
        char *json = line_of(&c, "json"), *logfmt = line_of(&c, "logfmt");
        (void)snprintf(want, sizeof(want), "\"user_agent\":%s}\n", rows[i].json);
        if (!strstr(json, want))
            fail_msg("%s: not %s", json, want);
        (void)snprintf(want, sizeof(want), " user_agent=%s\n",
                       rows[i].logfmt ? rows[i].logfmt : rows[i].json);
        if (!strstr(logfmt, want))
            fail_msg("%s: not %s", logfmt, want);
        free(json);
        free(logfmt);
        http_case_close(&c);
    }
}

/* Every byte, at every place of a word, gets through escaped or as it is. */
static void test_access_log_each_byte_at_each_place(void **state)
{
    (void)state;
    for (int b = 0x20; b < 256; b++) {
        for (size_t at = 0; at < 17; at++) {
            char raw[] = "GET / HTTP/1.0\r\nUser-Agent: (0123456789abcdefg)\r\n\r\n";
            char want[64];
            struct http_case c;

            if (b == 0x7f)
                continue;
            raw[sizeof("GET / HTTP/1.0\r\nUser-Agent: (") - 1 + at] = (char)b;
            open_answered(&c, raw);
            char *json = line_of(&c, "json"), *atom = line_of(&c, "%(a)s");
            (void)snprintf(want, sizeof(want),
                           b == '"' || b == '\\' ? "(%.*s\\%c%s)"
                           : b > 0x7f            ? "(%.*s\\u00%02x%s)"
                                                 : "(%.*s%c%s)",
                           (int)at, "0123456789abcdefg", b, &"0123456789abcdefg"[at + 1]);
            if (!strstr(json, want))
                fail_msg("byte %02x at %zu: %s", (unsigned)b, at, json);
            (void)snprintf(want, sizeof(want),
                           b == '"' || b == '\\' || b > 0x7f ? "(%.*s\\x%02x%s)\n" : "(%.*s%c%s)\n",
                           (int)at, "0123456789abcdefg", b, &"0123456789abcdefg"[at + 1]);
            assert_string_equal(atom, want);
            free(json);
            free(atom);
            http_case_close(&c);
        }
    }
}

/* A request with long values of one kind of character each. */
static void open_long(struct http_case *c, size_t path_len, size_t field_len, const char *unit)
{
    struct strbuf raw = {0};

    strbuf_addstr(&raw, "GET /");
    for (size_t i = 0; i < path_len; i++)
        strbuf_addch(&raw, 'p');
    strbuf_addstr(&raw, "?");
    for (size_t i = 0; i < path_len; i++)
        strbuf_addch(&raw, 'q');
    for (int field = 0; field < 2; field++) {
        strbuf_addstr(&raw, field == 0 ? " HTTP/1.0\r\nReferer: (" : ")\r\nUser-Agent: (");
        for (size_t i = 0; i < field_len; i += strlen(unit))
            strbuf_addstr(&raw, unit);
    }
    strbuf_addstr(&raw, ")\r\n\r\n");
    open_answered(c, raw.data);
    strbuf_release(&raw);
}

static size_t run_of(const char *line, const char *start, const char *unit)
{
    const char *p = strstr(line, start);
    size_t count = 0;

    assert_non_null(p);
    for (p += strlen(start); strncmp(p, unit, strlen(unit)) == 0; p += strlen(unit))
        count++;
    return count;
}

/* Each of the long values keeps a share, whatever the others take, and no escape is cut. */
static void test_access_log_json_long(void **state)
{
    static const struct {
        const char *unit, *json;
    } units[] = {{"x", "x"},
                 {"\"", "\\\""},
                 {"\xff", "\\u00ff"},
                 {"\xe2\x82\xac", "\\u20ac"},
                 {"\xf0\x9f\x98\x80", "\\ud83d\\ude00"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        struct http_case c;

        for (size_t more = 0; more < 13; more++) {
            open_long(&c, 1900 + more, 8000, units[i].unit);
            char *line = line_of(&c, "json");
            size_t len = strlen(line), unit_len = strlen(units[i].json);
            assert_true(len <= ACCESS_LOG_LINE_MAX && len > ACCESS_LOG_LINE_MAX - 64);
            assert_string_equal(line + len - 20, "\",\"truncated\":true}\n");
            assert_true(run_of(line, "\"path\":\"/", "p") > 1500);
            assert_true(run_of(line, "\"query\":\"", "q") > 400);
            assert_true(unit_len * run_of(line, "\"referer\":\"(", units[i].json) > 400);
            size_t agent = run_of(line, "\"user_agent\":\"(", units[i].json);
            assert_true(unit_len * agent > 400);
            /* behind the last whole one the text ends */
            assert_memory_equal(strstr(line, "\"user_agent\":\"(") + 15 + agent * unit_len, "\",",
                                2);
            free(line);
            line = line_of(&c, "logfmt");
            len = strlen(line);
            assert_true(len <= ACCESS_LOG_LINE_MAX && len > ACCESS_LOG_LINE_MAX - 64);
            assert_string_equal(line + len - 16, " truncated=true\n");
            free(line);
            http_case_close(&c);
        }
    }
}

/* A line is cut only when it must be: one value may take all the room there is. */
static void test_access_log_json_longest(void **state)
{
    size_t whole = 0, len = 0;

    (void)state;
    for (size_t n = 3500; n < 3900; n++) {
        struct http_case c;
        struct strbuf raw = {0};

        strbuf_addstr(&raw, "GET / HTTP/1.0\r\nUser-Agent: ");
        for (size_t i = 0; i < n; i++)
            strbuf_addch(&raw, 'u');
        strbuf_addstr(&raw, "\r\n\r\n");
        open_answered(&c, raw.data);
        char *line = line_of(&c, "json");
        bool is_cut = strstr(line, "\"truncated\":true}") != NULL;
        assert_true(!is_cut || whole > 0);
        if (!is_cut) {
            assert_true(whole == n - 1 || n == 3500);
            assert_int_equal(run_of(line, "\"user_agent\":\"", "u"), n);
            whole = n;
            len = strlen(line);
        }
        free(line);
        strbuf_release(&raw);
        http_case_close(&c);
    }
    assert_true(whole < 3899 && len > ACCESS_LOG_LINE_MAX - 40);
}

static void expect_refused_as(const char *raw, const char *format, const char *want)
{
    struct http_case c;
    struct http_answer a;

    http_case_open(&c);
    (void)request_feed(&c.env.request, raw, strlen(raw));
    response_refuse(&c.env, c.env.request.refusal ? c.env.request.refusal : 408, NULL);
    http_case_collect(&c, &a);
    http_answer_release(&a);
    expect_line(&c, format, want);
    http_case_close(&c);
}

static void test_access_log_json_refused(void **state)
{
    (void)state;
    zone_set(0);
    expect_refused_as("", "json",
                      JSON_START "\"status\":408,\"bytes\":20,\"duration_us\":12003456,"
                                 "\"protocol\":null,\"method\":null,\"path\":null,\"query\":null,"
                                 "\"referer\":null,\"user_agent\":null}");
    expect_refused_as("\x16\x03\x01\r\n\r\n", "logfmt",
                      LOGFMT_START "status=400 bytes=16 duration_us=12003456");
    expect_refused_as("GET /a HTTP/1.1\r\nUser-Agent: u\r\n\r\n", "json",
                      JSON_START "\"status\":400,\"bytes\":16,\"duration_us\":12003456,"
                                 "\"protocol\":\"HTTP/1.1\",\"method\":\"GET\",\"path\":\"/a\","
                                 "\"query\":\"\",\"referer\":null,\"user_agent\":\"u\"}");
    expect_refused_as("garbage\r\n\r\n", "%(I)s %({gcorn.request_id}e)s", "00c0ffee12345678 -");
}

/* A dead worker's slot holds any bytes: its line is as strict as a living one's. */
static void test_access_log_line_of_hostile_slot(void **state)
{
    static const char evil[] = "G\"\\\n\r\x1b[2J\x7f\xff =";
    static const struct access_request q = {.method = evil,
                                            .target = evil,
                                            .peer = evil,
                                            .request_id = evil,
                                            .status = 504,
                                            .ended = "killed"};
    static const struct {
        const char *format, *want;
    } rows[] = {
        {"json", "\"method\":\"G\\\"\\\\\\u000a\\u000d\\u001b[2J\\u007f\\u00ff =\","},
        {"logfmt", " method=\"G\\\"\\\\\\u000a\\u000d\\u001b[2J\\u007f\\u00ff =\" "},
        {"combined", " \"G\\x22\\x5c\\x0a\\x0d\\x1b[2J\\x7f\\xff = G\\x22"},
        {"%(m)s %(I)s %(h)s", "G\\x22\\x5c\\x0a\\x0d\\x1b[2J\\x7f\\xff = G\\x22"},
    };
    char line[ACCESS_LOG_LINE_MAX];
    struct error err;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct access_log *log = access_log_new(rows[i].format, &err);
        size_t len = access_log_line_of(log, &q, &facts, line);

        access_log_free(log);
        assert_int_equal(line[len - 1], '\n');
        line[len - 1] = '\0';
        for (size_t j = 0; j < len - 1; j++)
            assert_true(line[j] >= 0x20 && line[j] < 0x7f);
        if (!strstr(line, rows[i].want))
            fail_msg("%s gives '%s'", rows[i].format, line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access_log_atoms),
        cmocka_unit_test(test_access_log_time),
        cmocka_unit_test(test_access_log_absent),
        cmocka_unit_test(test_access_log_user),
        cmocka_unit_test(test_access_log_escaping),
        cmocka_unit_test(test_access_log_number_at_the_end),
        cmocka_unit_test(test_access_log_truncated),
        cmocka_unit_test(test_access_log_bad_formats),
        cmocka_unit_test(test_access_log_refused),
        cmocka_unit_test(test_access_log_combined),
        cmocka_unit_test(test_access_log_json_and_logfmt),
        cmocka_unit_test(test_access_log_line_of_hostile_slot),
        cmocka_unit_test(test_access_log_json_values),
        cmocka_unit_test(test_access_log_quoting),
        cmocka_unit_test(test_access_log_each_byte_at_each_place),
        cmocka_unit_test(test_access_log_json_long),
        cmocka_unit_test(test_access_log_json_longest),
        cmocka_unit_test(test_access_log_json_refused),
    };

    return cmocka_run_group_tests(tests, http_case_quiet, NULL);
}
