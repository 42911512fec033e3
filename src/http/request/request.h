/* SPDX-License-Identifier: MIT
 *
 * request/ - a request out of what a client sends: lines (scan) and their grammar (syntax), target
 * and fields (fields), the body in chunks (request_body, chunk), and what proxies say about the
 * client (forwarded, proxy_protocol).
 *
 * request - one HTTP/1.x request out of bytes (RFC 9112, RFC 9110).
 *
 * Bytes are fed as they come, in pieces of any size; what is decided never depends on how they were
 * cut. The head is collected, scanned once (scan.h) and split into its fields. llhttp decides what
 * frames the message: it parses the request line, the fields that say how long the body is, chunks
 * and trailers; then come the rules that it does not know. The body goes into a spool. No
 * descriptor, no loop, no clock.
 *
 *   feed --MORE--> feed --DONE--> the application
 *         |   \----REFUSED-------> an error answer; not one further byte is parsed
 *         \--HELD--> the application, which sees the head --request_go_on--> feed
 */
#ifndef GCORN_HTTP_REQUEST_REQUEST_H
#define GCORN_HTTP_REQUEST_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/spool.h"
#include "base/strbuf.h"
#include "http/request/body_ahead.h"
#include "http/request/chunk.h"
#include "http/request/fields.h"
#include "http/request/forwarded.h"
#include "http/request/scan.h"

struct llhttp__internal_s;

struct request_limits {
    struct scan_limits head;
    uint64_t body_max;                /* 0: unbounded; past it 413 */
    bool takes_no_body;               /* any is refused 413, at the end of the head */
    bool holds_body;                  /* a request with a body stops in REQUEST_HELD */
    size_t chunk_ext_max;             /* bytes of chunk extensions in a body; past it 400 */
    struct spool_place body_place;    /* where bodies are kept */
    struct spool_budget *body_budget; /* of those in files; NULL: unlimited */
};

enum request_state {
    REQUEST_HEAD,     /* collecting the head */
    REQUEST_COUNTED,  /* in a body with Content-Length */
    REQUEST_CHUNKS,   /* in a chunked body */
    REQUEST_TRAILERS, /* after its last chunk */
    REQUEST_DONE,     /* complete */
    REQUEST_REFUSED,  /* see refusal */
    REQUEST_HELD,     /* its head is read, and its body is to come: see request_go_on */
};

enum { KNOWN_HOST_MAX = 64, METHOD_MAX = 32, REQUEST_REST_MAX = 64 * 1024 };

/* What a client speaks that is refused because it does not speak HTTP/1. */
enum foreign_protocol {
    FOREIGN_UNKNOWN, /* or it is HTTP/1 */
    FOREIGN_TLS,
    FOREIGN_HTTP2,
    FOREIGN_PROXY, /* the PROXY protocol's preface */
    FOREIGN_COUNT,
};

struct request {
    enum request_state state;
    int refusal; /* the status to answer with */
    const char *refusal_reason;

    const struct request_limits *limits;
    struct arena *arena;
    char *head; /* the head's bytes; once it is parsed, the environ may write into them */
    size_t head_cap;
    struct span line; /* the request line, once it came whole, and was judged; p NULL before */

    /* Valid once the head is parsed, that is past REQUEST_HEAD unless refused in it. */
    const char *method; /* a static string, or one in the arena; NULL before */
    unsigned char method_len;
    bool is_head; /* HEAD: the answer has no body. Valid from the method's last byte on */
    unsigned char minor_version;
    unsigned char foreign; /* enum foreign_protocol, of a refused request */
    struct span target;    /* as it came */
    bool target_is_plain;  /* without query, fragment and escapes */
    struct span path;      /* of it, undecoded; escapes are valid */
    struct span query;     /* of it, without '?' */
    struct span authority; /* of an absolute target: it stands for Host (RFC 9112 3.2.2) */
    struct field *fields;
    size_t field_count;
    uint16_t seen[FIELD_ID_COUNT]; /* the number of each */
    bool keep_alive;               /* the client's wish, and else the version's default */
    bool asks_close;               /* the client will send nothing more */
    bool expects_continue;         /* waits for 100 before it sends the body */
    bool chunked;

    /* Set after request_init where fields of proxies count (forwarded.h). */
    const struct forwarded_rules *rules;
    enum forwarded_trust trust;
    uint32_t initials;           /* forwarded_initial of every field name */
    struct forwarded *forwarded; /* what was found; NULL: nothing */

    uint64_t body_left; /* of a counted body, or of the chunk being read with its CRLF */
    uint64_t body_max;  /* of a request with a body: past it 413 */
    struct llhttp__internal_s *body_parser; /* llhttp's state between chunks */
    struct body_ahead *ahead; /* of a body that is read as it comes; NULL: it is kept in `body` */

    struct scan scan;
    struct chunk_line chunk;
    struct strbuf trailers; /* that came in pieces */
    size_t trailer_count;
    struct field *trailer_fields; /* valid once the request is done; id is not set */
    struct spool body;

    /* The last valid Host; it outlives the request, for the next one mostly says the same. */
    size_t known_host_len;
    char known_host[KNOWN_HOST_MAX];
};

/* For a request that is zeroed or released. arena and limits are borrowed. */
void request_init(struct request *r, const struct request_limits *limits, struct arena *arena);
void request_release(struct request *r);

/* Takes bytes until the request is complete, refused or held; returns their number. What is left
 * belongs to the next request, or to the body of one that is held. Nothing may be fed after DONE or
 * REFUSED, nor in HELD; and no more at a time than body_ahead_room, where the body is read as it
 * comes. */
size_t request_feed(struct request *r, const char *data, size_t len);

/* The body of a held request is wanted: it may be fed, unless it is announced to be larger than
 * body_max, which the holder may have changed: REQUEST_REFUSED. */
void request_go_on(struct request *r);

/* For the parts of the parser: the answer's status, and why; no byte more is parsed. */
void request_refuse(struct request *r, int status, const char *reason);

/* The bytes of its body that have come, decoded. */
static inline uint64_t request_body_len(const struct request *r)
{
    return r->ahead ? r->ahead->came : r->body.len;
}

static inline bool request_is_refused(const struct request *r)
{
    return r->state == REQUEST_REFUSED;
}

/* Has a byte of it arrived? Empty lines before the request line do not count. */
static inline bool request_has_begun(const struct request *r)
{
    return r->state != REQUEST_HEAD || r->scan.len > 0;
}

/* The bytes of its body that the client has announced and that are not taken; 0: all are, or the
 * length is not known (chunked, or refused before it was read). */
static inline uint64_t request_announced(const struct request *r)
{
    return r->chunked ? 0 : r->body_left;
}

/* Is some of its body still to come, and can another request come after that? A short rest is read
 * and dropped. But a client that has waited for 100 in vain may send the body or not, and who cannot
 * tell must not look for a request in it. */
static inline bool request_rest_is_short(const struct request *r)
{
    return !r->chunked && !r->expects_continue && r->body_left <= REQUEST_REST_MAX;
}

static inline bool request_in_body(const struct request *r)
{
    return r->state == REQUEST_COUNTED || r->state == REQUEST_CHUNKS ||
           r->state == REQUEST_TRAILERS;
}

#endif
