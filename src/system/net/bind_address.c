/* SPDX-License-Identifier: MIT
 *
 * See bind_address.h.
 */
#include "system/net/bind_address.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error.h"
#include "base/util.h"

enum { DEFAULT_PORT = 8000, FIRST_PASSED_FD = 3 };

static int malformed(struct error *err, const char *text, const char *why)
{
    return error_set(err, EXIT_USAGE, "bind: '%s' %s", text, why);
}

static int parse_unix(struct bind_address *a, const char *text, struct error *err)
{
    size_t path_max = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1;

    a->kind = BIND_UNIX;
    a->path = text + strlen("unix:");
    if (strncmp(a->path, "//", 2) == 0) /* gunicorn takes unix://PATH as well */
        a->path += 2;
    if (a->path[0] == '@')
        a->kind = BIND_ABSTRACT;
    if (a->path[a->kind == BIND_ABSTRACT] == '\0')
        return malformed(err, text, "has no path");
    if (strlen(a->path) > path_max)
        return error_set(err, EXIT_USAGE,
                         "bind: the path of '%s' has %zu bytes, and the system takes at most %zu",
                         text, strlen(a->path), path_max);
    return 0;
}

static int parse_fd(struct bind_address *a, const char *text, struct error *err)
{
    int64_t fd;

    a->kind = BIND_FD;
    if (parse_int(text + strlen("fd://"), FIRST_PASSED_FD, INT32_MAX, &fd) < 0)
        return malformed(
            err, text,
            "must be fd://N with a number from 3, or fd://NAME of a socket that is passed");
    a->fd = (int)fd;
    return 0;
}

static int parse_port(struct bind_address *a, const char *text, const char *port, struct error *err)
{
    int64_t n = DEFAULT_PORT;

    if (port && parse_int(port, 0, UINT16_MAX, &n) < 0)
        return malformed(err, text, "has no valid port: 0 to 65535");
    (void)snprintf(a->port, sizeof(a->port), "%u", (unsigned)n);
    return 0;
}

/* The part in brackets, in one spelling, so that addresses compare as text. A scope (fe80::1%eth0)
 * stays. */
static int parse_host6(struct bind_address *a, const char *text, struct error *err)
{
    struct in6_addr addr;
    char plain[sizeof(a->host)];

    (void)snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(a->host, "%"), a->host);
    if (inet_pton(AF_INET6, plain, &addr) != 1)
        return malformed(err, text, "has no IPv6 address in its brackets");
    if (strlen(plain) == strlen(a->host))
        (void)inet_ntop(AF_INET6, &addr, a->host, sizeof(a->host)); /* cannot fail: valid, fits */
    return 0;
}

static int parse_host(struct bind_address *a, const char *text, bool has_port, struct error *err)
{
    if (a->host[0] == '\0') {
        if (!has_port)
            return malformed(err, text, "is empty");
        (void)snprintf(a->host, sizeof(a->host), "0.0.0.0");
    }
    /* The resolver would read a number as an address, 8000 as 0.0.31.64. */
    if (!has_port && a->host[strspn(a->host, "0123456789")] == '\0')
        return malformed(err, text, "is not an address; a port alone needs a colon, ':8000'");
    for (char *c = a->host; *c != '\0'; c++)
        *c = (char)tolower((unsigned char)*c);
    return 0;
}

static int parse_tcp(struct bind_address *a, const char *text, struct error *err)
{
    const char *rest = strncmp(text, "tcp://", 6) == 0 ? text + 6 : text;
    bool bracketed = rest[0] == '[';
    const char *host = bracketed ? rest + 1 : rest;
    const char *host_end = bracketed ? strchr(host, ']') : strrchr(host, ':');
    const char *colon = host_end;

    if (rest[strcspn(rest, "/ \t\r\n")] != '\0')
        return malformed(err, text, "is not HOST:PORT, [IPV6]:PORT, unix:PATH or fd://N");
    if (bracketed) {
        if (!host_end || (host_end[1] != '\0' && host_end[1] != ':'))
            return malformed(err, text, "must be [IPV6]:PORT");
        colon = host_end[1] == ':' ? host_end + 1 : NULL;
    } else if (!host_end) {
        host_end = host + strlen(host);
    } else if (memchr(host, ':', (size_t)(host_end - host))) {
        return malformed(err, text, "must have its IPv6 address in brackets, as in [::1]:8000");
    }
    size_t host_len = (size_t)(host_end - host);
    if (host_len >= sizeof(a->host))
        return malformed(err, text, "has a host name that is too long");
    a->kind = BIND_TCP;
    memcpy(a->host, host, host_len);
    if (parse_port(a, text, colon ? colon + 1 : NULL, err) < 0)
        return -1;
    return bracketed ? parse_host6(a, text, err) : parse_host(a, text, colon != NULL, err);
}

