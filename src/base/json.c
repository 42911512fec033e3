/* SPDX-License-Identifier: MIT
 *
 * See json.h.
 */
#include "base/json.h"

#include <stdint.h>
#include <string.h>

#include "base/strbuf.h"

/* The length of the character (RFC 3629) at the start of s, 0 when there is none; its number. */
static size_t decode(const unsigned char *s, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
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

void json_add_bytes(struct strbuf *out, const char *text, size_t len)
{
    strbuf_addch(out, '"');
    for (size_t i = 0, n; i<len; i += n> 0 ? n : 1) {
        uint32_t code = 0;

        n = decode((const unsigned char *)text + i, len - i, &code);
        if (n == 0)
            strbuf_addstr(out, "\\ufffd");
        else if (code < 0x20 || (code >= 0x7f && code < 0xa0))
            strbuf_addf(out, "\\u%04x", (unsigned)code);
        else if (code == '"' || code == '\\')
            strbuf_addf(out, "\\%c", (char)code);
        else
            strbuf_add(out, text + i, n);
    }
    strbuf_addch(out, '"');
}

void json_add_string(struct strbuf *out, const char *text)
{
    if (text)
        json_add_bytes(out, text, strlen(text));
    else
        strbuf_addstr(out, "null");
}
