/* SPDX-License-Identifier: MIT
 *
 * A client of several requests: cookies, fields that it always sends, redirections.
 */
#include "case.h"

/* Answers with what the request says, and with what its query asks for: set=VALUE sets a cookie,
 * to=URL redirects, by status=NNN. */
static struct gcorn_body *app(struct gcorn_environ *env,
                              struct gcorn_start_response *start_response)
{
    struct gcorn_header_list *list = gcorn_header_list_new(env, NULL);
    const char *to = gcorn_query(env, "to"), *status = gcorn_query(env, "status"), *value;
    const char *cookie = gcorn_get(env, "HTTP_COOKIE"), *type = gcorn_get(env, "CONTENT_TYPE");

    for (size_t i = 0; gcorn_query_value(env, "set", i, &value) == 1; i++)
        gcorn_header_append(list, "Set-Cookie", value);
    if (to)
        gcorn_header_append(list, "Location", to);
    gcorn_start(start_response, status ? status : "200 OK", gcorn_header_array(list));
    return gcorn_body_printf(env, "%s %s %s:%s %s|%s|%s|%s", gcorn_get(env, "REQUEST_METHOD"),
                             gcorn_get(env, "wsgi.url_scheme"), gcorn_get(env, "HTTP_HOST"),
                             gcorn_get(env, "SERVER_PORT"), gcorn_get(env, "RAW_URI"),
                             cookie ? cookie : "", type ? type : "", gcorn_input_all(env, NULL));
}

static struct gcorn_test_client *client;

static void begin(const char *base_url)
{
    client = gcorn_test_client_new(app, base_url);
    assert_non_null(client);
}

static int end(void **state)
{
    (void)state;
    gcorn_test_client_free(client);
    client = NULL;
    return 0;
}

static const struct gcorn_test *go(const char *head)
{
    const struct gcorn_test *t = gcorn_test_client_request(client, head, NULL, 0);

    assert_true(t->complete);
    return t;
}

/* The Cookie field of a request for this path. */
static void expect_cookies(const char *path, const char *cookies)
{
    char head[128];
    const char *from;

    (void)snprintf(head, sizeof(head), "GET %s HTTP/1.1", path);
    from = strchr(go(head)->body, '|') + 1;
    assert_int_equal(strcspn(from, "|"), strlen(cookies));
    assert_memory_equal(from, cookies, strlen(cookies));
}

/* ---- requests ----------------------------------------------------------------------------- */

