/* SPDX-License-Identifier: MIT
 *
 * See utf8.h.
 */
#include "base/utf8.h"

#include <string.h>

size_t utf8_decode(const char *text, size_t len, uint32_t *code)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    const unsigned char *s = (const unsigned char *)text;

    if (len == 0)
        return 0;
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

size_t utf8_whole(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];

        if (c >= 0xc0) /* a first byte */
            return (c >= 0xf0 ? 4u : c >= 0xe0 ? 3u : 2u) > back ? len - back : len;
        if (c < 0x80)
            break;
    }
    return len;
}

bool utf8_is_valid(const char *text)
{
    size_t len = strlen(text), used;
    uint32_t code;

    for (size_t i = 0; i < len; i += used) {
        used = utf8_decode(text + i, len - i, &code);
        if (used == 0)
            return false;
    }
    return true;
}
