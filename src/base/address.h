/* SPDX-License-Identifier: MIT
 *
 * address - IP addresses and networks as numbers: parsed, formatted, and looked up in lists of
 * networks. No sockets.
 */
#ifndef GCORN_BASE_ADDRESS_H
#define GCORN_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum { ADDRESS_TEXT_SIZE = 46 }; /* INET6_ADDRSTRLEN */

/* IPv6 in network order; an IPv4 address is mapped to ::ffff:a.b.c.d, so that a client has the same
 * address on IPv4 and IPv6 sockets. */
struct address {
    unsigned char bytes[16];
};

/* All addresses with the same first `bits` bits. */
struct network {
    struct address address;
    unsigned bits;
};

struct networks {
    bool all; /* one of the texts was "*" */
    size_t count;
    struct network *items;
};

void address_from_v4(struct address *a, const void *four_bytes);

/* Parses len bytes: 192.0.2.1 or 2001:db8::1. Returns 0, or -1 for another text. */
int address_parse(struct address *a, const char *text, size_t len);

/* Writes the shortest form; a mapped IPv4 address as IPv4. */
void address_format(const struct address *a, char text[ADDRESS_TEXT_SIZE]);

/* Parses an address, or a network in CIDR notation with no bit set after its prefix. Returns 0, or
 * -1 and in *wanted, static, what the text must be: "must be WANTED, not TEXT". */
int network_parse(struct network *n, const char *text, const char **wanted);

/* Makes a list of texts that network_parse accepts, or "*". To be released. */
void networks_init(struct networks *n, const char *const *texts, size_t count);
void networks_release(struct networks *n);
bool networks_have(const struct networks *n, const struct address *a);

#endif
