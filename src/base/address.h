/* SPDX-License-Identifier: MIT
 *
 * address - IP addresses and networks as numbers: out of text, into text, and lists of networks to
 * look an address up in. No sockets.
 */
#ifndef GCORN_BASE_ADDRESS_H
#define GCORN_BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>

enum { ADDRESS_TEXT_SIZE = 46 }; /* INET6_ADDRSTRLEN */

/* IPv6 in network order; an IPv4 address is the IPv6 address ::ffff:a.b.c.d that maps it, so that
 * a client has one address whichever kind of socket it came through. */
struct address {
    unsigned char bytes[16];
};

/* Those whose first `bits` bits are the address's. */
struct network {
    struct address address;
    unsigned bits;
};

struct networks {
    bool all; /* "*" was among the texts */
    size_t count;
    struct network *items;
};

void address_from_v4(struct address *a, const void *four_bytes);

/* len bytes of text: 192.0.2.1 or 2001:db8::1. 0, or -1. */
int address_parse(struct address *a, const char *text, size_t len);

/* The shortest form; IPv4 as IPv4. */
void address_format(const struct address *a, char text[ADDRESS_TEXT_SIZE]);

/* An address, or a network in CIDR notation with no bit set behind its prefix. 0, or -1 and in
 * *wanted what it must be, to be followed by "not TEXT". */
int network_parse(struct network *n, const char *text, const char **wanted);

/* Of texts that network_parse takes, or "*". */
void networks_init(struct networks *n, const char *const *texts, size_t count);
void networks_release(struct networks *n);
bool networks_have(const struct networks *n, const struct address *a);

#endif
