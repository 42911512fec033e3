/* SPDX-License-Identifier: MIT
 *
 * log_line - a line of a log while it is written: any bytes into a buffer of fixed size, as
 * printable ASCII without a quote or backslash that was not put there on purpose. So a line is one
 * line, ends where it says, moves no terminal's cursor, and is never longer than its buffer.
 */
#ifndef GCORN_HTTP_LOG_LINE_H
#define GCORN_HTTP_LOG_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct log_line {
    char *p;   /* where the next byte goes */
    char *end; /* after the last place */
    bool cut;  /* something did not fit */
};

/* Fills the room with the start of text, which is longer. */
void log_line_put_cut(struct log_line *l, const char *text);

/* As it is; cut where the room ends. */
static inline void log_line_put(struct log_line *l, const char *text, size_t len)
{
    if (len > (size_t)(l->end - l->p)) {
        log_line_put_cut(l, text);
        return;
    }
    memcpy(l->p, text, len); /* a few moves where len is a constant */
    l->p += len;
}

static inline void log_line_put_str(struct log_line *l, const char *text)
{
    log_line_put(l, text, strlen(text));
}

void log_line_put_u64(struct log_line *l, uint64_t n);

/* The last `width` decimal digits of n, with leading zeros; width at most 20. */
void log_line_put_digits(struct log_line *l, uint64_t n, size_t width);

/* Whatever is not plain as \xNN; cut where the room ends. */
void log_line_put_escaped(struct log_line *l, const char *text, size_t len);

/* A JSON string with its quotes, which is also a quoted value of logfmt. What is not plain becomes
 * an escape; bytes that are not UTF-8 count as ISO 8859-1 (RFC 2616). Cut between
 * characters so that `leave` places stay free; there must be two more. */
void log_line_put_quoted(struct log_line *l, const char *text, size_t len, size_t leave);

/* A value of logfmt, quoted where it must be. */
void log_line_put_value(struct log_line *l, const char *text, size_t len, size_t leave);

#endif
