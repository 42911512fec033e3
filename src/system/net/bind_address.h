/* SPDX-License-Identifier: MIT
 *
 * bind - the text of one `bind` setting, parsed (listener.h has its forms), and several of them
 * held against each other: of two sockets of one server each must be able to have its address.
 * Nothing here opens a listening socket or resolves a name.
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
    char host[256]; /* TCP: a literal in its canonical form, or a name in lower case */
    char port[6];
    const char *path; /* unix: points into the text; of an abstract one with its @ */
    int fd;           /* fd:// */
};

/* 0, or -1 with err (EXIT_USAGE). */
int bind_parse(struct bind_address *a, const char *text, struct error *err);

/* Of a TCP address; false: its host is a name, or has a scope, which the resolver must read. */
bool bind_literal(const struct bind_address *a, struct sockaddr_storage *ss, socklen_t *len);

/* Are they the same, as far as their words tell? */
bool bind_same(const struct bind_address *a, const struct bind_address *b);

/* Would two sockets with these addresses take the same connections, so that only one of them can
 * listen? v6_only: the one that listens at all IPv6 addresses leaves those of IPv4 alone. */
bool bind_addresses_overlap(const struct sockaddr_storage *a, const struct sockaddr_storage *b,
                            bool v6_only);

/* The same of two texts that stand among these; false of what is no literal TCP address. */
bool bind_texts_overlap(const char *text, const char *other, const char *const *texts,
                        size_t count);

/* Is text [::], with any port? */
bool bind_is_any6(const char *text);

/* Does it leave IPv4 connections alone (IPV6_V6ONLY)? Because 0.0.0.0 with its port is among these
 * texts, or by the system's default. */
bool bind_is_v6_only(const char *text, const char *const *texts, size_t count);

#endif
