/* SPDX-License-Identifier: MIT
 *
 * See cookies.h. Sections are those of RFC 6265.
 */
#include "testlib/client/cookies.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/ascii.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "testlib/client/cookie_date.h"

struct cookie {
    struct cookie *next;
    char *name;
    char *value;
    char *domain;
    char *path;
    int64_t expires_ms; /* INT64_MAX: it does not */
    bool is_host_only;  /* it goes to the host domain alone, not to those below it */
    bool is_secure;
};

/* A part of a Set-Cookie field without white space around it. */
struct part {
    const char *text;
    size_t len;
};

/* What a Set-Cookie field says. NULL texts: it does not say that. */
struct attributes {
    struct part domain, path;
    bool has_max_age;
    int64_t max_age_ends_ms, expires_ms; /* INT64_MAX: never */
    bool is_secure;
};

static void free_cookie(struct cookie *c)
{
    free(c->name);
    free(c->value);
    free(c->domain);
    free(c->path);
    free(c);
}

void cookies_release(struct cookies *c)
{
    for (struct cookie *one; (one = c->first); free_cookie(one))
        c->first = one->next;
}

/* ---- matching (5.1) ----------------------------------------------------------------------- */

static bool is_address(const char *host)
{
    const char *last = strrchr(host, '.');

    return host[0] == '[' ||
           (last && last[1] != '\0' && strspn(last + 1, "0123456789") == strlen(last + 1));
}

static bool domain_matches(const char *host, const char *domain)
{
    size_t len = strlen(host), domain_len = strlen(domain);

    if (len <= domain_len)
        return strcmp(host, domain) == 0;
    return !is_address(host) && host[len - domain_len - 1] == '.' &&
           strcmp(host + len - domain_len, domain) == 0;
}

static bool path_matches(const char *target, const char *path)
{
    size_t len = strcspn(target, "?"), path_len = strlen(path);

    if (len < path_len || memcmp(target, path, path_len) != 0)
        return false;
    return len == path_len || path[path_len - 1] == '/' || target[path_len] == '/';
}

static bool goes_with(const struct cookie *c, const struct cookies_request *to)
{
    bool is_hosts =
        c->is_host_only ? strcmp(to->host, c->domain) == 0 : domain_matches(to->host, c->domain);

    return is_hosts && path_matches(to->target, c->path) && (!c->is_secure || to->is_secure) &&
           c->expires_ms > to->now_ms;
}

/* ---- what a field says (5.2) -------------------------------------------------------------- */

static struct part trim(const char *text, size_t len)
{
    while (len > 0 && (*text == ' ' || *text == '\t')) {
        text++;
        len--;
    }
    while (len > 0 && (text[len - 1] == ' ' || text[len - 1] == '\t'))
        len--;
    return (struct part){text, len};
}

static bool is_name(const struct part *p, const char *name)
{
    return p->len == strlen(name) && ascii_same_n(p->text, name, p->len);
}

static void read_max_age(struct attributes *a, const struct part *value, int64_t now_ms)
{
    int64_t seconds = 0;

    for (size_t i = 0; i < value->len; i++) {
        if (!ascii_is_digit(value->text[i]) && !(i == 0 && value->text[i] == '-'))
            return;
        if (seconds < INT64_MAX / 10000 && value->text[i] != '-')
            seconds = seconds * 10 + (value->text[i] - '0');
    }
    if (value->len == 0)
        return;
    a->has_max_age = true;
    a->max_age_ends_ms = INT64_MIN;
    if (value->text[0] != '-' && seconds > 0)
        a->max_age_ends_ms = seconds < INT64_MAX / 2000 ? now_ms + seconds * 1000 : INT64_MAX;
}

static void read_attribute(struct attributes *a, const char *text, size_t len, int64_t now_ms)
{
    const char *equals = memchr(text, '=', len);
    size_t name_len = equals ? (size_t)(equals - text) : len;
    struct part name = trim(text, name_len);
    struct part value = equals ? trim(equals + 1, len - name_len - 1) : (struct part){"", 0};
    int64_t unix_s;

    if (is_name(&name, "Expires") && cookie_date_parse(value.text, value.len, &unix_s) == 0) {
        a->expires_ms = unix_s * 1000;
    } else if (is_name(&name, "Max-Age")) {
        read_max_age(a, &value, now_ms);
    } else if (is_name(&name, "Domain") && value.len > 0) {
        size_t dot = value.text[0] == '.';
        a->domain = (struct part){value.text + dot, value.len - dot};
    } else if (is_name(&name, "Path")) {
        a->path = value.len > 0 && value.text[0] == '/' ? value : (struct part){NULL, 0};
    } else if (is_name(&name, "Secure")) {
        a->is_secure = true;
    }
}

static char *copy_lower(const struct part *p)
{
    char *copy = xstrndup(p->text, p->len);

    for (char *c = copy; *c != '\0'; c++)
        *c = ascii_lower(*c);
    return copy;
}

