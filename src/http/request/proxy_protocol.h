/* SPDX-License-Identifier: MIT
 *
 * proxy_protocol - the PROXY protocol, versions 1 and 2: the preface in which a proxy that passes bytes on
 * unread (HAProxy, a cloud's load balancer) names the client, once, before the connection's first
 * request. Bytes come in pieces of any size, and the outcome does not depend on how they were cut.
 *
 * Whether the peer may send one at all is for the caller to know.
 */
#ifndef GCORN_HTTP_REQUEST_PROXY_PROTOCOL_H
#define GCORN_HTTP_REQUEST_PROXY_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

enum proxy_state {
    PROXY_MORE,
    PROXY_DONE,
    PROXY_REFUSED, /* see reason */
};

enum proxy_client {
    PROXY_CLIENT_UNSAID, /* LOCAL, UNKNOWN, UNSPEC: the connection's own addresses stand */
    PROXY_CLIENT_INET,   /* the addresses and ports below */
    PROXY_CLIENT_UNIX,   /* it has no address */
};

/* Does the client speak TLS to the proxy? */
enum proxy_tls { PROXY_TLS_UNSAID, PROXY_TLS_NO, PROXY_TLS_YES };

enum { PROXY_V1_MAX = 107, PROXY_V2_MAX = 16 * 1024 }; /* the longest line; the longest rest */

struct proxy_preface {
    enum proxy_state state;
    const char *reason;
    bool takes_v1;
    bool takes_v2;

    enum proxy_client client;
    struct address source;
    char source_text[ADDRESS_TEXT_SIZE], source_port[6];
    char target_text[ADDRESS_TEXT_SIZE], target_port[6];

    enum proxy_tls tls; /* by a TLV of version 2 (PP2_TYPE_SSL) */

    size_t have;    /* bytes kept */
    size_t skipped; /* bytes after them, which were not kept */
    char bytes[PROXY_V1_MAX];
    unsigned char tlv[4]; /* of the TLV that is being read: type, length, its first byte */
    size_t tlv_have;
    size_t tlv_left; /* bytes of its value that are yet to come */
};

void proxy_preface_init(struct proxy_preface *p, bool takes_v1, bool takes_v2);

/* Takes bytes until the preface is complete or refused; returns their number. What is left is the first
 * request. Nothing may be fed after DONE or REFUSED. */
size_t proxy_preface_feed(struct proxy_preface *p, const char *data, size_t len);

#endif
