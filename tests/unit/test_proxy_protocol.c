/* SPDX-License-Identifier: MIT
 *
 * Behind proxies: networks, the fields of forwarded.h as an application sees them, and PROXY
 * prefaces, each of which is fed whole, byte by byte and cut in two at every place.
 */
#include "http_case.h"

#include <stdio.h>

#include "base/address.h"
#include "base/util.h"
#include "http/access_log.h"
#include "http/request/forwarded.h"
#include "http/request/proxy_protocol.h"

/* ---- addresses and networks ------------------------------------------------------------------ */

static struct address address_of(const char *text)
{
    struct address a;

    if (address_parse(&a, text, strlen(text)) < 0)
        fail_msg("%s is an address", text);
    return a;
}

static void test_address_text(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"192.0.2.1", "192.0.2.1"},       {"::ffff:192.0.2.1", "192.0.2.1"},
        {"2001:DB8:0::1", "2001:db8::1"}, {"::", "::"},
        {"0.0.0.0", "0.0.0.0"},           {"::1", "::1"},
    };
    static const char *const bad[] = {
        "",           "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4 ",
        "fe80::1%lo", "[::1]", "localhost", "01.2.3.4",  "1:2:3:4:5:6:7:8:9"};
    char text[ADDRESS_TEXT_SIZE];
    struct address a;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        a = address_of(rows[i][0]);
        address_format(&a, text);
        assert_string_equal(text, rows[i][1]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (address_parse(&a, bad[i], strlen(bad[i])) == 0)
            fail_msg("\"%s\" is no address", bad[i]);
    }
    assert_int_equal(address_parse(&a, "1.2.3.4\0", 8), -1);
}

static void test_network_parse(void **state)
{
    (void)state;
    static const char *const good[] = {"10.0.0.0/8",    "10.0.0.1",      "10.0.0.1/32", "0.0.0.0/0",
                                       "2001:db8::/32", "::1/128",       "::/0",        "fe80::/10",
                                       "192.0.2.6/31",  "::ffff:0:0/96", "::1"};
    static const char *const bad[] = {"",           "*",         "10.0.0.0/",   "10.0.0.0/33",
                                      "10.0.0/8",   "::/129",    "10.0.0.0/-1", "10.0.0.0/8/8",
                                      "10.0.0.0/x", " 10.0.0.1", "unix",        "/8"};
    static const char *const loose[] = {"10.0.0.1/8", "192.0.2.1/31", "2001:db8::1/32", "::1/0"};
    struct network n;
    const char *wanted;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (network_parse(&n, good[i], &wanted) < 0)
            fail_msg("%s: must be %s", good[i], wanted);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (network_parse(&n, bad[i], &wanted) == 0)
            fail_msg("\"%s\" is no network", bad[i]);
        assert_string_equal(wanted, "an address, a network such as 10.0.0.0/8, or *");
    }
    for (size_t i = 0; i < ARRAY_LEN(loose); i++) {
        assert_int_equal(network_parse(&n, loose[i], &wanted), -1);
        assert_non_null(strstr(wanted, "no bit set after its prefix"));
    }
}

static void test_networks_have(void **state)
{
    (void)state;
    static const struct {
        const char *network, *address;
        bool has;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1", true},
        {"127.0.0.1", "127.0.0.2", false},
        {"127.0.0.1", "::ffff:127.0.0.1", true},
        {"::ffff:127.0.0.1", "127.0.0.1", true},
        {"::1", "::1", true},
        {"::1", "127.0.0.1", false},
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"192.0.2.128/25", "192.0.2.128", true},
        {"192.0.2.128/25", "192.0.2.127", false},
        {"172.16.0.0/12", "172.31.255.255", true},
        {"172.16.0.0/12", "172.32.0.0", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "2001:db8::1", true},
        {"::/0", "203.0.113.9", false}, /* an IPv6 network has no IPv4 address */
        {"2001:db8::/33", "2001:db8:7fff::1", true},
        {"2001:db8::/33", "2001:db8:8000::1", false},
        {"*", "203.0.113.9", true},
        {"*", "2001:db8::1", true},
    };
    struct networks n;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct address a = address_of(rows[i].address);

        networks_init(&n, &rows[i].network, 1);
        if (networks_have(&n, &a) != rows[i].has)
            fail_msg("%s in %s", rows[i].address, rows[i].network);
        networks_release(&n);
    }
    const struct address any = address_of("127.0.0.1");
    networks_init(&n, NULL, 0);
    assert_false(networks_have(&n, &any));
    networks_release(&n);
}

