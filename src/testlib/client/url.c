/* SPDX-License-Identifier: MIT
 *
 * See url.h. The names are those of RFC 3986.
 */
#include "testlib/client/url.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"

struct piece {
    const char *text; /* NULL: the URL has no such component */
    size_t len;
};

struct parts {
    struct piece scheme, authority, path, query;
};

static bool is_in_scheme(char c)
{
    char lower = ascii_lower(c);

    return (lower >= 'a' && lower <= 'z') || ascii_is_digit(c) || c == '+' || c == '-' || c == '.';
}

static struct piece take(const char **at, size_t len)
{
    struct piece piece = {*at, len};

    *at += len;
    return piece;
}

static struct parts split(const char *url)
{
    struct parts parts = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    size_t scheme_len = 0;

    while (is_in_scheme(url[scheme_len]))
        scheme_len++;
    if (url[scheme_len] == ':' && scheme_len > 0 && !ascii_is_digit(url[0])) {
        parts.scheme = take(&url, scheme_len);
        url++;
    }
    if (strncmp(url, "//", 2) == 0) {
        url += 2;
        parts.authority = take(&url, strcspn(url, "/?#"));
    }
    parts.path = take(&url, strcspn(url, "?#"));
    if (*url == '?') {
        url++;
        parts.query = take(&url, strcspn(url, "#"));
    }
    return parts;
}

/* ---- origins ------------------------------------------------------------------------------ */

static bool is_scheme(const struct piece *scheme, const char *name)
{
    return scheme->text && scheme->len == strlen(name) &&
           ascii_same_n(scheme->text, name, scheme->len);
}

static bool is_port(const char *text, size_t len)
{
    unsigned long port = 0;

    for (size_t i = 0; i < len; i++) {
        if (!ascii_is_digit(text[i]) || i == 5)
            return false;
        port = port * 10 + (unsigned long)(text[i] - '0');
    }
    return port > 0 && port < 65536;
}

static size_t host_len(const struct piece *authority)
{
    const char *from = authority->text;
    const char *bracket = from[0] == '[' ? memchr(from, ']', authority->len) : NULL;
    const char *start = bracket ? bracket : from;
    const char *colon = memchr(start, ':', authority->len - (size_t)(start - from));

    return colon ? (size_t)(colon - from) : authority->len;
}

static char *lower(const char *text, size_t len)
{
    char *copy = xmalloc(len + 1);

    for (size_t i = 0; i < len; i++)
        copy[i] = ascii_lower(text[i]);
    copy[len] = '\0';
    return copy;
}

int origin_parse(struct origin *o, const char *url)
{
    struct parts parts = split(url);
    const struct piece *authority = &parts.authority;
    bool is_https = is_scheme(&parts.scheme, "https");

    if ((!is_https && !is_scheme(&parts.scheme, "http")) || !authority->text ||
        memchr(authority->text, '@', authority->len)) {
        errno = EINVAL;
        return -1;
    }
    const char *own_port = is_https ? "443" : "80";
    size_t len = host_len(authority);
    const char *port = authority->text + len + 1;
    size_t port_len = len < authority->len ? authority->len - len - 1 : 0;
    if (len == 0 || (port_len > 0 && !is_port(port, port_len))) {
        errno = EINVAL;
        return -1;
    }
    o->is_https = is_https;
    o->host = lower(authority->text, len);
    o->port = port_len > 0 ? lower(port, port_len) : xstrdup(own_port);
    o->authority =
        strcmp(o->port, own_port) == 0 ? xstrdup(o->host) : xasprintf("%s:%s", o->host, o->port);
    return 0;
}

void origin_release(struct origin *o)
{
    free(o->host);
    free(o->port);
    free(o->authority);
    *o = (struct origin){.is_https = false};
}

const char *url_target(const char *url)
{
    struct parts parts = split(url);

    return parts.path.len > 0 ? parts.path.text : "/";
}

/* ---- references --------------------------------------------------------------------------- */

static void remove_last_segment(struct strbuf *path, size_t from)
{
    while (path->len > from && path->data[path->len - 1] != '/')
        path->len--;
    if (path->len > from)
        path->len--;
}

/* Appends a path that begins with '/', without its "." and ".." (5.2.4). */
static void add_path(struct strbuf *out, const char *path, size_t len)
{
    size_t from = out->len;
    const char *end = path + len;

    while (path < end) {
        const char *next = memchr(path + 1, '/', (size_t)(end - path - 1));
        size_t segment_len = (size_t)((next ? next : end) - path);
        bool is_up = segment_len == 3 && memcmp(path, "/..", 3) == 0;

        if (is_up)
            remove_last_segment(out, from);
        if (!is_up && !(segment_len == 2 && path[1] == '.'))
            strbuf_add(out, path, segment_len);
        else if (!next)
            strbuf_addch(out, '/');
        path += segment_len;
    }
    if (out->len == from)
        strbuf_addch(out, '/');
}

/* A path of a reference that does not begin with '/', after base's last '/' (5.2.3). */
static void add_relative(struct strbuf *out, const struct piece *base, const struct piece *path)
{
    struct strbuf merged = {0};
    size_t len = base->len;

    while (len > 0 && base->text[len - 1] != '/')
        len--;
    if (len > 0)
        strbuf_add(&merged, base->text, len);
    else
        strbuf_addch(&merged, '/');
    strbuf_add(&merged, path->text, path->len);
    add_path(out, merged.data, merged.len);
    strbuf_release(&merged);
}

static void add_target(struct strbuf *out, const struct parts *base, const struct parts *reference)
{
    bool is_own = reference->authority.text != NULL;
    const struct piece *path = &reference->path, *query = &reference->query;

    if (path->len == 0 && !is_own) {
        add_path(out, base->path.text, base->path.len);
        query = query->text ? query : &base->query;
    } else if (path->len == 0 || path->text[0] == '/') {
        add_path(out, path->text, path->len);
    } else {
        add_relative(out, &base->path, path);
    }
    if (query->text) {
        strbuf_addch(out, '?');
        strbuf_add(out, query->text, query->len);
    }
}

char *url_resolve(const char *base, const char *reference)
{
    const struct parts from = split(base), to = split(reference);
    const struct piece *scheme = to.scheme.text ? &to.scheme : &from.scheme;
    const struct piece *authority =
        to.authority.text || to.scheme.text ? &to.authority : &from.authority;
    struct strbuf out = {0};

    strbuf_add(&out, scheme->text, scheme->len);
    strbuf_addch(&out, ':');
    if (authority->text) {
        strbuf_addstr(&out, "//");
        strbuf_add(&out, authority->text, authority->len);
    }
    add_target(&out, &from, &to);
    return strbuf_detach(&out);
}
