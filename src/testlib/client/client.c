/* SPDX-License-Identifier: MIT
 *
 * A client of several requests (gcorn_test.h): what it adds to a head, what it keeps of an answer,
 * and where it follows.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "testlib/client/cookies.h"
#include "testlib/client/url.h"
#include "testlib/request.h"
#include "testlib/state.h"

struct default_field {
    struct default_field *next;
    char *name;
    char *value;
};

struct gcorn_test_client {
    gcorn_app *app;
    char *base_url; /* of `base`, without a path */
    struct origin base;
    struct cookies cookies;
    struct default_field *fields; /* in the order in which they were first set */
    unsigned redirects_max;
    struct gcorn_test *last; /* NULL: none, or it was closed or taken */
    bool is_read;            /* the cookies of the last answer are kept */
    char *url;               /* of the last request; NULL: there was none */
};

/* A request on its way, which a redirection may change. */
struct outgoing {
    struct origin to;
    struct strbuf method;
    struct strbuf target;
    struct strbuf version;
    const char *fields; /* the lines after the first one, as the test has them */
    const void *body;
    size_t len;
    bool has_lost_body; /* and the fields that tell of it */
    bool is_open;       /* its body is to follow */
};

/* ---- cookies ------------------------------------------------------------------------------ */

static struct cookies_request cookies_request(const struct origin *origin, const char *target)
{
    return (struct cookies_request){.host = origin->host,
                                    .target = target,
                                    .is_secure = origin->is_https,
                                    .now_ms = testlib_wall_ms()};
}

/* Keeps the cookies of the last answer, once its head has come. */
static void read_cookies(struct gcorn_test_client *client)
{
    struct origin origin = {.host = NULL};

    if (client->is_read || !client->last || client->last->status == 0)
        return;
    client->is_read = true;
    (void)origin_parse(&origin, client->url); /* the client has made it */
    struct cookies_request from = cookies_request(&origin, url_target(client->url));
    for (const struct gcorn_header *h = client->last->headers; h->name; h++) {
        if (ascii_same(h->name, "Set-Cookie"))
            cookies_set(&client->cookies, &from, h->value);
    }
    origin_release(&origin);
}

const char *gcorn_test_client_cookie(struct gcorn_test_client *client, const char *path,
                                     const char *name)
{
    read_cookies(client);
    struct cookies_request to = cookies_request(&client->base, path);
    return cookies_value(&client->cookies, &to, name);
}

void gcorn_test_client_set_cookie(struct gcorn_test_client *client, const char *set_cookie)
{
    read_cookies(client);
    struct cookies_request from = cookies_request(&client->base, "/");
    cookies_set(&client->cookies, &from, set_cookie);
}

/* ---- life ------------------------------------------------------------------------------- */

int gcorn_test_client_base(struct gcorn_test_client *client, const char *url)
{
    struct origin base = {.host = NULL};

    read_cookies(client);
    if (origin_parse(&base, url) < 0)
        return -1;
    origin_release(&client->base);
    free(client->base_url);
    client->base = base;
    client->base_url = xasprintf("%s://%s", base.is_https ? "https" : "http", base.authority);
    return 0;
}

struct gcorn_test_client *gcorn_test_client_new(gcorn_app *app, const char *base_url)
{
    struct gcorn_test_client *client = xcalloc(1, sizeof(*client));

    testlib_init();
    client->app = app;
    if (gcorn_test_client_base(client, base_url ? base_url : "http://localhost") == 0)
        return client;
    free(client);
    return NULL;
}

static void free_default(struct default_field *f)
{
    free(f->name);
    free(f->value);
    free(f);
}

void gcorn_test_client_free(struct gcorn_test_client *client)
{
    if (!client)
        return;
    gcorn_test_close(client->last);
    cookies_release(&client->cookies);
    for (struct default_field *f; (f = client->fields); free_default(f))
        client->fields = f->next;
    origin_release(&client->base);
    free(client->base_url);
    free(client->url);
    free(client);
}

/* ---- settings --------------------------------------------------------------------------- */