/* ---- fields ------------------------------------------------------------------------------------
 */

static const char *const proxies[] = {"127.0.0.1", "10.0.0.0/8", "2001:db8::/32"};
/* Of a stranger; of a proxy whose PROXY preface has named the client; of any other proxy. */
static const enum forwarded_trust trusts[] = {FORWARDED_NOTHING,
                                              FORWARDED_FIELDS | FORWARDED_SCHEME, FORWARDED_ALL};

static const char *const schemes[] = {"X-FORWARDED-PROTOCOL=ssl", "X-FORWARDED-PROTO=https",
                                      "X-FORWARDED-SSL=on"};
static const char *const names[] = {"SCRIPT_NAME", "PATH_INFO", "Remote_User"};
static const char *const every[] = {"*"};

#define TEXTS(list)                                                                                \
    {                                                                                              \
        (list), ARRAY_LEN(list)                                                                    \
    }

static const struct forwarded_settings usual = {
    .forwarded_allow_ips = TEXTS(proxies),
    .secure_scheme_headers = TEXTS(schemes),
    .forwarder_headers = TEXTS(names),
    .remote_addr = true,
};

static void open_case(struct http_case *c, const struct forwarded_settings *settings,
                      enum forwarded_trust trust)
{
    http_case_open(c);
    forwarded_rules_init(&c->context.forwarded, settings);
    c->peer.trust = trust;
    environ_reset(&c->env);
    environ_init(&c->env, &c->context, &c->peer, HTTP_CASE_ID);
}

static void close_case(struct http_case *c)
{
    forwarded_rules_release(&c->context.forwarded);
    http_case_close(c);
}

/* A request for `path` with these field lines. Its status, 0 when it is taken. */
static int feed_fields(struct http_case *c, const char *path, const char *fields)
{
    char *raw = xasprintf("GET %s HTTP/1.1\r\nHost: t\r\nUser-Agent: sx\r\n%s\r\n", path, fields);

    (void)request_feed(&c->env.request, raw, strlen(raw));
    free(raw);
    return c->env.request.state == REQUEST_DONE ? 0 : c->env.request.refusal;
}

static void assert_var(struct http_case *c, const char *key, const char *value)
{
    const char *is = gcorn_get(&c->env, key);

    if (value ? !is || strcmp(is, value) != 0 : is != NULL)
        fail_msg("%s is %s, not %s", key, is ? is : "absent", value ? value : "absent");
}

static void test_trust(void **state)
{
    (void)state;
    struct forwarded_rules r;
    const struct address near = address_of("10.1.2.3"), far = address_of("192.0.2.1");

    forwarded_rules_init(&r, &usual);
    assert_true(forwarded_trusts(&r, &near));
    assert_false(forwarded_trusts(&r, &far));
    assert_true(forwarded_trusts(&r, NULL));
    forwarded_rules_release(&r);
    assert_false(forwarded_trusts(&r, &near));
}