/* The folder of the request (5.1.4). */
static char *default_path(const char *target)
{
    size_t len = target[0] == '/' ? strcspn(target, "?") : 0;

    while (len > 0 && target[len - 1] != '/')
        len--;
    return len > 1 ? xstrndup(target, len - 1) : xstrdup("/");
}

/* ---- keeping (5.3) ------------------------------------------------------------------------ */

/* May the host set a cookie for this domain? Then the cookie has it. A domain of one label is for a
 * host of that name alone: nearly all of them are public suffixes. */
static bool take_domain(struct cookie *c, const struct attributes *a, const char *host)
{
    c->is_host_only = a->domain.len == 0;
    c->domain = c->is_host_only ? xstrdup(host) : copy_lower(&a->domain);
    if (c->is_host_only || domain_matches(host, c->domain)) {
        if (strchr(c->domain, '.'))
            return true;
        c->is_host_only = true;
        return strcmp(c->domain, host) == 0;
    }
    return false;
}

/* Section 4.1.3 of RFC 6265's successor: a promise to who reads only the name. */
static bool keeps_promise(const struct cookie *c, const struct attributes *a, bool is_secure)
{
    bool is_host = strncmp(c->name, "__Host-", 7) == 0;

    if (!is_host && strncmp(c->name, "__Secure-", 9) != 0)
        return true;
    return c->is_secure && is_secure &&
           (!is_host || (a->domain.len == 0 && a->path.len == 1 && strcmp(c->path, "/") == 0));
}

static bool is_same(const struct cookie *a, const struct cookie *b)
{
    return strcmp(a->name, b->name) == 0 && strcmp(a->domain, b->domain) == 0 &&
           strcmp(a->path, b->path) == 0;
}

/* In the place of the same cookie, if there is one: it keeps the time when it was made. */
static void keep(struct cookies *jar, struct cookie *c, int64_t now_ms)
{
    struct cookie **at = &jar->first, *old;

    while (*at && !is_same(*at, c))
        at = &(*at)->next;
    old = *at;
    if (c->expires_ms <= now_ms) {
        *at = old ? old->next : NULL;
        free_cookie(c);
    } else {
        c->next = old ? old->next : NULL;
        *at = c;
    }
    if (old)
        free_cookie(old);
}

static struct attributes read_attributes(const char *text, int64_t now_ms)
{
    struct attributes a = {.expires_ms = INT64_MAX};

    while (*text == ';') {
        size_t len = strcspn(++text, ";");

        read_attribute(&a, text, len, now_ms);
        text += len;
    }
    return a;
}

void cookies_set(struct cookies *jar, const struct cookies_request *from, const char *set_cookie)
{
    size_t len = strcspn(set_cookie, ";");
    const char *equals = memchr(set_cookie, '=', len);
    struct part name = trim(set_cookie, equals ? (size_t)(equals - set_cookie) : 0);

    if (name.len == 0)
        return;
    struct part value = trim(equals + 1, len - (size_t)(equals + 1 - set_cookie));
    struct attributes a = read_attributes(set_cookie + len, from->now_ms);
    struct cookie *c = xcalloc(1, sizeof(*c));
    c->name = xstrndup(name.text, name.len);
    c->value = xstrndup(value.text, value.len);
    c->path = a.path.text ? xstrndup(a.path.text, a.path.len) : default_path(from->target);
    c->expires_ms = a.has_max_age ? a.max_age_ends_ms : a.expires_ms;
    c->is_secure = a.is_secure;
    if (take_domain(c, &a, from->host) && keeps_promise(c, &a, from->is_secure))
        keep(jar, c, from->now_ms);
    else
        free_cookie(c);
}

/* ---- sending (5.4) ------------------------------------------------------------------------ */

/* The cookie that a request sends after `last`: longest path first, then as they were made. NULL:
 * that was the last one. */
static const struct cookie *next_of(const struct cookies *jar, const struct cookies_request *to,
                                    const struct cookie *last)
{
    const struct cookie *best = NULL;
    size_t last_len = last ? strlen(last->path) : SIZE_MAX;
    bool is_after = last == NULL;

    for (const struct cookie *c = jar->first; c; c = c->next) {
        size_t len = strlen(c->path);
        bool is_later = len < last_len || (len == last_len && is_after);

        if (is_later && goes_with(c, to) && (!best || len > strlen(best->path)))
            best = c;
        is_after = is_after || c == last;
    }
    return best;
}

void cookies_add_field(const struct cookies *jar, const struct cookies_request *to,
                       struct strbuf *out)
{
    const char *between = "";

    for (const struct cookie *c = NULL; (c = next_of(jar, to, c)); between = "; ")
        strbuf_addf(out, "%s%s=%s", between, c->name, c->value);
}

const char *cookies_value(const struct cookies *jar, const struct cookies_request *to,
                          const char *name)
{
    const struct cookie *c = next_of(jar, to, NULL);

    while (c && strcmp(c->name, name) != 0)
        c = next_of(jar, to, c);
    return c ? c->value : NULL;
}
