/* SPDX-License-Identifier: MIT
 *
 * See log_line.h. Nearly all text is plain, so plain runs are copied and checked sixteen bytes at a
 * time; what is not plain may take longer.
 */
#include "http/log_line.h"

#include <assert.h>

#include "base/ascii.h"
#include "base/utf8.h"

enum {
    ESCAPE_MAX = 12, /* a pair of surrogates */
    DIGITS_MAX = 20, /* of a uint64_t */
};

static bool is_plain(char c)
{
    return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* Sixteen bytes: vectors of the compiler, which any target has. */
typedef int8_t block __attribute__((vector_size(16)));
typedef uint64_t block_halves __attribute__((vector_size(16)));

static inline bool block_is_plain(block b)
{
    /* beyond ASCII they are negative */
    block_halves bad = (block_halves)((b < 0x20) | (b == 0x7f) | (b == '"') | (b == '\\'));

    return (bad[0] | bad[1]) == 0;
}

static inline bool copy_block(char *out, const char *text)
{
    block b;

    memcpy(&b, text, sizeof(b));
    if (!block_is_plain(b))
        return false;
    memcpy(out, &b, sizeof(b));
    return true;
}

/* 8 to 16 bytes as two halves that may overlap. */
static inline bool copy_halves(char *out, const char *text, size_t len)
{
    uint64_t first, last;

    memcpy(&first, text, 8);
    memcpy(&last, text + len - 8, 8);
    if (!block_is_plain((block)(block_halves){first, last}))
        return false;
    memcpy(out, &first, 8);
    memcpy(out + len - 8, &last, 8);
    return true;
}

/* Copies what is plain at the start of text, at most len bytes, of which out has room for all; how
 * many. */
static inline size_t copy_plain(char *out, const char *text, size_t len)
{
    size_t i = 0;

    if (len >= 8 && len < 16 && copy_halves(out, text, len))
        return len;
    while (i + 16 <= len && copy_block(out + i, text + i))
        i += 16;
    /* the rest as the end of a block, some of it a second time */
    if (i > 0 && len - i < 16 && copy_block(out + len - 16, text + len - 16))
        return len;
    for (; i < len && is_plain(text[i]); i++)
        out[i] = text[i];
    return i;
}

void log_line_put_cut(struct log_line *l, const char *text)
{
    size_t room = (size_t)(l->end - l->p);

    memcpy(l->p, text, room);
    l->p += room;
    l->cut = true;
}

/* ---- numbers ----------------------------------------------------------------------------- */

#define TENS(n)                                                                                    \
    {n, '0'}, {n, '1'}, {n, '2'}, {n, '3'}, {n, '4'}, {n, '5'}, {n, '6'}, {n, '7'}, {n, '8'},      \
    {                                                                                              \
        n, '9'                                                                                     \
    }
static const char digit_pairs[100][2] = {TENS('0'), TENS('1'), TENS('2'), TENS('3'), TENS('4'),
                                         TENS('5'), TENS('6'), TENS('7'), TENS('8'), TENS('9')};

/* Not inlined, as its array would cost every number a stack check. */
static void __attribute__((noinline)) put_digits_cut(struct log_line *l, uint64_t n, size_t width)
{
    char digits[DIGITS_MAX];

    for (size_t i = width; i > 0; n /= 10)
        digits[--i] = (char)('0' + n % 10);
    log_line_put(l, digits, width);
}

void log_line_put_digits(struct log_line *l, uint64_t n, size_t width)
{
    assert(width <= DIGITS_MAX);
    if ((size_t)(l->end - l->p) < width) {
        put_digits_cut(l, n, width);
        return;
    }
    size_t i = width;
    for (; i >= 2; n /= 100)
        memcpy(l->p + (i -= 2), digit_pairs[n % 100], 2);
    if (i > 0)
        l->p[0] = (char)('0' + n % 10);
    l->p += width;
}

static inline char *put_pair(char *p, uint32_t n)
{
    memcpy(p, digit_pairs[n], 2);
    return p + 2;
}

/* Up to four digits, as most numbers have, without a loop. */
static inline char *put_short(char *p, uint32_t n)
{
    if (n < 10) {
        *p = (char)('0' + n);
        return p + 1;
    }
    if (n >= 1000) {
        p = put_pair(p, n / 100);
    } else if (n >= 100) {
        *p++ = (char)('0' + n / 100);
    }
    return put_pair(p, n % 100);
}

void log_line_put_u64(struct log_line *l, uint64_t n)
{
    size_t width = 1;

    if (n < 10000 && l->end - l->p >= 4) {
        l->p = put_short(l->p, (uint32_t)n);
        return;
    }

    for (uint64_t rest = n; rest >= 10; rest /= 1000)
        width += rest < 100 ? 1 : rest < 1000 ? 2 : 3;
    log_line_put_digits(l, n, width);
}

/* ---- text -------------------------------------------------------------------------------- */

void log_line_put_escaped(struct log_line *l, const char *text, size_t len)
{
    for (;;) {
        size_t room = (size_t)(l->end - l->p);
        size_t n = copy_plain(l->p, text, len < room ? len : room);

        l->p += n;
        text += n;
        len -= n;
        if (len == 0)
            return;
        if (n == room) {
            l->cut = true;
            return;
        }
        char escape[ASCII_ESCAPE_LEN];
        ascii_put_escape(escape, *text++);
        log_line_put(l, escape, sizeof(escape));
        len--;
    }
}

static size_t write_u(char *out, uint32_t unit)
{
    const char *hex = ascii_hex_digits;
    const char escape[6] = {
        '\\', 'u', hex[unit >> 12 & 15], hex[unit >> 8 & 15], hex[unit >> 4 & 15], hex[unit & 15]};

    memcpy(out, escape, sizeof(escape));
    return sizeof(escape);
}

/* JSON's escape of the character that text begins with (RFC 8259 7); how long it is, and in *used
 * how long the character. */
static size_t escape_char(char out[ESCAPE_MAX], const char *text, size_t len, size_t *used)
{
    uint32_t code;

    *used = utf8_decode(text, len, &code);
    if (*used == 0) {
        *used = 1;
        return write_u(out, (unsigned char)*text);
    }
    if (code == '"' || code == '\\') {
        out[0] = '\\';
        out[1] = (char)code;
        return 2;
    }
    if (code < 0x10000)
        return write_u(out, code);
    code -= 0x10000;
    size_t n = write_u(out, 0xd800 | code >> 10);
    return n + write_u(out + n, 0xdc00 | (code & 0x3ff));
}

/* The rest of a quoted text, which begins with something to be escaped, or does not fit before
 * end, and the quote after it. */
static void __attribute__((noinline))
put_rest(struct log_line *l, const char *end, const char *text, size_t len)
{
    while (len > 0) {
        char escape[ESCAPE_MAX];
        size_t used, size = escape_char(escape, text, len, &used);

        if (size > (size_t)(end - l->p)) {
            l->cut = true;
            break;
        }
        memcpy(l->p, escape, size);
        l->p += size;
        text += used;
        len -= used;
        size_t room = (size_t)(end - l->p);
        size_t n = copy_plain(l->p, text, len < room ? len : room);
        l->p += n;
        text += n;
        len -= n;
    }
    *l->p++ = '"';
}

void log_line_put_quoted(struct log_line *l, const char *text, size_t len, size_t leave)
{
    char *p = l->p;
    size_t room = (size_t)(l->end - p) - 2 - leave;

    assert(l->end - p >= (ptrdiff_t)leave + 2);
    *p++ = '"';
    size_t n = copy_plain(p, text, len < room ? len : room);
    p += n;
    l->p = p;
    if (n < len) {
        put_rest(l, p + (room - n), text + n, len - n);
        return;
    }
    *p = '"';
    l->p = p + 1;
}

void log_line_put_value(struct log_line *l, const char *text, size_t len, size_t leave)
{
    size_t room = (size_t)(l->end - l->p), n = 0;

    assert(room >= leave + 2);
    if (len <= room - leave)
        n = copy_plain(l->p, text, len);
    if (len == 0 || n < len || memchr(text, ' ', len) || memchr(text, '=', len))
        log_line_put_quoted(l, text, len, leave);
    else
        l->p += n;
}