static void test_scheme(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *scheme; /* NULL: 400 */
    } rows[] = {
        {"", "http"},
        {"X-Forwarded-Proto: https\r\n", "https"},
        {"x-forwarded-proto:https \r\n", "https"},
        {"X-Forwarded-Proto: http\r\n", "http"},
        {"X-Forwarded-Proto: HTTPS\r\n", "https"},
        {"X-Forwarded-Proto: hTTps\r\n", "https"},
        {"X-Forwarded-Proto: https, https\r\n", "https"},
        {"X-Forwarded-Proto: https,HTTPS ,\thttps\r\n", "https"},
        {"X-Forwarded-Proto: , https,\r\n", "https"},
        {"X-Forwarded-Proto: HTTPS\r\nX-Forwarded-Proto: https, https\r\n", "https"},
        {"X-Forwarded-Proto: https, http\r\n", "http"}, /* one saw no TLS */
        {"X-Forwarded-Proto: http, https\r\n", "http"},
        {"X-Forwarded-Proto: http, http\r\n", "http"},
        {"X-Forwarded-Proto: httpss\r\n", "http"},
        {"X-Forwarded-Proto: https https\r\n", "http"},
        {"X-Forwarded-Proto: \"https\"\r\n", "http"},
        {"X-Forwarded-Proto: ,\r\n", "http"},
        {"X-Forwarded-Protocol: SSL, ssl\r\n", "https"},
        {"X-Forwarded-Ssl: ON\r\n", "https"},
        {"X-Forwarded-Proto:\r\n", "http"},
        {"X-Forwarded-Protocol: ssl\r\n", "https"},
        {"X-Forwarded-Ssl: on\r\n", "https"},
        {"X-Forwarded-Ssl: off\r\n", "http"},
        {"X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: https\r\n", "https"},
        {"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: https\r\n", "https"},
        {"X-Forwarded-Ssl: on\r\nX-Forwarded-Proto: http\r\n", NULL},
        {"X-Forwarded-Proto: https\r\nX-Forwarded-Proto: http\r\n", NULL},
        {"X_Forwarded_Proto: https\r\n", "http"},
        {"X-Forwarded-Pro: https\r\n", "http"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t t = 0; t < ARRAY_LEN(trusts); t++) {
            enum forwarded_trust trust = trusts[t];
            bool is_trusted = trust != FORWARDED_NOTHING;
            struct http_case c;

            open_case(&c, &usual, trust);
            int status = feed_fields(&c, "/", rows[i].fields);
            if (status != (is_trusted && !rows[i].scheme ? 400 : 0))
                fail_msg("%s: %d", rows[i].fields, status);
            if (status == 0)
                assert_var(&c, "wsgi.url_scheme", is_trusted ? rows[i].scheme : "http");
            close_case(&c);
        }
    }
}

static void test_remote_addr(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *addr; /* NULL: the peer's */
    } rows[] = {
        {"", NULL},
        {"X-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"},
        {"x-forwarded-FOR:203.0.113.9 , 10.0.0.1\r\n", "203.0.113.9"},
        {"X-Forwarded-For: 198.51.100.1, 203.0.113.9, 10.0.0.1, 127.0.0.1\r\n", "203.0.113.9"},
        {"X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\n", "10.0.0.1"}, /* the first, when all are */
        {"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 203.0.113.9\r\n", "203.0.113.9"},
        {"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 10.0.0.9\r\n", "198.51.100.1"},
        {"X-Forwarded-For: 203.0.113.9:4711\r\n", "203.0.113.9"},
        {"X-Forwarded-For: [2001:DB9::1]:4711\r\n", "2001:db9::1"},
        {"X-Forwarded-For: [2001:db9::1]\r\n", "2001:db9::1"},
        {"X-Forwarded-For: 2001:db9::1, 2001:db8::7\r\n", "2001:db9::1"},
        {"X-Forwarded-For: ::ffff:203.0.113.9\r\n", "203.0.113.9"},
        {"X-Forwarded-For: , ,203.0.113.9,,\r\n", "203.0.113.9"},
        {"X-Forwarded-For: unknown\r\n", NULL},
        {"X-Forwarded-For: 203.0.113.9, unknown, 10.0.0.1\r\n", "10.0.0.1"},
        {"X-Forwarded-For: 203.0.113.9, [::1\r\n", NULL},
        {"X-Forwarded-For: [::1]x\r\n", NULL},
        {"X-Forwarded-For: []\r\n", NULL},
        {"X-Forwarded-For: :80\r\n", NULL},
        {"X-Forwarded-For:\r\n", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t t = 0; t < ARRAY_LEN(trusts); t++) {
            enum forwarded_trust trust = trusts[t];
            const char *addr = trust == FORWARDED_ALL ? rows[i].addr : NULL;
            struct http_case c;

            open_case(&c, &usual, trust);
            assert_int_equal(feed_fields(&c, "/", rows[i].fields), 0);
            assert_var(&c, "REMOTE_ADDR", addr ? addr : "192.0.2.7");
            assert_var(&c, "REMOTE_PORT", addr ? "" : "49152");
            close_case(&c);
        }
    }
}

