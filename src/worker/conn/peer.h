/* SPDX-License-Identifier: MIT
 *
 * peer - the other end of a connection and what of it is believed: its address, or the
 * one in its PROXY preface; whether its header fields count (http/request/forwarded.h). Everything
 * is found out once a connection.
 */
#ifndef GCORN_WORKER_CONN_PEER_H
#define GCORN_WORKER_CONN_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "http/environ.h"
#include "http/request/proxy_protocol.h"
#include "http/request/request.h"
#include "worker/loop/types.h"

struct config;

/* A worker's settings about peers, and what it has logged about them. */
struct peer_rules {
    const struct forwarded_rules *forwarded;
    struct networks proxies; /* which may, and must, send a PROXY preface */
    bool takes_v1;
    bool takes_v2;
    bool has_refused;
    uint64_t refused_logged_ms;
    bool distrust_logged;
    uint64_t foreign_logged_ms[FOREIGN_COUNT]; /* 0: never */
};

struct peer_preface {
    struct proxy_preface proxy;
    struct http_local local;        /* by it */
    char sender[ADDRESS_TEXT_SIZE]; /* whose socket it is; "" for a unix socket */
    bool is_foreign;                /* it must not send one */
};

/* forwarded is filled in too, and borrowed. */
void peer_rules_init(struct peer_rules *r, struct forwarded_rules *forwarded,
                     const struct config *cfg);

/* sockaddr is the socket's, as accept gives it; local, the listener's, is borrowed. */
void peer_open(struct peer *p, const struct peer_rules *r, const struct http_local *local,
               const void *sockaddr);
void peer_close(struct peer *p);

/* Does a PROXY preface come before the next byte of a request? */
static inline bool peer_owes_preface(const struct peer *p)
{
    return p->preface && p->preface->proxy.state != PROXY_DONE;
}

/* Takes bytes of the preface: *data and *len move past them. 0, or the status to refuse the
 * connection with. */
int peer_feed(struct peer *p, struct peer_rules *r, const char **data, size_t *len,
              const char **reason);

/* Says that p's request was refused because it is of another protocol; at most once a minute for
 * each of these, as a port that is scanned, or a load balancer that is set wrong, tries it often.
 */
void peer_log_foreign(const struct peer *p, struct peer_rules *r, enum foreign_protocol foreign,
                      int status);

/* Says, once, that a field of p was ignored. */
void peer_log_distrust(const struct peer *p, struct peer_rules *r, const char *field);

#endif
