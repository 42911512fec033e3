/* SPDX-License-Identifier: MIT
 *
 * strbuf - a growing array of bytes that always ends with a NUL.
 *
 * Life: strbuf_init (allocates nothing), strbuf_add..., strbuf_release. A zeroed struct is also a
 * valid empty one. `data` is NULL while nothing was ever added.
 */
#ifndef GCORN_BASE_STRBUF_H
#define GCORN_BASE_STRBUF_H

#include <stdarg.h>
#include <stddef.h>
#include <string.h>

struct strbuf {
    char *data;
    size_t len;
    size_t cap; /* bytes allocated, including the NUL */
};

void strbuf_init(struct strbuf *b);
void strbuf_release(struct strbuf *b); /* frees the bytes; empty and usable afterwards */

/* Makes room for `more` bytes and the NUL, and returns where they go. After writing them call
 * strbuf_set_end. */
char *strbuf_grow(struct strbuf *b, size_t more);

static inline void strbuf_set_end(struct strbuf *b, char *end)
{
    *end = '\0';
    b->len = (size_t)(end - b->data);
}

/* Writes text to p, within room that strbuf_grow has made; returns where the next byte goes. */
static inline char *strbuf_put(char *p, const char *text, size_t len)
{
    memcpy(p, text, len);
    return p + len;
}

#define STRBUF_PUT_LITERAL(p, text) strbuf_put(p, text, sizeof(text) - 1)

/* Empties it and keeps the memory. */
static inline void strbuf_reset(struct strbuf *b)
{
    b->len = 0;
}

/* Inlined always: where the compiler counts its callers, another one would cost each answer a call. */
static inline void __attribute__((always_inline))
strbuf_add(struct strbuf *b, const void *data, size_t len)
{
    if (b->cap - b->len <= len)
        (void)strbuf_grow(b, len);
    if (len > 0) /* data may then be NULL, which memcpy does not take */
        memcpy(b->data + b->len, data, len);
    b->len += len;
    b->data[b->len] = '\0';
}

static inline void strbuf_addstr(struct strbuf *b, const char *s)
{
    strbuf_add(b, s, strlen(s));
}

static inline void strbuf_addch(struct strbuf *b, char c)
{
    strbuf_add(b, &c, 1);
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Appends a decimal number, faster than strbuf_addf. */
void strbuf_addu(struct strbuf *b, unsigned long long n);

/* Returns the bytes, which the caller frees with free(), and empties the buffer. "" when nothing
 * was added. */
char *strbuf_detach(struct strbuf *b);

#endif