void gcorn_test_client_field(struct gcorn_test_client *client, const char *name, const char *value)
{
    struct default_field **at = &client->fields, *old;

    while (*at && !ascii_same((*at)->name, name))
        at = &(*at)->next;
    old = *at;
    if (value) {
        struct default_field *f = xcalloc(1, sizeof(*f));

        *f = (struct default_field){old ? old->next : NULL, xstrdup(name), xstrdup(value)};
        *at = f;
    } else if (old) {
        *at = old->next;
    }
    if (old)
        free_default(old);
}

void gcorn_test_client_follow(struct gcorn_test_client *client, unsigned redirects_max)
{
    client->redirects_max = redirects_max;
}

const char *gcorn_test_client_url(const struct gcorn_test_client *client)
{
    return client->url;
}

/* ---- heads -------------------------------------------------------------------------------- */

/* The next line of *at, without its end, and its length; NULL: there is none. */
static const char *next_line(const char **at, size_t *len)
{
    const char *line = *at;

    if (*line == '\0')
        return NULL;
    *len = strcspn(line, "\r\n");
    *at = line + *len;
    *at += **at == '\r';
    *at += **at == '\n';
    return line;
}

static bool line_has_name(const char *line, size_t len, const char *name)
{
    size_t name_len = strlen(name);

    return len > name_len && line[name_len] == ':' && ascii_same_n(line, name, name_len);
}

static bool has_field(const char *fields, const char *name)
{
    size_t len;

    for (const char *line; (line = next_line(&fields, &len));) {
        if (line_has_name(line, len, name))
            return true;
    }
    return false;
}

static bool tells_of_body(const char *line, size_t len)
{
    return (len > 8 && ascii_same_n(line, "Content-", 8)) || line_has_name(line, len, "Expect") ||
           line_has_name(line, len, "Transfer-Encoding") || line_has_name(line, len, "Trailer");
}

static void add_own_fields(struct strbuf *head, const struct outgoing *out)
{
    const char *fields = out->fields;
    size_t len;

    for (const char *line; (line = next_line(&fields, &len));) {
        if (!out->has_lost_body || !tells_of_body(line, len))
            strbuf_addf(head, "\n%.*s", (int)len, line);
    }
}

static void add_default_fields(struct strbuf *head, const struct gcorn_test_client *client,
                               const struct outgoing *out)
{
    for (const struct default_field *f = client->fields; f; f = f->next) {
        bool is_lost = out->len == 0 && !out->is_open && tells_of_body(f->name, strlen(f->name));

        if (!is_lost && !has_field(out->fields, f->name))
            strbuf_addf(head, "\n%s: %s", f->name, f->value);
    }
}

static bool is_default(const struct gcorn_test_client *client, const char *name)
{
    const struct default_field *f = client->fields;

    while (f && !ascii_same(f->name, name))
        f = f->next;
    return f != NULL;
}

static void add_cookies(struct strbuf *head, const struct gcorn_test_client *client,
                        const struct outgoing *out)
{
    struct cookies_request to = cookies_request(&out->to, out->target.data);
    struct strbuf value = {0};

    cookies_add_field(&client->cookies, &to, &value);
    if (value.len > 0 && !has_field(out->fields, "Cookie") && !is_default(client, "Cookie"))
        strbuf_addf(head, "\nCookie: %s", value.data);
    strbuf_release(&value);
}

static void make_head(struct strbuf *head, const struct gcorn_test_client *client,
                      const struct outgoing *out)
{
    strbuf_addf(head, "%s %s%s%s", out->method.data, out->target.data,
                out->version.len > 0 ? " " : "", out->version.data);
    add_own_fields(head, out);
    add_default_fields(head, client, out);
    if (!has_field(out->fields, "Host") && !is_default(client, "Host"))
        strbuf_addf(head, "\nHost: %s", out->to.authority);
    add_cookies(head, client, out);
}

/* ---- requests ----------------------------------------------------------------------------- */

static struct gcorn_test *run(const struct gcorn_test_client *client, const struct outgoing *out,
                              const char *head)
{
    bool is_https = out->to.is_https;

    if (out->is_open)
        return request_open(client->app, is_https, out->to.port, head);
    return request_run(client->app, is_https, out->to.port, head, out->body, out->len);
}