static void test_base_gives_scheme_host_and_port(void **state)
{
    static const struct {
        const char *base, *seen;
    } rows[] = {
        {NULL, "GET http localhost:80 /|||"},
        {"http://Shop.Example", "GET http shop.example:80 /|||"},
        {"https://shop.example/ignored?too", "GET https shop.example:443 /|||"},
        {"HTTPS://shop.example:8443", "GET https shop.example:8443:8443 /|||"},
        {"http://shop.example:80", "GET http shop.example:80 /|||"},
        {"http://[::1]:8000", "GET http [::1]:8000:8000 /|||"},
        {"http://[::1]", "GET http [::1]:80 /|||"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(rows[i].base);
        assert_string_equal(go("GET / HTTP/1.1")->body, rows[i].seen);
        (void)end(NULL);
    }
}

static void test_base_that_is_no_url_is_refused(void **state)
{
    static const char *const bases[] = {
        "",          "shop.example", "/",          "ftp://a",        "http:/a",
        "http://",   "http://:80",   "http://a:0", "http://a:65536", "http://a:1x",
        "http://u@a"};

    (void)state;
    begin("https://kept.example");
    for (size_t i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
        errno = 0;
        assert_null(gcorn_test_client_new(app, bases[i]));
        assert_int_equal(errno, EINVAL);
        assert_int_equal(gcorn_test_client_base(client, bases[i]), -1);
    }
    assert_string_equal(go("GET / HTTP/1.1")->body, "GET https kept.example:443 /|||");
}

static void test_default_fields_give_way_to_the_heads_own(void **state)
{
    const struct gcorn_test *t;

    (void)state;
    begin(NULL);
    gcorn_test_client_field(client, "Host", "default.example");
    gcorn_test_client_field(client, "Content-Type", "text/plain");
    gcorn_test_client_field(client, "cookie", "mine=1");
    gcorn_test_client_set_cookie(client, "kept=1");
    assert_string_equal(go("GET /a HTTP/1.1")->body, "GET http default.example:80 /a|mine=1||");
    t = gcorn_test_client_request(client, "POST / HTTP/1.1", "body", 4);
    assert_string_equal(t->body, "POST http default.example:80 /|mine=1|text/plain|body");
    t = gcorn_test_client_request(
        client, "POST / HTTP/1.1\r\nhost: own.example\ncontent-TYPE: a/b\r\nCookie: own=1", "body",
        4);
    assert_string_equal(t->body, "POST http own.example:80 /|own=1|a/b|body");
    gcorn_test_client_field(client, "COOKIE", NULL);
    gcorn_test_client_field(client, "Host", "other.example");
    gcorn_test_client_field(client, "X-Absent", NULL);
    assert_string_equal(go("GET / HTTP/1.1")->body, "GET http other.example:80 /|kept=1||");
}

static void test_malformed_heads_reach_the_server(void **state)
{
    (void)state;
    begin(NULL);
    assert_int_equal(go("GET")->status, 400);
    assert_int_equal(go("")->status, 400);
    assert_int_equal(go("GET / HTTP/9.9")->status, 505);
    assert_int_equal(go("OPTIONS * HTTP/1.1")->status, 200);
    assert_string_equal(gcorn_test_client_url(client), "http://localhost/");
}

/* ---- cookies ------------------------------------------------------------------------------ */

static void test_cookies_go_along_until_they_are_removed(void **state)
{
    (void)state;
    begin(NULL);
    expect_cookies("/", "");
    (void)go("GET /?set=a=1&set=b=2;+HttpOnly;+SameSite%3DLax HTTP/1.1");
    expect_cookies("/", "a=1; b=2");
    assert_string_equal(gcorn_test_client_cookie(client, "/", "b"), "2");
    (void)go("GET /?set=a=3 HTTP/1.1");
    expect_cookies("/", "a=3; b=2"); /* it keeps its place */
    (void)go("GET /?set=a=;+Max-Age%3D0&set=b=x;+Expires=Thu,+01+Jan+1970+00:00:00+GMT HTTP/1.1");
    expect_cookies("/", "");
    assert_null(gcorn_test_client_cookie(client, "/", "a"));
}

static void test_set_cookie_is_read_as_browsers_do(void **state)
{
    static const struct {
        const char *set_cookie, *sent;
    } rows[] = {
        {"a=b", "a=b"},
        {"  a =  b c ; Path=/", "a=b c"},
        {"a=\"b\"; x; y=z; =; ;", "a=\"b\""},
        {"a=b=c", "a=b=c"},
        {"a=", "a="},
        {"=b", ""},
        {"a", ""},
        {"", ""},
        {"; a=b", ""},
        {"a=b; Path=elsewhere", "a=b"},
        {"a=b; Path=/elsewhere; PATH=/", "a=b"},
        {"a=b; path=/elsewhere; Path", "a=b"},
        {"a=b; Max-Age=x", "a=b"},
        {"a=b; Max-Age=1x", "a=b"},
        {"a=b; Max-Age=", "a=b"},
        {"a=b; Max-Age=-1", ""},
        {"a=b; Max-Age=-", ""},
        {"a=b; Max-Age=99999999999999999999999999", "a=b"},
        {"a=b; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "a=b"},
        {"a=b; Expires=Fri, 31 Dec 9999 23:59:59 GMT; Max-Age=0", ""},
        {"a=b; Expires=soon", "a=b"},
        {"a=b; Secure", ""},
        {"a=b; secure=no", ""},
        {"a=b; Domain=localhost", "a=b"},
        {"a=b; Domain=", "a=b"},
        {"a=b; Domain=elsewhere.example", ""},
        {"__Secure-a=b", ""},
        {"__Host-a=b; Path=/", ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(NULL);
        gcorn_test_client_set_cookie(client, rows[i].set_cookie);
        expect_cookies("/", rows[i].sent);
        (void)end(NULL);
    }
}

static void test_longest_path_is_sent_first(void **state)
{
    (void)state;
    begin(NULL);
    (void)go("GET /shop/cart/add?set=a=cart&set=a=all;+Path=/&set=a=shop;+Path=/shop&"
             "set=b=shop;+Path=/shop/ HTTP/1.1");
    expect_cookies("/shop/cart", "a=cart; b=shop; a=shop; a=all");
    expect_cookies("/shop/cart/?q=/x", "a=cart; b=shop; a=shop; a=all");
    expect_cookies("/shop/cartoon", "b=shop; a=shop; a=all");
    expect_cookies("/shop?x", "a=shop; a=all");
    expect_cookies("/shopping", "a=all");
    assert_string_equal(gcorn_test_client_cookie(client, "/shop/cart/x", "a"), "cart");
    assert_string_equal(gcorn_test_client_cookie(client, "/", "a"), "all");
    assert_null(gcorn_test_client_cookie(client, "/", "b"));
    gcorn_test_client_set_cookie(client, "a=; Path=/shop; Max-Age=0");
    expect_cookies("/shop?x", "a=all");
}

static void test_cookies_end_by_the_tests_clock(void **state)
{
    (void)state;
    begin(NULL);
    gcorn_test_set_time(784111777); /* Sun, 06 Nov 1994 08:49:37 GMT */
    (void)go("GET /?set=a=1;+Max-Age=60&set=b=2;+expires=Sunday,+06-Nov-94+08:51:37+GMT&set=c=3"
             " HTTP/1.1");
    gcorn_test_advance(59999);
    expect_cookies("/", "a=1; b=2; c=3");
    gcorn_test_advance(1);
    expect_cookies("/", "b=2; c=3");
    gcorn_test_advance(60000);
    expect_cookies("/", "c=3");
    gcorn_test_set_time(784111777 + (int64_t)100 * 365 * 86400);
    expect_cookies("/", "c=3"); /* as long as the client */
}

static void test_dates_are_read_in_many_forms(void **state)
{
    static const struct {
        const char *date;
        int64_t unix_s; /* 0: it is none */
    } rows[] = {
        {"Sun, 06 Nov 1994 08:49:37 GMT", 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", 784111777},
        {"Sun Nov  6 08:49:37 1994", 784111777},
        {"6 november 94 8:49:37", 784111777},
        {"1994/Nov/06 08:49:37x", 784111777},
        {"08:49:37 06 Nov 1994 09:00:00 07 Dec 1995", 784111777},
        {"29 Feb 2000 00:00:00", 951782400},
        {"1 Jan 69 00:00:00", 3124224000},
        {"1 Jan 70 00:00:01", 1},
        {"29 Feb 1999 00:00:00", 0},
        {"32 Jan 2000 00:00:00", 0},
        {"0 Jan 2000 00:00:00", 0},
        {"1 Jan 1600 00:00:00", 0},
        {"1 Jan 2000 24:00:00", 0},
        {"1 Jan 2000 00:60:00", 0},
        {"1 Jan 2000 00:00:60", 0},
        {"1 Jan 2000 00:00", 0},
        {"1 Jan 2000 000:00:00", 0},
        {"1 Jan 12000 00:00:00", 0},
        {"1 Foo 2000 00:00:00", 0},
        {"Jan 2000 00:00:00", 0},
        {"1 Jan 00:00:00", 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char cookie[128];

        begin(NULL);
        gcorn_test_set_time(rows[i].unix_s - 1);
        (void)snprintf(cookie, sizeof(cookie), "a=b; Expires=%s", rows[i].date);
        gcorn_test_client_set_cookie(client, cookie);
        assert_non_null(gcorn_test_client_cookie(client, "/", "a"));
        gcorn_test_set_time(rows[i].unix_s > 0 ? rows[i].unix_s : (int64_t)4000000000);
        if (rows[i].unix_s > 0)
            assert_null(gcorn_test_client_cookie(client, "/", "a"));
        else
            assert_non_null(gcorn_test_client_cookie(client, "/", "a"));
        (void)end(NULL);
    }
}

static void test_secure_cookies_go_by_https_alone(void **state)
{
    (void)state;
    begin("https://shop.example");
    (void)go("GET /?set=a=1;+Secure&set=b=2&set=__Host-c=3;+Secure;+Path=/&"
             "set=__Secure-d=4;+Secure;+Path=/x&set=__Host-e=5;+Secure&"
             "set=__Host-f=6;+Secure;+Path=/;+Domain=shop.example HTTP/1.1");
    expect_cookies("/", "a=1; b=2; __Host-c=3");
    expect_cookies("/x", "__Secure-d=4; a=1; b=2; __Host-c=3");
    assert_int_equal(gcorn_test_client_base(client, "http://shop.example:8080"), 0);
    expect_cookies("/x", "b=2");
    assert_null(gcorn_test_client_cookie(client, "/", "a"));
}

static void test_domain_widens_a_cookie_to_subdomains(void **state)
{
    (void)state;
    begin("http://www.shop.example");
    (void)go("GET /?set=own=1&set=all=2;+Domain=.SHOP.example&set=no=3;+Domain=example&"
             "set=no=4;+Domain=hop.example&set=no=5;+Domain=api.shop.example&"
             "set=wide=6;+Domain=www.shop.example HTTP/1.1");
    expect_cookies("/", "own=1; all=2; wide=6");
    (void)gcorn_test_client_base(client, "http://api.shop.example");
    expect_cookies("/", "all=2");
    (void)gcorn_test_client_base(client, "http://shop.example");
    expect_cookies("/", "all=2");
    (void)gcorn_test_client_base(client, "http://a.www.shop.example");
    expect_cookies("/", "all=2; wide=6");
    (void)gcorn_test_client_base(client, "http://xshop.example");
    expect_cookies("/", "");
    (void)gcorn_test_client_base(client, "http://1.2.3.4");
    gcorn_test_client_set_cookie(client, "a=1; Domain=1.2.3.4");
    gcorn_test_client_set_cookie(client, "b=1; Domain=3.4");
    expect_cookies("/", "a=1");
    (void)gcorn_test_client_base(client, "http://0.1.2.3.4");
    expect_cookies("/", "");
}

static void test_clients_have_cookies_of_their_own(void **state)
{
    struct gcorn_test_client *other = gcorn_test_client_new(app, NULL);

    (void)state;
    begin(NULL);
    gcorn_test_client_set_cookie(other, "a=1");
    assert_null(gcorn_test_client_cookie(client, "/", "a"));
    expect_cookies("/", "");
    gcorn_test_client_free(other);
    gcorn_test_client_free(NULL);
}

/* ---- redirections ------------------------------------------------------------------------- */

static void test_redirections_are_followed_on_request(void **state)
{
    const struct gcorn_test *t;

    (void)state;
    begin(NULL);
    t = go("GET /?status=302+Found&to=/there HTTP/1.1");
    assert_int_equal(t->status, 302);
    gcorn_test_client_follow(client, 1);
    t = go("GET /?status=302+Found&to=/there&set=a=1 HTTP/1.1");
    assert_string_equal(t->body, "GET http localhost:80 /there|a=1||");
    assert_string_equal(gcorn_test_client_url(client), "http://localhost/there");
    /* one more than it may follow */
    t = go("GET /?status=302+Found&to=/x%3Fstatus%3D302%2BFound%26to%3D/y HTTP/1.1");
    assert_int_equal(t->status, 302);
    assert_string_equal(gcorn_headers_get(t->headers, "Location"), "/y");
    gcorn_test_client_follow(client, 2);
    t = go("GET /?status=302+Found&to=/x%3Fstatus%3D302%2BFound%26to%3D/y HTTP/1.1");
    assert_string_equal(t->body, "GET http localhost:80 /y|a=1||");
    /* these lead nowhere */
    assert_int_equal(go("GET /?status=302+Found HTTP/1.1")->status, 302);
    assert_int_equal(go("GET /?status=300+Choose&to=/a HTTP/1.1")->status, 300);
    assert_int_equal(go("GET /?status=201+Created&to=/a HTTP/1.1")->status, 201);
}

static void test_redirection_changes_the_method(void **state)
{
    static const struct {
        const char *method, *status, *seen;
    } rows[] = {
        {"POST", "301+Moved", "GET http localhost:80 /there|||"},
        {"POST", "302+Found", "GET http localhost:80 /there|||"},
        {"POST", "303+See", "GET http localhost:80 /there|||"},
        {"PUT", "303+See", "GET http localhost:80 /there|||"},
        {"POST", "307+Same", "POST http localhost:80 /there||a/b|body"},
        {"POST", "308+Same", "POST http localhost:80 /there||a/b|body"},
        {"PUT", "301+Moved", "PUT http localhost:80 /there||a/b|body"},
        {"DELETE", "302+Found", "DELETE http localhost:80 /there||a/b|body"},
        {"HEAD", "303+See", ""},
    };

    (void)state;
    begin(NULL);
    gcorn_test_client_follow(client, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char head[128];
        const struct gcorn_test *t;

        (void)snprintf(head, sizeof(head),
                       "%s /?status=%s&to=/there HTTP/1.1\nContent-Type: a/b\nContent-Length: 4",
                       rows[i].method, rows[i].status);
        t = gcorn_test_client_request(client, head, "body", 4);
        assert_int_equal(t->status, 200);
        assert_string_equal(t->body, rows[i].seen);
        assert_string_equal(gcorn_test_client_url(client), "http://localhost/there");
    }
}

/* RFC 3986 5.4 has most of these. */
static void test_location_is_resolved_against_the_request(void **state)
{
    static const struct {
        const char *location, *url;
    } rows[] = {
        {"g", "http://localhost/b/c/g"},
        {"./g", "http://localhost/b/c/g"},
        {"g/", "http://localhost/b/c/g/"},
        {"/g", "http://localhost/g"},
        {"?y", "http://localhost/b/c/d?y"},
        {"g%3Fy", "http://localhost/b/c/g?y"},
        {"%23s", NULL},
        {"g%23s", "http://localhost/b/c/g"},
        {";x", "http://localhost/b/c/;x"},
        {".", "http://localhost/b/c/"},
        {"..", "http://localhost/b/"},
        {"../g", "http://localhost/b/g"},
        {"../..", "http://localhost/"},
        {"../../../../g", "http://localhost/g"},
        {"/./g", "http://localhost/g"},
        {"/../g", "http://localhost/g"},
        {"g.", "http://localhost/b/c/g."},
        {"..g", "http://localhost/b/c/..g"},
        {"./../g", "http://localhost/b/g"},
        {"./g/.", "http://localhost/b/c/g/"},
        {"g/../h", "http://localhost/b/c/h"},
        {"//localhost/x", "http://localhost/x"},
        {"//LOCALHOST", "http://localhost/"},
        {"http://localhost?q", "http://localhost/?q"},
        {"https://localhost/s", "https://localhost/s"},
        {"http://localhost:8080/s", "http://localhost:8080/s"},
        {"http://elsewhere.example/s", NULL},
        {"//elsewhere.example/s", NULL},
        {"mailto:a@localhost", NULL},
        {"http:g", NULL},
    };

    (void)state;
    begin(NULL);
    gcorn_test_client_follow(client, 1);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char head[128];
        const struct gcorn_test *t;

        (void)snprintf(head, sizeof(head), "GET /b/c/d?status=302+Found&to=%s HTTP/1.1",
                       rows[i].location);
        t = go(head);
        if (rows[i].url) {
            assert_int_equal(t->status, 200);
            assert_string_equal(gcorn_test_client_url(client), rows[i].url);
        } else {
            assert_int_equal(t->status, 302);
        }
    }
    assert_string_equal(go("GET /?status=302+Found&to=https://localhost/s HTTP/1.1")->body,
                        "GET https localhost:443 /s|||");
}

/* ---- answers that wait -------------------------------------------------------------------- */

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    if (gcorn_now() < *(uint64_t *)state)
        return GCORN_AGAIN;
    *(uint64_t *)state = UINT64_MAX;
    *chunk = "late";
    return 4;
}

static unsigned closed;

static void on_close(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    closed++;
}

/* Sets its cookie, and sends its head, after a second. */
static struct gcorn_body *late(struct gcorn_environ *env,
                               struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Set-Cookie", "late=1; Path=/"}, {NULL, NULL}};
    uint64_t *when = (uint64_t *)gcorn_alloc(env, sizeof(*when));

    if (strcmp(gcorn_get(env, "PATH_INFO"), "/late") != 0)
        return app(env, start_response);
    *when = gcorn_now() + 1000;
    gcorn_wake_at(env, *when);
    gcorn_start(start_response, "200 OK", headers);
    return gcorn_body_iter(env, next, on_close, when);
}

static void test_late_head_sets_cookies_too(void **state)
{
    const struct gcorn_test *t;

    (void)state;
    client = gcorn_test_client_new(late, NULL);
    t = gcorn_test_client_request(client, "GET /late HTTP/1.1", NULL, 0);
    assert_true(t->waits);
    assert_null(gcorn_test_client_cookie(client, "/", "late"));
    gcorn_test_advance(1000);
    assert_string_equal(t->body, "late");
    expect_cookies("/", "late=1");
}

static void test_next_request_closes_the_answer_before(void **state)
{
    struct gcorn_test *t, *taken;

    (void)state;
    client = gcorn_test_client_new(late, NULL);
    assert_null(gcorn_test_client_take(client));
    assert_null(gcorn_test_client_url(client));
    closed = 0;
    (void)gcorn_test_client_request(client, "GET /late HTTP/1.1", NULL, 0);
    t = gcorn_test_client_request(client, "GET /late HTTP/1.1", NULL, 0);
    assert_int_equal(closed, 1);
    gcorn_test_close(t); /* a client may leave early */
    assert_int_equal(closed, 2);
    assert_null(gcorn_test_client_take(client));
    (void)gcorn_test_client_request(client, "GET /late HTTP/1.1", NULL, 0);
    taken = gcorn_test_client_take(client);
    expect_cookies("/", "");
    assert_int_equal(closed, 2);
    gcorn_test_advance(1000);
    assert_string_equal(taken->body, "late");
    gcorn_test_close(taken);
    assert_int_equal(closed, 3);
}

static void test_open_request_has_the_clients_fields(void **state)
{
    struct gcorn_test *t;

    (void)state;
    begin("https://shop.example");
    gcorn_test_client_set_cookie(client, "a=1");
    gcorn_test_client_field(client, "Content-Type", "text/plain");
    t = gcorn_test_client_open(client, "PUT /?set=b=2 HTTP/1.1\nContent-Length: 5");
    assert_int_equal(t->status, 0);
    gcorn_test_send(t, "he", 2);
    assert_int_equal(t->status, 0);
    gcorn_test_send(t, "llo", 3);
    assert_string_equal(t->body, "PUT https shop.example:443 /?set=b=2|a=1|text/plain|hello");
    expect_cookies("/", "a=1; b=2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_base_gives_scheme_host_and_port, end),
        cmocka_unit_test_teardown(test_base_that_is_no_url_is_refused, end),
        cmocka_unit_test_teardown(test_default_fields_give_way_to_the_heads_own, end),
        cmocka_unit_test_teardown(test_malformed_heads_reach_the_server, end),
        cmocka_unit_test_teardown(test_cookies_go_along_until_they_are_removed, end),
        cmocka_unit_test_teardown(test_set_cookie_is_read_as_browsers_do, end),
        cmocka_unit_test_teardown(test_longest_path_is_sent_first, end),
        cmocka_unit_test_teardown(test_cookies_end_by_the_tests_clock, end),
        cmocka_unit_test_teardown(test_dates_are_read_in_many_forms, end),
        cmocka_unit_test_teardown(test_secure_cookies_go_by_https_alone, end),
        cmocka_unit_test_teardown(test_domain_widens_a_cookie_to_subdomains, end),
        cmocka_unit_test_teardown(test_clients_have_cookies_of_their_own, end),
        cmocka_unit_test_teardown(test_redirections_are_followed_on_request, end),
        cmocka_unit_test_teardown(test_redirection_changes_the_method, end),
        cmocka_unit_test_teardown(test_location_is_resolved_against_the_request, end),
        cmocka_unit_test_teardown(test_open_request_has_the_clients_fields, end),
        cmocka_unit_test_teardown(test_late_head_sets_cookies_too, end),
        cmocka_unit_test_teardown(test_next_request_closes_the_answer_before, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