/* Where a preface has told the scheme, fields cannot. */
static void test_scheme_that_is_known(void **state)
{
    (void)state;
    struct http_case c;

    open_case(&c, &usual, FORWARDED_FIELDS | FORWARDED_SECURE);
    c.local.scheme = "https";
    assert_int_equal(feed_fields(&c, "https://h/a", "X-Forwarded-Proto: http\r\n"), 0);
    assert_var(&c, "wsgi.url_scheme", "https");
    close_case(&c);
    open_case(&c, &usual, FORWARDED_SECURE);
    c.local.scheme = "https";
    assert_int_equal(feed_fields(&c, "https://h/a", "X-Forwarded-Proto: http\r\n"), 0);
    assert_var(&c, "wsgi.url_scheme", "https");
    close_case(&c);
    open_case(&c, &usual, FORWARDED_FIELDS);
    assert_int_equal(feed_fields(&c, "/", "X-Forwarded-Proto: https\r\n"), 0);
    assert_var(&c, "wsgi.url_scheme", "http");
    close_case(&c);
    open_case(&c, &usual, FORWARDED_FIELDS);
    assert_int_equal(feed_fields(&c, "https://h/a", ""), 421);
    close_case(&c);
}

static void test_remote_addr_off_or_anybody(void **state)
{
    (void)state;
    struct forwarded_settings settings = usual;
    struct http_case c;

    settings.remote_addr = false;
    open_case(&c, &settings, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/", "X-Forwarded-For: 203.0.113.9\r\n"), 0);
    assert_var(&c, "REMOTE_ADDR", "192.0.2.7");
    close_case(&c);

    settings = usual;
    settings.forwarded_allow_ips = (struct forwarded_texts)TEXTS(every);
    open_case(&c, &settings, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/", "X-Forwarded-For: 203.0.113.9, 198.51.100.1\r\n"), 0);
    assert_var(&c, "REMOTE_ADDR", "203.0.113.9");
    close_case(&c);
}

static void test_access_log_shows_the_client(void **state)
{
    (void)state;
    const struct access_facts facts = {0};
    char line[ACCESS_LOG_LINE_MAX];
    struct http_case c;
    struct error err;
    struct access_log *log = access_log_new("%(h)s", &err);

    open_case(&c, &usual, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/", "X-Forwarded-For: 203.0.113.9\r\n"), 0);
    assert_int_equal(access_log_line(log, &c.env, &facts, line), 12);
    assert_memory_equal(line, "203.0.113.9\n", 12);
    access_log_free(log);
    close_case(&c);
}

static void test_script_name(void **state)
{
    (void)state;
    static const struct {
        const char *path, *value, *script, *info; /* NULL: 400 */
    } rows[] = {
        {"/app/x", "/app", "/app", "/x"},
        {"/app", "/app", "/app", ""},
        {"/app/", "/app", "/app", "/"},
        {"/app/x", "/app/", "/app", "/x"},
        {"/app/x?y", "/app", "/app", "/x"},
        {"/x", "", "", "/x"},
        {"/x", "/", "", "/x"},
        {"/a%70p/%41", "/app", "/app", "/A"},
        {"/a%20p/x", "/a p", "/a p", "/x"},
        {"http://t/app/x", "/app", "/app", "/x"},
        {"/apple", "/app", NULL, NULL},
        {"/x", "/app", NULL, NULL},
        {"/ap", "/app", NULL, NULL},
        {"/app", "app", NULL, NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *field = xasprintf("SCRIPT_NAME: %s\r\n", rows[i].value);
        struct http_case c;

        open_case(&c, &usual, FORWARDED_FIELDS);
        int status = feed_fields(&c, rows[i].path, field);
        if (status != (rows[i].script ? 0 : 400))
            fail_msg("%s at %s: %d", rows[i].path, rows[i].value, status);
        if (status == 0) {
            assert_var(&c, "SCRIPT_NAME", rows[i].script);
            assert_var(&c, "PATH_INFO", rows[i].info);
        }
        close_case(&c);
        open_case(&c, &usual, FORWARDED_NOTHING);
        assert_int_equal(feed_fields(&c, "/app/x", field), 0);
        assert_var(&c, "SCRIPT_NAME", "");
        assert_var(&c, "PATH_INFO", "/app/x");
        assert_var(&c, "HTTP_SCRIPT_NAME", NULL);
        close_case(&c);
        free(field);
    }
}

static void test_script_name_twice_or_unlisted(void **state)
{
    (void)state;
    struct forwarded_settings settings = usual;
    struct http_case c;

    open_case(&c, &usual, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/a/b", "SCRIPT_NAME: /a\r\nScript_Name: /a\r\n"), 400);
    close_case(&c);

    settings.forwarder_headers.count = 0;
    open_case(&c, &settings, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/a/b", "SCRIPT_NAME: /a\r\n"), 0);
    assert_var(&c, "SCRIPT_NAME", "");
    assert_var(&c, "PATH_INFO", "/a/b");
    close_case(&c);

    settings.forwarder_headers = (struct forwarded_texts)TEXTS(every);
    open_case(&c, &settings, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/a/b", "SCRIPT_NAME: /a\r\nX_Any: 1\r\n"), 0);
    assert_var(&c, "PATH_INFO", "/b");
    assert_var(&c, "HTTP_X_ANY", "1");
    close_case(&c);

    open_case(&c, &usual, FORWARDED_ALL);
    http_case_feed(&c, "OPTIONS * HTTP/1.1\r\nHost: t\r\nSCRIPT_NAME: /a\r\n\r\n");
    assert_var(&c, "PATH_INFO", "*");
    close_case(&c);
}

/* As with gunicorn: it is let through, and the path stays the request's own. */
static void test_path_info_replaces_nothing(void **state)
{
    (void)state;
    struct http_case c;

    open_case(&c, &usual, FORWARDED_ALL);
    assert_int_equal(feed_fields(&c, "/public", "PATH_INFO: /admin\r\n"), 0);
    assert_var(&c, "PATH_INFO", "/public");
    assert_var(&c, "HTTP_PATH_INFO", "/admin");
    close_case(&c);
}

static void test_header_map(void **state)
{
    (void)state;
    struct forwarded_settings drop = usual, refuse = usual, dangerous = usual;
    static const char fields[] = "remote_user: a\r\nX_Real_IP: b\r\nX-Dash: c\r\n";
    struct http_case c;

    refuse.refuse_underscores = true;
    dangerous.pass_underscores = true;
    for (size_t t = 0; t < ARRAY_LEN(trusts); t++) {
        enum forwarded_trust trust = trusts[t];
        const char *passed = trust == FORWARDED_NOTHING ? NULL : "a", *key, *value;
        bool listed = false;

        open_case(&c, &drop, trust);
        assert_int_equal(feed_fields(&c, "/", fields), 0);
        assert_var(&c, "HTTP_REMOTE_USER", passed);
        assert_var(&c, "HTTP_X_REAL_IP", NULL);
        assert_var(&c, "HTTP_X_DASH", "c");
        for (size_t i = 0; (key = gcorn_variable_at(&c.env, i, &value)); i++) {
            listed |= strcmp(key, "HTTP_REMOTE_USER") == 0;
            assert_string_not_equal(key, "HTTP_X_REAL_IP");
        }
        assert_int_equal(listed, passed != NULL);
        close_case(&c);

        open_case(&c, &dangerous, trust);
        assert_int_equal(feed_fields(&c, "/", fields), 0);
        assert_var(&c, "HTTP_REMOTE_USER", "a");
        assert_var(&c, "HTTP_X_REAL_IP", "b");
        close_case(&c);

        open_case(&c, &refuse, trust);
        assert_int_equal(feed_fields(&c, "/", fields), 400);
        close_case(&c);
        open_case(&c, &refuse, trust);
        assert_int_equal(feed_fields(&c, "/", "Remote_User: a\r\n"), passed ? 0 : 400);
        close_case(&c);
        open_case(&c, &refuse, trust);
        assert_int_equal(feed_fields(&c, "/", "Accept: a\r\nX-Forwarded-For: 10.0.0.1\r\n"), 0);
        close_case(&c);
    }
}

static void test_distrusted_is_noted(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *noted;
    } rows[] = {
        {"", NULL},
        {"X-Real-IP: 1\r\n", NULL},
        {"X-Forwarded-Proto: https\r\n", "X-FORWARDED-PROTO=https"},
        {"X-Forwarded-For: 203.0.113.9\r\n", "X-Forwarded-For"},
        {"SCRIPT_NAME: /x\r\n", "SCRIPT_NAME"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (size_t t = 0; t < ARRAY_LEN(trusts); t++) {
            enum forwarded_trust trust = trusts[t];
            struct http_case c;

            open_case(&c, &usual, trust);
            assert_int_equal(feed_fields(&c, "/x", rows[i].fields), 0);
            const struct forwarded *f = c.env.request.forwarded;
            const char *noted = f ? f->distrusted : NULL;
            if (trust != FORWARDED_NOTHING || !rows[i].noted)
                assert_null(noted);
            else
                assert_string_equal(noted, rows[i].noted);
            close_case(&c);
        }
    }
}

/* ---- the PROXY protocol ------------------------------------------------------------------------
 */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

struct preface {
    const char *raw;
    size_t len;
    const char *wanted; /* "source port target port", "none" or "unix", and " http" or " https" if
                           it says so; "more"; NULL: refused */
    size_t rest;        /* bytes at the end that are the request's */
    enum { V1 = 1, V2 = 2, BOTH = 3 } takes;
};

#define PREFACE(text, ...)                                                                         \
    {                                                                                              \
        .raw = (text), .len = sizeof(text) - 1, .takes = BOTH, __VA_ARGS__                         \
    }
#define IS(text) .wanted = (text)
#define INET     "192.0.2.1 56324 198.51.100.2 443"
/* len: of the TLVs, 12 bytes of addresses before them. */
#define TLVS(len, tlvs, want)                                                                      \
    PREFACE(SIGNATURE "\x21\x11\0" len ADDRESSES tlvs "G", .rest = 1, IS(want))
#define ADDRESSES "\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"

static const struct preface prefaces[] = {
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\nGET", .rest = 3,
            IS("192.0.2.1 56324 198.51.100.2 443")),
    PREFACE("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n",
            IS("255.255.255.255 65535 255.255.255.255 65535")),
    PREFACE("PROXY TCP6 2001:db8::1 2001:DB8::2 0 1\r\nx", .rest = 1,
            IS("2001:db8::1 0 2001:db8::2 1")),
    PREFACE("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
            IS("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 "
               "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535")),
    PREFACE("PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", IS("192.0.2.1 1 ::1 2")),
    PREFACE("PROXY UNKNOWN\r\n\r\n", .rest = 2, IS("none")),
    PREFACE("PROXY UNKNOWN what ever\t1 2 3 4 5\r\n", IS("none")),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r", IS("more")),
    PREFACE("P", IS("more")),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 \r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443 1\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1  198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 65536\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 00443\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 -1\r\n"),
    PREFACE("PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\r\n"),
    PREFACE("PROXY TCP4 192.0.2.256 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY TCP4 ::1 ::1 56324 443\r\n"),
    PREFACE("PROXY TCP6 192.0.2.1 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY TCP5 192.0.2.1 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY UDP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY \r\n"),
    PREFACE("PROXY\r\n"),
    PREFACE("proxy TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXYTCP4 192.0.2.1 198.51.100.2 56324 443\r\n"),
    PREFACE("PROXY TCP4\r\n"),
    PREFACE("PROXY UNKNOWN ---------1---------2---------3---------4---------5---------6---------7"
            "---------8---------9---------\r\n"), /* 110 bytes */
    PREFACE("POST / HTTP/1.1\r\nHost: t\r\n\r\n"),
    PREFACE("GET / HTTP/1.1\r\nHost: t\r\n\r\n"),
    PREFACE("\r\nGET / HTTP/1.1\r\n"),
    {.raw = "PROXY UNKNOWN\r\n", .len = 15, .takes = V2},

    PREFACE(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbbGET", .rest = 3,
            IS("192.0.2.1 56324 198.51.100.2 443")),
    PREFACE(SIGNATURE "\x21\x11\0\x13\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb\x04\0\4abcdG", .rest = 1,
            IS("192.0.2.1 56324 198.51.100.2 443")), /* with a TLV */
    /* PP2_TYPE_SSL: flags, verification, and TLVs of its own that are of no interest */
    TLVS("\x1b", "\x20\0\x0c\1\0\0\0\0\x21\0\4v1.3", INET " https"),
    TLVS("\x14", "\x20\0\5\7\0\0\0\0", INET " https"),
    TLVS("\x14", "\x20\0\5\0\0\0\0\0", INET " http"),
    TLVS("\x14", "\x20\0\5\6\0\0\0\0", INET " http"),
    TLVS("\x1b", "\1\0\4\x20\0\5\1\x20\0\5\1\0\0\0\0", INET " https"), /* behind another */
    TLVS("\x18", "\4\0\x09\x20\0\5\1\0\0\0\0.", INET),                 /* only in another */
    TLVS("\x17", "\x20\0\5\1\0\0\0\0\4\0\0", INET " https"),
    TLVS("\x16", "\x20\0\5\1\0\0\0\0\4\0", INET " https"), /* and half of one */
    TLVS("\x14", "\x20\0\6\1\0\0\0\0", INET),              /* longer than what comes */
    TLVS("\x13", "\x20\0\4\1\0\0\0", INET),                /* too short for what it is */
    TLVS("\x0f", "\x20\0\0", INET),
    PREFACE(SIGNATURE "\x21\0\0\x08\x20\0\5\1\0\0\0\0", IS("none https")),
    PREFACE(SIGNATURE "\x20\0\0\x08\x20\0\5\1\0\0\0\0", IS("none")), /* LOCAL */
    PREFACE(SIGNATURE "\x21\x21\0\x24\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1"
                      "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\2\0\1\xff\xff",
            IS("2001:db8::1 1 2001:db8::2 65535")),
    PREFACE(SIGNATURE "\x20\0\0\0GET", .rest = 3, IS("none")),
    PREFACE(SIGNATURE "\x20\x11\0\x0c............G", .rest = 1, IS("none")), /* LOCAL: ignored */
    PREFACE(SIGNATURE "\x20\x11\0\3...G", .rest = 1, IS("none")),
    PREFACE(SIGNATURE "\x21\0\0\2..G", .rest = 1, IS("none")), /* UNSPEC */
    PREFACE(SIGNATURE "\x21\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1", IS("more")),
    PREFACE(SIGNATURE "\x20\0\0\3..", IS("more")),
    PREFACE(SIGNATURE, IS("more")),
    PREFACE("\r\n\r\n\0\r\nQUIT", IS("more")),
    PREFACE("\r\n\r\n\0\r\nQUIT\r"),
    PREFACE("\r\n\r\nGET / HTTP/1.1\r\n"),
    PREFACE(SIGNATURE "\x11\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"), /* version 1 */
    PREFACE(SIGNATURE "\x22\x11\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"), /* command 2 */
    PREFACE(SIGNATURE "\x21\x12\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"), /* UDP */
    PREFACE(SIGNATURE "\x21\x41\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"), /* family 4 */
    PREFACE(SIGNATURE "\x21\x11\0\x0b\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1"),     /* too short */
    PREFACE(SIGNATURE "\x21\x21\0\x0c\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb"),
    PREFACE(SIGNATURE "\x21\x31\0\x0c............"),
    PREFACE(SIGNATURE "\x20\0\x40\1"), /* 16385 bytes */
    PREFACE(SIGNATURE "\x20\0\xff\xff"),
    {.raw = SIGNATURE "\x20\0\0\0", .len = 16, .takes = V1},
};

/* Each piece lies in a buffer of just its size. Returns how many bytes were taken. */
static size_t feed_piece(struct proxy_preface *p, const char *data, size_t len)
{
    char *piece = malloc(len > 0 ? len : 1);

    assert_non_null(piece);
    memcpy(piece, data, len);
    size_t used = proxy_preface_feed(p, piece, len);
    free(piece);
    return used;
}

/* first, then pieces of `step`. */
static void feed_cut(const struct preface *row, size_t first, size_t step)
{
    struct proxy_preface p;
    struct strbuf is = {0};
    size_t used = 0;

    proxy_preface_init(&p, row->takes & V1, row->takes & V2);
    for (size_t len = first; used < row->len && p.state == PROXY_MORE; len = step) {
        if (len > row->len - used)
            len = row->len - used;
        size_t n = feed_piece(&p, row->raw + used, len);
        assert_true(n == len || p.state != PROXY_MORE);
        used += n;
    }
    if (p.state == PROXY_MORE)
        strbuf_addstr(&is, "more");
    else if (p.state == PROXY_REFUSED)
        assert_non_null(p.reason);
    else if (p.client == PROXY_CLIENT_INET)
        strbuf_addf(&is, "%s %s %s %s", p.source_text, p.source_port, p.target_text, p.target_port);
    else
        strbuf_addstr(&is, p.client == PROXY_CLIENT_UNIX ? "unix" : "none");
    if (p.state == PROXY_DONE && p.tls != PROXY_TLS_UNSAID)
        strbuf_addstr(&is, p.tls == PROXY_TLS_YES ? " https" : " http");
    if (row->wanted ? !is.data || strcmp(is.data, row->wanted) != 0 : is.data != NULL)
        fail_msg("%s, cut at %zu: %s, not %s", row->raw, first, is.data ? is.data : "refused",
                 row->wanted ? row->wanted : "refused");
    if (p.state == PROXY_DONE)
        assert_int_equal(row->len - used, row->rest);
    strbuf_release(&is);
}

static void feed_all_cuts(const struct preface *row)
{
    feed_cut(row, row->len, 1);
    feed_cut(row, 1, 1);
    for (size_t first = 0; first < row->len; first++)
        feed_cut(row, first, row->len);
}

static void test_proxy_prefaces(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(prefaces); i++)
        feed_all_cuts(&prefaces[i]);
}

/* The long ones: a unix client's paths, and as many TLVs as may be. */
static void test_proxy_long_prefaces(void **state)
{
    (void)state;
    struct strbuf raw = {0};

    strbuf_add(&raw, SIGNATURE "\x21\x31\0\xda", 16);
    for (int i = 0; i < 218; i++)
        strbuf_addch(&raw, (char)i);
    strbuf_addstr(&raw, "GET");
    const struct preface unix_client = {raw.data, raw.len, "unix", 3, BOTH};
    feed_all_cuts(&unix_client);

    strbuf_reset(&raw);
    strbuf_add(&raw, SIGNATURE "\x21\x31\0\xe0", 16);
    for (int i = 0; i < 216; i++)
        strbuf_addch(&raw, (char)i);
    strbuf_add(&raw, "\x20\0\5\1\0\0\0\0G", 9);
    const struct preface unix_over_tls = {raw.data, raw.len, "unix https", 1, BOTH};
    feed_all_cuts(&unix_over_tls);

    strbuf_reset(&raw);
    strbuf_add(&raw, SIGNATURE "\x21\x11\x40\0\xc0\0\2\1\xc6\x33\x64\2\xdc\4\1\xbb", 28);
    for (int i = 12; i < PROXY_V2_MAX; i++)
        strbuf_addch(&raw, (char)i);
    strbuf_addstr(&raw, "GET");
    const struct preface many_tlvs = {raw.data, raw.len, "192.0.2.1 56324 198.51.100.2 443", 3,
                                      BOTH};
    feed_cut(&many_tlvs, raw.len, 1);
    feed_cut(&many_tlvs, 1, 1);
    for (size_t first = 0; first < 64; first++)
        feed_cut(&many_tlvs, first, 4096);
    strbuf_release(&raw);
}

/* A line may have 107 bytes with its CRLF, and not one more. */
static void test_proxy_line_limit(void **state)
{
    (void)state;
    struct strbuf raw = {0};

    strbuf_addstr(&raw, "PROXY UNKNOWN ");
    while (raw.len < PROXY_V1_MAX - 2)
        strbuf_addch(&raw, 'x');
    strbuf_addstr(&raw, "\r\n");
    const struct preface longest = {raw.data, raw.len, "none", 0, BOTH};
    feed_all_cuts(&longest);
    raw.len -= 2;
    strbuf_addstr(&raw, "x\r\n");
    const struct preface longer = {raw.data, raw.len, NULL, 0, BOTH};
    feed_all_cuts(&longer);
    strbuf_release(&raw);
}

/* A plain client is refused at its first byte, or as soon as it differs. */
static void test_proxy_refuses_early(void **state)
{
    (void)state;
    struct proxy_preface p;

    proxy_preface_init(&p, true, true);
    assert_int_equal(proxy_preface_feed(&p, "G", 1), 1 - 1);
    assert_int_equal(p.state, PROXY_REFUSED);
    proxy_preface_init(&p, true, true);
    (void)proxy_preface_feed(&p, "PO", 2);
    assert_int_equal(p.state, PROXY_REFUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_address_text),
        cmocka_unit_test(test_network_parse),
        cmocka_unit_test(test_networks_have),
        cmocka_unit_test(test_trust),
        cmocka_unit_test(test_scheme),
        cmocka_unit_test(test_scheme_that_is_known),
        cmocka_unit_test(test_remote_addr),
        cmocka_unit_test(test_remote_addr_off_or_anybody),
        cmocka_unit_test(test_access_log_shows_the_client),
        cmocka_unit_test(test_script_name),
        cmocka_unit_test(test_script_name_twice_or_unlisted),
        cmocka_unit_test(test_path_info_replaces_nothing),
        cmocka_unit_test(test_header_map),
        cmocka_unit_test(test_distrusted_is_noted),
        cmocka_unit_test(test_proxy_prefaces),
        cmocka_unit_test(test_proxy_long_prefaces),
        cmocka_unit_test(test_proxy_line_limit),
        cmocka_unit_test(test_proxy_refuses_early),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
