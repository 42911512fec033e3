/* SPDX-License-Identifier: MIT
 *
 * forwarded - what a proxy says about a request in header fields: the scheme, the client's address
 * (X-Forwarded-For), the path that the application is mounted at (SCRIPT_NAME), the request's id;
 * and which fields with '_' in their names reach the application. Fields of a sender that is not
 * trusted say nothing.
 *
 * Whether a sender is trusted is found out once a connection (forwarded_trusts). A request pays for
 * the rest only when one of its field names may be of interest: for the others it is a shift each.
 */
#ifndef GCORN_HTTP_REQUEST_FORWARDED_H
#define GCORN_HTTP_REQUEST_FORWARDED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"

struct request;

enum { FORWARDED_ID_MAX = 128 };

struct forwarded_texts {
    const char *const *items;
    size_t count;
};

/* As in the settings of those names; all borrowed. */
struct forwarded_settings {
    struct forwarded_texts forwarded_allow_ips;
    struct forwarded_texts secure_scheme_headers; /* NAME=value */
    struct forwarded_texts forwarder_headers;
    bool refuse_underscores;       /* header_map refuse */
    bool pass_underscores;         /* header_map dangerous; neither: drop */
    bool remote_addr;              /* forwarded_remote_addr */
    const char *request_id_header; /* "": none is read */
};

struct forwarded_scheme {
    char *name; /* in lower case */
    size_t name_len;
    const char *value; /* that means https */
    const char *text;  /* of the setting, for people */
};

/* The same, ready to be asked. Zeroed rules trust no sender and drop every name with '_'. */
struct forwarded_rules {
    struct forwarded_settings settings;
    struct networks trusted;
    struct forwarded_scheme *schemes; /* secure_scheme_headers.count of them */
    bool all_names;                   /* "*" is in forwarder_headers */
    bool script_name;                 /* SCRIPT_NAME is */
    size_t request_id_len;            /* of request_id_header */
    uint32_t initials;                /* forwarded_initial of every name that is looked for */
    uint64_t watched;                 /* and forwarded_mark */
};

/* What of a sender is believed, as flags. A PROXY preface knows better than fields: when it has
 * named a client that is no proxy itself, X-Forwarded-For does not count, nor the scheme's fields
 * when it has told of TLS. */
enum forwarded_trust {
    FORWARDED_NOTHING = 0,
    FORWARDED_FIELDS = 1, /* those that no other flag is about */
    FORWARDED_SCHEME = 2, /* secure_scheme_headers */
    FORWARDED_CLIENT = 4, /* X-Forwarded-For */
    FORWARDED_ALL = 7,
    FORWARDED_SECURE = 8, /* of no field: the preface says that the client speaks TLS */
};

/* What was found in a request's fields; NULL: nothing. */
struct forwarded {
    const char *scheme;
    const char *remote_addr;
    const char *script_name;
    const char *path_info; /* without script_name; set with it */
    const char *request_id;
    const char *distrusted; /* a field that would have counted, had its sender been trusted */
};

void forwarded_rules_init(struct forwarded_rules *r, const struct forwarded_settings *settings);
void forwarded_rules_release(struct forwarded_rules *r);

/* Are the fields of a peer with this address believed? NULL: it has none, being a unix socket's,
 * and only a process that may open the socket can be its client. */
bool forwarded_trusts(const struct forwarded_rules *r, const struct address *peer);

/* One of 32 bits for the first letter of a name, and one of 64 for the whole, whatever its case:
 * names with different bits differ. */
static inline uint32_t forwarded_initial(const char *name)
{
    return UINT32_C(1) << (name[0] & 31);
}

static inline uint64_t forwarded_mark(const char *name, size_t len)
{
    return UINT64_C(1) << (((name[0] & 31U) ^ len << 1) & 63);
}

/* Does a field whose name has a '_' in it reach the application? */
bool forwarded_passes(const struct forwarded_rules *r, enum forwarded_trust trust, const char *name,
                      size_t len);

/* The head is parsed: reads what it says into request->forwarded. 0, or the status to refuse the
 * request with. */
int forwarded_read(struct request *request, const char **reason);

#endif
