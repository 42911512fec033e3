/* SPDX-License-Identifier: MIT
 *
 * See json.h.
 */
#include "base/json.h"

#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"

size_t utf8_decode(const char *text, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc0 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

    if (n == 0 || n > len || s[0] > 0xf4)
        return 0;
    *code = n == 1 ? s[0] : s[0] & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (s[i] & 0x3f);
    }
    return *code >= least[n] && *code <= 0x10ffff && *code >> 11 != 0x1b ? n : 0;
}

/* The character at the start of s as JSON has it: its length in out; *used is its length in s. */
static size_t encode(char out[8], const char *s, size_t len, size_t *used)
{
    uint32_t code = 0;
    size_t n = utf8_decode(s, len, &code);

    *used = n > 0 ? n : 1;
    if (n == 0)
        return (size_t)snprintf(out, 8, "\\ufffd");
    if (code < 0x20 || (code >= 0x7f && code < 0xa0))
        return (size_t)snprintf(out, 8, "\\u%04x", (unsigned)code);
    if (code == '"' || code == '\\')
        return (size_t)snprintf(out, 8, "\\%c", (char)code);
    memcpy(out, s, n);
    return n;
}

void json_add_bytes_max(struct strbuf *out, const char *text, size_t len, size_t max)
{
    size_t room = max - 2, used;
    char piece[8];

    strbuf_addch(out, '"');
    for (size_t i = 0; i < len; i += used) {
        size_t n = encode(piece, text + i, len - i, &used);

        if (n > room)
            break;
        strbuf_add(out, piece, n);
        room -= n;
    }
    strbuf_addch(out, '"');
}

void json_add_bytes(struct strbuf *out, const char *text, size_t len)
{
    json_add_bytes_max(out, text, len, SIZE_MAX);
}

void json_add_string(struct strbuf *out, const char *text)
{
    if (text)
        json_add_bytes(out, text, strlen(text));
    else
        strbuf_addstr(out, "null");
}