/* Closes the answer before, and runs the request. */
static void send_request(struct gcorn_test_client *client, const struct outgoing *out)
{
    struct strbuf head = {0};
    bool is_path = out->target.data[0] == '/';

    gcorn_test_close(client->last);
    make_head(&head, client, out);
    free(client->url);
    client->url = xasprintf("%s://%s%s", out->to.is_https ? "https" : "http", out->to.authority,
                            is_path ? out->target.data : "/");
    client->is_read = false;
    request_set_keeper(run(client, out, head.data), &client->last);
    strbuf_release(&head);
    read_cookies(client);
}

static void replace(struct strbuf *text, const char *with)
{
    strbuf_reset(text);
    strbuf_addstr(text, with);
}

/* RFC 9110 15.4: as browsers do. */
static void change_method(struct outgoing *out, int status)
{
    bool is_get = ascii_same(out->method.data, "GET") || ascii_same(out->method.data, "HEAD");
    bool is_post = strcmp(out->method.data, "POST") == 0;

    if ((status == 303 && !is_get) || ((status == 301 || status == 302) && is_post)) {
        replace(&out->method, "GET");
        out->body = NULL;
        out->len = 0;
        out->has_lost_body = true;
    }
}

/* Where the answer leads; NULL: it is not a redirection to follow. The caller frees it. */
static char *redirected_to(const struct gcorn_test_client *client)
{
    const struct gcorn_test *t = client->last;
    const char *location = t->complete ? gcorn_headers_get(t->headers, "Location") : NULL;
    bool redirects = t->status == 301 || t->status == 302 || t->status == 303 || t->status == 307 ||
                     t->status == 308;

    return redirects && location ? url_resolve(client->url, location) : NULL;
}

/* Makes the request that follows the last answer. False: there is none, or it goes to another
 * host. */
static bool follow(const struct gcorn_test_client *client, struct outgoing *out)
{
    char *url = redirected_to(client);
    struct origin to = {.host = NULL};

    if (!url || origin_parse(&to, url) < 0 || strcmp(to.host, out->to.host) != 0) {
        origin_release(&to);
        free(url);
        return false;
    }
    origin_release(&out->to);
    out->to = to;
    replace(&out->target, url_target(url));
    change_method(out, client->last->status);
    free(url);
    return true;
}

/* Moves what stands before any of the characters in `ends` from *at to the text. */
static void take_word(struct strbuf *word, const char **at, const char *ends)
{
    size_t len = strcspn(*at, ends);

    strbuf_add(word, *at, len);
    *at += len;
    *at += **at == ' ';
}

/* A request by what the test says of it. */
static void outgoing_init(struct outgoing *out, struct gcorn_test_client *client, const char *head)
{
    size_t rest_len;

    read_cookies(client);
    (void)origin_parse(&out->to, client->base_url);
    take_word(&out->method, &head, " \r\n");
    take_word(&out->target, &head, " \r\n");
    take_word(&out->version, &head, "\r\n");
    (void)next_line(&head, &rest_len);
    out->fields = head;
}

static void outgoing_release(struct outgoing *out)
{
    origin_release(&out->to);
    strbuf_release(&out->method);
    strbuf_release(&out->target);
    strbuf_release(&out->version);
}

struct gcorn_test *gcorn_test_client_request(struct gcorn_test_client *client, const char *head,
                                             const void *body, size_t len)
{
    struct outgoing out = {.body = body, .len = len};

    outgoing_init(&out, client, head);
    send_request(client, &out);
    for (unsigned left = client->redirects_max; left > 0 && follow(client, &out); left--)
        send_request(client, &out);
    outgoing_release(&out);
    return client->last;
}

struct gcorn_test *gcorn_test_client_open(struct gcorn_test_client *client, const char *head)
{
    struct outgoing out = {.is_open = true};

    outgoing_init(&out, client, head);
    send_request(client, &out);
    outgoing_release(&out);
    return client->last;
}

struct gcorn_test *gcorn_test_client_take(struct gcorn_test_client *client)
{
    struct gcorn_test *t = client->last;

    read_cookies(client);
    if (t)
        request_set_keeper(t, NULL);
    return t;
}