int bind_parse(struct bind_address *a, const char *text, struct error *err)
{
    memset(a, 0, sizeof(*a));
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(a, text, err);
    if (strncmp(text, "fd://", 5) == 0)
        return parse_fd(a, text, err);
    return parse_tcp(a, text, err);
}

bool bind_literal(const struct bind_address *a, struct sockaddr_storage *ss, socklen_t *len)
{
    struct sockaddr_in *in4 = (struct sockaddr_in *)ss;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ss;
    in_port_t port = htons((uint16_t)atoi(a->port)); /* parse_port wrote it */

    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, a->host, &in4->sin_addr) == 1) {
        in4->sin_family = AF_INET;
        in4->sin_port = port;
        *len = sizeof(*in4);
        return true;
    }
    if (inet_pton(AF_INET6, a->host, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        in6->sin6_port = port;
        *len = sizeof(*in6);
        return true;
    }
    return false;
}

bool bind_same(const struct bind_address *a, const struct bind_address *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case BIND_UNIX:
    case BIND_ABSTRACT: return strcmp(a->path, b->path) == 0;
    case BIND_FD: return a->fd == b->fd;
    case BIND_TCP: break;
    }
    return strcmp(a->host, b->host) == 0 && strcmp(a->port, b->port) == 0;
}

/* ---- several addresses --------------------------------------------------------------- */

static bool is_any4(const struct sockaddr_storage *ss)
{
    return ss->ss_family == AF_INET &&
           ((const struct sockaddr_in *)ss)->sin_addr.s_addr == htonl(INADDR_ANY);
}

static bool is_any6(const struct sockaddr_storage *ss)
{
    return ss->ss_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)ss)->sin6_addr);
}

/* In network order, at the same offset in both families. */
static in_port_t port_of(const struct sockaddr_storage *ss)
{
    return ((const struct sockaddr_in *)ss)->sin_port;
}

/* A mapped IPv4 address (RFC 4291 2.5.5.2) as an IPv4 one; others unchanged. */
static struct sockaddr_storage unmapped(const struct sockaddr_storage *ss)
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)ss)->sin6_addr;
    struct sockaddr_storage plain = {0};
    struct sockaddr_in *in4 = (struct sockaddr_in *)&plain;

    if (ss->ss_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(v6))
        return *ss;
    in4->sin_family = AF_INET;
    in4->sin_port = port_of(ss);
    memcpy(&in4->sin_addr, v6->s6_addr + 12, sizeof(in4->sin_addr));
    return plain;
}

static bool overlap(const struct sockaddr_storage *a, const struct sockaddr_storage *b,
                    bool v6_only)
{
    if (port_of(a) != port_of(b) || port_of(a) == 0) /* port 0: the kernel chooses different ones */
        return false;
    if (a->ss_family != b->ss_family)
        return !v6_only && (is_any6(a) || is_any6(b));
    if (is_any4(a) || is_any4(b) || is_any6(a) || is_any6(b))
        return true;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&((const struct sockaddr_in6 *)a)->sin6_addr,
                              &((const struct sockaddr_in6 *)b)->sin6_addr);
}

bool bind_addresses_overlap(const struct sockaddr_storage *a, const struct sockaddr_storage *b,
                            bool v6_only)
{
    const struct sockaddr_storage plain_a = unmapped(a), plain_b = unmapped(b);

    return overlap(&plain_a, &plain_b, v6_only);
}

/* The numeric address in a text, a mapped IPv4 one as IPv4. Returns false if it has none. */
static bool address_of(const char *text, struct sockaddr_storage *ss)
{
    struct bind_address a;
    struct error ignored;
    socklen_t len;

    if (bind_parse(&a, text, &ignored) < 0 || a.kind != BIND_TCP || !bind_literal(&a, ss, &len))
        return false;
    *ss = unmapped(ss);
    return true;
}

bool bind_is_any6(const char *text)
{
    struct sockaddr_storage ss;

    return address_of(text, &ss) && is_any6(&ss);
}

static bool system_is_v6_only(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 0;
    socklen_t len = sizeof(on);

    if (fd >= 0)
        (void)getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len); /* failed: off */
    fd_close(&fd);
    return on != 0;
}

bool bind_is_v6_only(const char *text, const char *const *texts, size_t count)
{
    struct sockaddr_storage own, other;

    if (!address_of(text, &own) || !is_any6(&own))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (address_of(texts[i], &other) && is_any4(&other) && port_of(&other) == port_of(&own))
            return true;
    }
    return system_is_v6_only();
}

bool bind_texts_overlap(const char *text, const char *other, const char *const *texts, size_t count)
{
    struct sockaddr_storage a, b;

    return address_of(text, &a) && address_of(other, &b) &&
           bind_addresses_overlap(&a, &b,
                                  bind_is_v6_only(is_any6(&a) ? text : other, texts, count));
}
