/* SPDX-License-Identifier: MIT
 *
 * chunk - the line before each chunk: its size and its extensions (RFC 9112 7.1). The extensions
 * are checked and thrown away here, so that llhttp, which knows only some valid ones, sees sizes
 * alone.
 */
#ifndef GCORN_HTTP_REQUEST_CHUNK_H
#define GCORN_HTTP_REQUEST_CHUNK_H

#include <stddef.h>
#include <stdint.h>

enum { CHUNK_DIGITS_MAX = 16 };

enum chunk_place {
    CHUNK_SIZE,         /* in the hex digits */
    CHUNK_BEFORE_SEMI,  /* blanks that a ';' must follow */
    CHUNK_BEFORE_NAME,  /* after ';' */
    CHUNK_NAME,         /* in an extension's name */
    CHUNK_AFTER_NAME,   /* blanks after it */
    CHUNK_BEFORE_VALUE, /* after '=' */
    CHUNK_TOKEN,        /* in a value that is a token */
    CHUNK_QUOTED,       /* in one that is a quoted string */
    CHUNK_QUOTED_PAIR,  /* after its backslash */
    CHUNK_AFTER_VALUE,  /* after the closing quote */
    CHUNK_LF,           /* after CR */
    CHUNK_LINE_END,     /* the line is complete */
};

struct chunk_line {
    enum chunk_place place;
    unsigned char digits;
    char hex[CHUNK_DIGITS_MAX]; /* the size as it was sent */
    uint64_t size;
    size_t ext_len; /* over all the lines of a body */
};

/* Begins a body's first or next line. */
void chunk_line_init(struct chunk_line *c);
void chunk_line_next(struct chunk_line *c);

/* Takes bytes up to the end of the line; *used is their number. ext_max bounds the bytes of
 * extensions in all the lines of a body together: one chunk each would be a body for the price of
 * many. 0, or the status to refuse the message with. The line is complete when place is
 * CHUNK_LINE_END. */
int chunk_line_feed(struct chunk_line *c, size_t ext_max, const char *data, size_t len,
                    size_t *used, const char **reason);

#endif
