/* SPDX-License-Identifier: MIT
 *
 * fields - the target and the header fields of a request, and the rules that hold for them (RFC
 * 9110, RFC 9112 3 and 6) whichever way they have come: as bytes of HTTP/1, or as a list, as
 * another protocol or a part of the server has them.
 */
#ifndef GCORN_HTTP_REQUEST_FIELDS_H
#define GCORN_HTTP_REQUEST_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct request;

/* The fields that gcorn itself must understand. */
enum field_id {
    FIELD_OTHER,
    FIELD_HOST,
    FIELD_CONTENT_LENGTH,
    FIELD_CONTENT_TYPE,
    FIELD_TRANSFER_ENCODING,
    FIELD_CONNECTION,
    FIELD_EXPECT,
    FIELD_ID_COUNT,
};

/* Both point into the head, the value trimmed; neither is followed by a NUL. */
struct field {
    char *name;
    char *value;
    uint32_t name_len;
    uint32_t value_len;
    enum field_id id;
};

/* A piece of the head. */
struct span {
    char *p;
    size_t len;
};

/* Bytes of a caller. */
struct bytes {
    const char *p; /* NULL: absent */
    size_t len;
};

struct request_pair {
    struct bytes name;
    struct bytes value;
};

/* A request as a list of fields. */
struct request_list {
    struct bytes method;
    struct bytes target;    /* as in a request line: a path, an absolute URI, or * */
    struct bytes scheme;    /* may be absent; https is refused where the connection is not secure */
    struct bytes authority; /* may be absent; it stands for Host */
    bool is_1_0;            /* to be read as HTTP/1.0, else as 1.1 */
    const struct request_pair *fields;
    size_t count;
};

/* Makes a fresh request of a list, which is copied: the same environ, or the same refusal, as of a
 * request that came in bytes. What frames a body is then fed as bytes are, to request_feed. 0, or
 * -1: it is refused (r->refusal). */
int request_from_fields(struct request *r, const struct request_list *list);

/* ---- the rules, for the parser ------------------------------------------------------------- */

/* Why a field is refused whose line has no name, or none that a colon follows. */
extern const char fields_no_name[];

enum field_id field_identify(const char *name, size_t len);

/* What one field says, or may not say; Transfer-Encoding has to wait until all are there. 0, or -1:
 * the request is refused. */
int fields_check_one(struct request *r, const struct field *f);

/* What all of them say together, with those of proxies. 0, or -1. */
int fields_check_all(struct request *r);

/* The forms of a target but CONNECT's (RFC 9112 3.2), into path, query and authority; the method is
 * known. 0, or -1. */
int fields_check_target(struct request *r);

#endif
