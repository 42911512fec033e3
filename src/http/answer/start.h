/* SPDX-License-Identifier: MIT
 *
 * start - gcorn_start: the status and the fields of an answer, as the application gives them,
 * checked (RFC 9110 5 and 15). Whatever belongs to the connection or to the framing is refused, for
 * that is the server's.
 */
#ifndef GCORN_HTTP_ANSWER_START_H
#define GCORN_HTTP_ANSWER_START_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "gcorn.h"

/* The receiver of gcorn_start: the server's own in each response, or a middleware's. */
struct gcorn_start_response {
    gcorn_start_fn *fn;
    void *state;
};

/* What a field of an answer means to the server. */
enum start_kind {
    START_OTHER,
    START_LENGTH,
    START_DATE,
    START_SERVER,
    START_HOP, /* belongs to the connection, and so to the server (RFC 9110 7.6.1) */
};

struct start_field {
    enum start_kind kind;
    size_t name_len, value_len;
};

enum { START_FIELDS_MAX = 8 };

/* The status and fields of the last gcorn_start that was valid. It outlives the request: mostly the
 * next answer says the same, which then needs no second check. */
struct start_cache {
    struct strbuf text; /* "200 OK", then each field as "Name: value\r\n" */
    size_t status_len;
    int status;
    bool has_server, has_date;
    bool is_whole;   /* text holds all that was said, and all of it was valid */
    uint64_t serial; /* changes whenever text does; 0: nothing was said yet */
    unsigned field_count;
    struct {
        uint32_t name_len, value_len;
    } fields[START_FIELDS_MAX];
};

/* The server's own gcorn_start_fn; state is the struct gcorn_environ. Checks and stores the status
 * and fields. 0, or -1 with errno: EINVAL (logged; the answer becomes 500 unless a later call is in
 * order), EALREADY once the head has left. */
int start_own(void *state, const char *status, const struct gcorn_header *headers);

/* "NNN Reason" without control bytes, whatever its class. */
bool start_status_is_valid(const char *status, size_t len);

/* NULL, with what the field is in *field; or why it cannot be sent: it is not valid, or only the
 * server may send it. */
const char *start_check_field(const struct gcorn_header *header, struct start_field *field);

/* Writes a field as it is sent, "Name: value\r\n", which is four bytes longer than name and value.
 * Returns its end. */
char *start_put_field(char *p, const char *name, size_t name_len, const char *value,
                      size_t value_len);

#endif
