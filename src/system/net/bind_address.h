/* SPDX-License-Identifier: MIT
 *
 * bind_address - the text of a `bind` setting, parsed (listener.h has its forms), and whether two
 * of them exclude each other. Nothing here opens a listening socket or resolves a name. system/net/
 * is listening sockets.
 */
#ifndef GCORN_SYSTEM_NET_BIND_ADDRESS_H
#define GCORN_SYSTEM_NET_BIND_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

struct error;

enum bind_kind { BIND_TCP, BIND_UNIX, BIND_ABSTRACT, BIND_FD };

struct bind_address {
    enum bind_kind kind;
    char host[256]; /* TCP: an address in its canonical form, or a name in lower case */
    char port[6];
    const char *path; /* unix: points into the text, with the @ of an abstract one */
    int fd;           /* fd:// */
};

/* Parses text, which a keeps pointing into. Returns 0, or -1 with err (EXIT_USAGE). */
int bind_parse(struct bind_address *a, const char *text, struct error *err);

/* The socket address of a TCP address. Returns false if its host is a name or has a scope, which
 * the resolver must read. */
bool bind_literal(const struct bind_address *a, struct sockaddr_storage *ss, socklen_t *len);

/* Are they the same, as far as can be told without resolving names? */
bool bind_same(const struct bind_address *a, const struct bind_address *b);

/* Would two sockets with these addresses accept the same connections, so that only one of them can
 * listen? v6_only: a socket at all IPv6 addresses does not accept IPv4 connections. */
bool bind_addresses_overlap(const struct sockaddr_storage *a, const struct sockaddr_storage *b,
                            bool v6_only);

/* The same for two of these texts; false unless both are numeric TCP addresses. */
bool bind_texts_overlap(const char *text, const char *other, const char *const *texts,
                        size_t count);

/* Is text [::], with any port? */
bool bind_is_any6(const char *text);

/* Does the socket accept no IPv4 connections (IPV6_V6ONLY)? So it is if 0.0.0.0 with the same port
 * is one of these texts, or by the system's default. */
bool bind_is_v6_only(const char *text, const char *const *texts, size_t count);

#endif
