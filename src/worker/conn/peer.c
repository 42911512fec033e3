/* SPDX-License-Identifier: MIT
 *
 * See peer.h. The address of the socket decides what is trusted, as in gunicorn, also after
 * a PROXY preface: that was written by the same peer. Only X-Forwarded-For goes by the client in
 * the preface: if that one is no proxy of ours, the fields cannot know better.
 */
#include "worker/conn/peer.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/util.h"
#include "settings/config.h"
#include "system/net/listener.h"

enum { REFUSED_LOG_MS = 60 * 1000 };

static struct forwarded_texts texts_of(const struct config_list *list)
{
    return (struct forwarded_texts){list->items, list->count};
}

void peer_rules_init(struct peer_rules *r, struct forwarded_rules *forwarded,
                     const struct config *cfg)
{
    int mode = cfg->proxy_protocol;
    const struct forwarded_settings settings = {
        .forwarded_allow_ips = texts_of(&cfg->forwarded_allow_ips),
        .secure_scheme_headers = texts_of(&cfg->secure_scheme_headers),
        .forwarder_headers = texts_of(&cfg->forwarder_headers),
        .refuse_underscores = cfg->header_map == HEADER_MAP_REFUSE,
        .pass_underscores = cfg->header_map == HEADER_MAP_DANGEROUS,
        .remote_addr = cfg->forwarded_remote_addr,
        .request_id_header = cfg->request_id_header ? cfg->request_id_header : "",
    };

    forwarded_rules_init(forwarded, &settings);
    *r = (struct peer_rules){
        .forwarded = forwarded,
        .takes_v1 = mode == PROXY_PROTOCOL_V1 || mode == PROXY_PROTOCOL_AUTO,
        .takes_v2 = mode == PROXY_PROTOCOL_V2 || mode == PROXY_PROTOCOL_AUTO,
    };
    networks_init(&r->proxies, cfg->proxy_allow_ips.items, cfg->proxy_allow_ips.count);
}

/* False for a unix socket, which has none. */
static bool read_address(const void *sockaddr, struct address *a, unsigned *port)
{
    const struct sockaddr_in *in = sockaddr;
    const struct sockaddr_in6 *in6 = sockaddr;

    if (in->sin_family == AF_INET) {
        address_from_v4(a, &in->sin_addr);
        *port = ntohs(in->sin_port);
        return true;
    }
    if (in->sin_family != AF_INET6)
        return false;
    memcpy(a->bytes, &in6->sin6_addr, sizeof(a->bytes));
    *port = ntohs(in6->sin6_port);
    return true;
}

void peer_open(struct peer *p, const struct peer_rules *r, const struct http_local *local,
               const void *sockaddr)
{
    struct address address;
    unsigned port;
    bool has_address = read_address(sockaddr, &address, &port);
    bool is_trusted = forwarded_trusts(r->forwarded, has_address ? &address : NULL);

    p->seen =
        (struct http_peer){.local = local, .trust = is_trusted ? FORWARDED_ALL : FORWARDED_NOTHING};
    if (has_address) {
        address_format(&address, p->seen.remote_addr);
        (void)snprintf(p->seen.remote_port, sizeof(p->seen.remote_port), "%u", port & 0xffff);
    }
    p->preface = NULL;
    if (!r->takes_v1 && !r->takes_v2)
        return;
    p->preface = xmalloc(sizeof(*p->preface));
    p->preface->is_foreign = has_address && !networks_have(&r->proxies, &address);
    proxy_preface_init(&p->preface->proxy, r->takes_v1, r->takes_v2);
    memcpy(p->preface->sender, p->seen.remote_addr, sizeof(p->preface->sender));
}

void peer_close(struct peer *p)
{
    free(p->preface);
    p->preface = NULL;
}

static const char *name_of(const struct peer *p)
{
    const char *address = p->preface ? p->preface->sender : p->seen.remote_addr;

    return address[0] != '\0' ? address : "a unix socket's peer";
}

