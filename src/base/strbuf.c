/* SPDX-License-Identifier: MIT
 *
 * See strbuf.h. Capacity doubles, so that n appended bytes cost O(n) copies.
 */
#include "base/strbuf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/util.h"

enum { STRBUF_FIRST_SIZE = 64 };

void strbuf_init(struct strbuf *b)
{
    *b = (struct strbuf){0};
}

void strbuf_release(struct strbuf *b)
{
    free(b->data);
    strbuf_init(b);
}

char *strbuf_grow(struct strbuf *b, size_t more)
{
    if (b->cap - b->len <= more) {
        size_t cap = b->cap ? b->cap : STRBUF_FIRST_SIZE;

        assert(b->len < cap);
        while (cap - b->len <= more)
            cap *= 2;
        b->data = xrealloc(b->data, cap);
        b->cap = cap;
    }
    return b->data + b->len;
}

void strbuf_vaddf(struct strbuf *b, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    (void)strbuf_grow(b, 63);
    int len = vsnprintf(b->data + b->len, b->cap - b->len, fmt, ap);
    assert(len >= 0);
    if ((size_t)len >= b->cap - b->len) {
        (void)strbuf_grow(b, (size_t)len);
        (void)vsnprintf(b->data + b->len, b->cap - b->len, fmt, again);
    }
    va_end(again);
    b->len += (size_t)len;
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    strbuf_vaddf(b, fmt, ap);
    va_end(ap);
}

void strbuf_addu(struct strbuf *b, unsigned long long n)
{
    char digits[20];
    size_t i = sizeof(digits);

    do {
        digits[--i] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    strbuf_add(b, digits + i, sizeof(digits) - i);
}

char *strbuf_detach(struct strbuf *b)
{
    char *data = b->data ? b->data : xstrdup("");

    strbuf_init(b);
    return data;
}
