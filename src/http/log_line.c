/* SPDX-License-Identifier: MIT
 *
 * See log_line.h. Nearly all text is plain, so plain runs are copied and checked by the word, eight
 * bytes at a time; what is not plain may take longer.
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

#define EACH_BYTE(n) (UINT64_C(0x0101010101010101) * (n))
/* The top bit of each byte of w that is zero; above one, others may show too. */
#define ZERO_BYTES(w) (((w)-EACH_BYTE(1)) & ~(w))

/* Are all eight bytes plain? */
static bool word_is_plain(uint64_t w)
{
    uint64_t below_blank = (w - EACH_BYTE(0x20)) & ~w;
    uint64_t special = ZERO_BYTES(w ^ EACH_BYTE('"')) | ZERO_BYTES(w ^ EACH_BYTE('\\')) |
                       ZERO_BYTES(w ^ EACH_BYTE(0x7f));

    return ((w | below_blank | special) & EACH_BYTE(0x80)) == 0;
}

/* Copies what is plain at the start of text, at most len bytes, of which out has room for all; how
 * many. */
static inline size_t copy_plain(char *out, const char *text, size_t len)
{
    size_t i = 0;
    uint64_t w;

    for (; i + sizeof(w) <= len; i += sizeof(w)) {
        memcpy(&w, text + i, sizeof(w));
        if (!word_is_plain(w))
            break;
        memcpy(out + i, &w, sizeof(w));
    }
    if (i > 0 && len - i < sizeof(w)) { /* the rest as part of a word, some of it a second time */
        memcpy(&w, text + len - sizeof(w), sizeof(w));
        if (word_is_plain(w)) {
            memcpy(out + len - sizeof(w), &w, sizeof(w));
            return len;
        }
    }
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
    for (size_t i = width; i > 0; n /= 10)
        l->p[--i] = (char)('0' + n % 10);
    l->p += width;
}

void log_line_put_u64(struct log_line *l, uint64_t n)
{
    size_t width = 1;

    for (uint64_t power = 10; width < DIGITS_MAX && n >= power; power *= 10)
        width++;
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
 * end. */
static void put_rest(struct log_line *l, const char *end, const char *text, size_t len)
{
    while (len > 0) {
        char escape[ESCAPE_MAX];
        size_t used, size = escape_char(escape, text, len, &used);

        if (size > (size_t)(end - l->p)) {
            l->cut = true;
            return;
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
}

void log_line_put_quoted(struct log_line *l, const char *text, size_t len, size_t leave)
{
    assert((size_t)(l->end - l->p) >= leave + 2);
    const char *end = l->end - leave - 1;
    *l->p++ = '"';
    size_t room = (size_t)(end - l->p);
    size_t n = copy_plain(l->p, text, len < room ? len : room);
    l->p += n;
    if (n < len)
        put_rest(l, end, text + n, len - n);
    *l->p++ = '"';
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