/* What the preface says stands, unless the client that it names is a proxy of ours too. */
static void take_trust(struct peer *p, const struct peer_rules *r)
{
    const struct proxy_preface *preface = &p->preface->proxy;
    bool is_inet = preface->client == PROXY_CLIENT_INET;
    unsigned trust = p->seen.trust;

    if (!is_inet || !forwarded_trusts(r->forwarded, &preface->source)) {
        if (is_inet)
            trust &= ~(unsigned)FORWARDED_CLIENT;
        if (preface->tls != PROXY_TLS_UNSAID)
            trust &= ~(unsigned)FORWARDED_SCHEME;
    }
    if (preface->tls == PROXY_TLS_YES)
        trust |= FORWARDED_SECURE;
    p->seen.trust = (enum forwarded_trust)trust;
}

static void take_preface(struct peer *p, const struct peer_rules *r)
{
    const struct proxy_preface *preface = &p->preface->proxy;
    struct http_local *local = &p->preface->local;

    *local = *p->seen.local;
    p->seen.local = local;
    if (preface->tls == PROXY_TLS_YES)
        local->scheme = "https";
    if (preface->client == PROXY_CLIENT_UNIX) {
        p->seen.remote_addr[0] = p->seen.remote_port[0] = '\0';
    } else if (preface->client == PROXY_CLIENT_INET) {
        memcpy(p->seen.remote_addr, preface->source_text, sizeof(p->seen.remote_addr));
        memcpy(p->seen.remote_port, preface->source_port, sizeof(p->seen.remote_port));
        local->server_name = preface->target_text;
        local->server_port = preface->target_port;
    }
    take_trust(p, r);
}

static void log_refused(const struct peer *p, struct peer_rules *r, const char *reason)
{
    uint64_t now = now_ms();

    if (r->has_refused && now < r->refused_logged_ms + REFUSED_LOG_MS)
        return;
    r->has_refused = true;
    r->refused_logged_ms = now;
    if (p->preface->is_foreign)
        log_warnx("Refused a connection of %s: proxy_protocol is on and proxy_allow_ips does not "
                  "name this peer (logged at most once a minute)",
                  name_of(p));
    else
        log_warnx("Refused a connection of %s: proxy_protocol is on, and it began with %s "
                  "(logged at most once a minute)",
                  name_of(p), reason);
}

int peer_feed(struct peer *p, struct peer_rules *r, const char **data, size_t *len,
              const char **reason)
{
    struct proxy_preface *preface = &p->preface->proxy;
    int status = 0;

    if (p->preface->is_foreign) {
        status = 403;
        *reason = "proxy_allow_ips does not name this peer";
    } else {
        size_t used = proxy_preface_feed(preface, *data, *len);

        *data += used;
        *len -= used;
        if (preface->state == PROXY_REFUSED) {
            status = 400;
            *reason = preface->reason;
        }
    }
    if (status != 0)
        log_refused(p, r, *reason);
    else if (preface->state == PROXY_DONE)
        take_preface(p, r);
    return status;
}

void peer_log_foreign(const struct peer *p, struct peer_rules *r, enum foreign_protocol foreign,
                      int status)
{
    static const struct {
        const char *what, *advice;
    } known[FOREIGN_COUNT] = {
        [FOREIGN_TLS] = {"TLS", "use http:// here, or let a proxy in front end TLS"},
        [FOREIGN_HTTP2] = {"HTTP/2", "make it use HTTP/1.1"},
        [FOREIGN_PROXY] = {"the PROXY protocol", "set proxy_protocol and proxy_allow_ips"},
    };
    uint64_t now = now_ms(), *logged_ms = &r->foreign_logged_ms[foreign];

    if (*logged_ms != 0 && now < *logged_ms + REFUSED_LOG_MS)
        return;
    *logged_ms = now;
    log_warnx(
        "Connection of %s: the client speaks %s, but this address plain HTTP/1.1: %s; refused "
        "with %d (logged at most once a minute per worker)",
        name_of(p), known[foreign].what, known[foreign].advice, status);
}

void peer_log_distrust(const struct peer *p, struct peer_rules *r, const char *field)
{
    if (r->distrust_logged)
        return;
    r->distrust_logged = true;
    log_warnx("The %.*s of %s is ignored: forwarded_allow_ips does not name this peer (logged "
              "once per worker)",
              (int)strcspn(field, "="), field, name_of(p));
}
