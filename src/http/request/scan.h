/* SPDX-License-Identifier: MIT
 *
 * scan - one cheap pass over the head of a message that closes whole classes of attack before
 * llhttp sees a byte: every line ends in CRLF and in nothing else, no other control byte but HTAB
 * stands anywhere, the request line begins as a method does, no line is folded (RFC 9112 5.2) or
 * begins with its colon, and lines, their number and their sum stay within the limits.
 *
 * It can be stopped and resumed between any two bytes and takes the same decisions either way.
 */
#ifndef GCORN_HTTP_REQUEST_SCAN_H
#define GCORN_HTTP_REQUEST_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* 0 in a maximum means that only head_max bounds it. */
struct scan_limits {
    size_t line_max;   /* the request line, without its CRLF; past it 414 */
    size_t field_max;  /* a field line, without its CRLF; past it 431 */
    size_t fields_max; /* field lines; past it 431 */
    size_t head_max;   /* all of it, CRLFs included; past it 431 (414 in the request line) */
};

enum scan_place {
    SCAN_BEFORE,    /* before the request line: empty lines are skipped (RFC 9112 2.2) */
    SCAN_BEFORE_CR, /* in such an empty line */
    SCAN_START,     /* at the start of a field line */
    SCAN_LINE,      /* in a line */
    SCAN_CR,        /* after the CR of a line */
    SCAN_LAST_CR,   /* after the CR of the empty line that ends the head */
    SCAN_END,       /* the head is complete */
};

enum { SCAN_ENDS = 32 }; /* more lines than most heads have */

struct scan {
    enum scan_place place;
    bool trailers;          /* no request line: every line is a field */
    size_t skipped;         /* bytes of empty lines before the request line */
    size_t len;             /* bytes of the head so far */
    size_t line_len;        /* bytes of the line being scanned */
    size_t lines;           /* complete lines, the request line counted */
    size_t ends[SCAN_ENDS]; /* where the first of them end: the index of the CR in the head */
};

/* Why a head is refused that begins with a byte which no method begins with; and one with a line
 * that does not end as it should, or holds a control byte. */
extern const char scan_no_method[], scan_bad_line[];

void scan_init(struct scan *s, bool trailers);

/* Scans len more bytes and stores in *used the number of those that belong to the head. What is passed over
 * before the head is in s->skipped (this call's bytes of it come first). 0: fine (s->place is
 * SCAN_END when the head is complete, else more bytes are wanted); otherwise the status to refuse
 * the message with, *reason saying why. */
int scan_head(struct scan *s, const struct scan_limits *limits, const char *data, size_t len,
              size_t *used, const char **reason);

/* The same of the common head, in less time: data begins with all of it, it is short, every line
 * begins with a token and ends as it should. Its length, and s is at SCAN_END; or 0,
 * and nothing is decided. To be tried before any byte has been scanned. */
size_t scan_whole(struct scan *s, const struct scan_limits *limits, const char *data, size_t len);

/* The index of the CR that ends the line with this number, of a head that is scanned; from: of a
 * byte in that line. */
static inline size_t scan_line_end(const struct scan *s, size_t line, const char *head, size_t from)
{
    if (line < SCAN_ENDS)
        return s->ends[line];
    return (size_t)((const char *)memchr(head + from, '\r', s->len - from) - head);
}

/* The index of the first control byte that is not HTAB, or len: with SIMD where the processor has
 * it, and the portable twin that tests compare it with. */
size_t scan_control(const char *p, size_t len);
size_t scan_control_portable(const char *p, size_t len);

/* Is there such a byte? */
bool scan_has_control(const char *p, size_t len);

#endif
