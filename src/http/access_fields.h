/* SPDX-License-Identifier: MIT
 *
 * access_fields - what an access log line can tell of a request: one table, whose rows are members
 * of json and logfmt, atoms of a format, or both. A new one is a row of the table in access_fields.c
 * and the function that gets its value.
 */
#ifndef GCORN_HTTP_ACCESS_FIELDS_H
#define GCORN_HTTP_ACCESS_FIELDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/ascii.h"
#include "http/access_log.h"
#include "http/log_line.h"
#include "http/request/fields.h"

/* The time of a second, which many lines share. */
struct access_second {
    int64_t second;
    char clf[TIME_TEXT_SIZE]; /* [06/Nov/1994:08:49:37 +0000] */
    char iso[TIME_TEXT_SIZE]; /* 1994-11-06T08:49:37.000+00:00 */
};

/* The line that is being made. */
struct access_line {
    struct gcorn_environ *env;
    const struct access_facts *facts;
    const struct access_second *second;
    const char *name; /* the name in braces of the atom that is asked for */
    char scratch[48]; /* for a value that lies nowhere else, until the next is asked for */
};

enum access_kind {
    ACCESS_ABSENT,
    ACCESS_NUMBER,
    ACCESS_PLAIN, /* printable ASCII of the server's own: nothing to escape */
    ACCESS_TEXT,  /* bytes of a client or an application: to be escaped */
};

struct access_value {
    enum access_kind kind;
    uint64_t number;
    struct bytes text;
};

/* An atom of a format. */
struct access_atom {
    char letter;      /* %(letter)s, with is_named %({name}letter)s */
    bool is_named;    /* the atom has a name in braces */
    bool keeps_empty; /* "" stays so, where others become - */
    struct access_value (*get)(struct access_line *line);
};

/* NULL: no atom has this letter. */
const struct access_atom *access_find_atom(char letter, bool is_named);

/* All members, as one object of JSON or as pairs of logfmt. A line that would be longer than its
 * room is cut inside its values, so that it stays valid, and says that it is truncated. */
void access_put_json(struct log_line *l, struct access_line *line);
void access_put_logfmt(struct log_line *l, struct access_line *line);

#endif
