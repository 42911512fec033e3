/* SPDX-License-Identifier: MIT
 *
 * See json.h.
 */
#include "base/json.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/utf8.h"

/* Encodes the character at the start of s. Returns its length in out; *used is its length in s. */
static size_t encode(char out[8], const char *s, size_t len, size_t *used)
{
    uint32_t code = 0;
    size_t n = utf8_decode(s, len, &code);

    *used = n > 0 ? n : 1;
    if (n == 0)
        return (size_t)snprintf(out, 8, "\\ufffd");
    if (utf8_is_control(code))
        return (size_t)snprintf(out, 8, "\\u%04x", (unsigned)code);
    if (code == '"' || code == '\\')
        return (size_t)snprintf(out, 8, "\\%c", (char)code);
    memcpy(out, s, n);
    return n;
}

void json_add_bytes_max(struct strbuf *out, const char *text, size_t len, size_t max)
{
    assert(max >= 2);
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
