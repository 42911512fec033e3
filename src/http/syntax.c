/* SPDX-License-Identifier: MIT
 *
 * See syntax.h.
 */
#include "http/syntax.h"

#include <arpa/inet.h>
#include <string.h>

/* T: a tchar; R: a character of a registered name (unreserved and sub-delims, RFC 3986 2.2, 2.3).
 */
#define T SYNTAX_TCHAR
#define R SYNTAX_REG_NAME
#define B (T | R)

/* clang-format off */
const unsigned char syntax_class[256] = {
    ['!'] = B, ['#'] = T, ['$'] = B, ['%'] = T, ['&'] = B, ['\''] = B, ['('] = R, [')'] = R,
    ['*'] = B, ['+'] = B, [','] = R, ['-'] = B, ['.'] = B, [';'] = R, ['='] = R, ['^'] = T,
    ['_'] = B, ['`'] = T, ['|'] = T, ['~'] = B,
    ['0'] = B, ['1'] = B, ['2'] = B, ['3'] = B, ['4'] = B, ['5'] = B, ['6'] = B, ['7'] = B,
    ['8'] = B, ['9'] = B,
    ['A'] = B, ['B'] = B, ['C'] = B, ['D'] = B, ['E'] = B, ['F'] = B, ['G'] = B, ['H'] = B,
    ['I'] = B, ['J'] = B, ['K'] = B, ['L'] = B, ['M'] = B, ['N'] = B, ['O'] = B, ['P'] = B,
    ['Q'] = B, ['R'] = B, ['S'] = B, ['T'] = B, ['U'] = B, ['V'] = B, ['W'] = B, ['X'] = B,
    ['Y'] = B, ['Z'] = B,
    ['a'] = B, ['b'] = B, ['c'] = B, ['d'] = B, ['e'] = B, ['f'] = B, ['g'] = B, ['h'] = B,
    ['i'] = B, ['j'] = B, ['k'] = B, ['l'] = B, ['m'] = B, ['n'] = B, ['o'] = B, ['p'] = B,
    ['q'] = B, ['r'] = B, ['s'] = B, ['t'] = B, ['u'] = B, ['v'] = B, ['w'] = B, ['x'] = B,
    ['y'] = B, ['z'] = B,
};
/* clang-format on */

#undef T
#undef R
#undef B

bool syntax_is_token(const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!syntax_is_tchar(p[i]))
            return false;
    }
    return len > 0;
}

bool syntax_is(const char *p, size_t len, const char *lower)
{
    for (size_t i = 0; i < len; i++) {
        char c = p[i] >= 'A' && p[i] <= 'Z' ? (char)(p[i] | 0x20) : p[i];

        if (c != lower[i])
            return false;
    }
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

void syntax_trim(const char **p, size_t *len)
{
    while (*len > 0 && is_blank((*p)[0])) {
        (*p)++;
        (*len)--;
    }
    while (*len > 0 && is_blank((*p)[*len - 1]))
        (*len)--;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_escape(const char *p, size_t len)
{
    return len >= 3 && p[0] == '%' && hex_value(p[1]) >= 0 && hex_value(p[2]) >= 0;
}

static inline bool is_reg_name_char(char c)
{
    return syntax_class[(unsigned char)c] & SYNTAX_REG_NAME;
}

/* "v" 1*HEXDIG "." 1*( unreserved / sub-delims / ":" ), RFC 3986 3.2.2. */
static bool is_future_address(const char *p, size_t len)
{
    size_t i = 1;

    if (len == 0 || (p[0] | 0x20) != 'v')
        return false;
    while (i < len && hex_value(p[i]) >= 0)
        i++;
    if (i == 1 || i + 1 >= len || p[i] != '.')
        return false;
    while (++i < len && (is_reg_name_char(p[i]) || p[i] == ':'))
        ;
    return i == len;
}

static bool is_ipv6_address(const char *p, size_t len)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN];

    if (len >= sizeof(text) || memchr(p, '\0', len))
        return false;
    memcpy(text, p, len);
    text[len] = '\0';
    return inet_pton(AF_INET6, text, &address) == 1;
}

/* The length of the host at the start of p, or -1: [address] or a registered name. */
static long host_len(const char *p, size_t len)
{
    size_t i = 0;

    if (len > 0 && p[0] == '[') {
        const char *end = memchr(p, ']', len);
        size_t address_len = end ? (size_t)(end - p) - 1 : 0;

        return is_ipv6_address(p + 1, address_len) || is_future_address(p + 1, address_len)
                   ? (long)address_len + 2
                   : -1;
    }
    while (i < len && p[i] != ':') {
        if (is_reg_name_char(p[i]))
            i++;
        else if (is_escape(p + i, len - i))
            i += 3;
        else
            return -1;
    }
    return (long)i;
}

bool syntax_is_authority(const char *p, size_t len, bool may_be_empty)
{
    if (len == 0)
        return may_be_empty;
    long host = host_len(p, len);
    if (host <= 0)
        return false;
    if ((size_t)host == len)
        return true;
    if (p[host] != ':')
        return false;
    unsigned long port = 0;
    for (size_t i = (size_t)host + 1; i < len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        port = port * 10 + (unsigned long)(p[i] - '0');
        if (port > 65535)
            return false;
    }
    return true; /* also "host:", whose port is empty (RFC 3986 3.2.3) */
}

bool syntax_escapes_ok(const char *p, size_t len)
{
    const char *end = p + len;

    while ((p = memchr(p, '%', (size_t)(end - p)))) {
        if (!is_escape(p, (size_t)(end - p)) || (p[1] == '0' && p[2] == '0'))
            return false;
        p += 3;
    }
    return true;
}

size_t syntax_unescape(char *out, const char *p, size_t len, bool plus)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++) {
        if (p[i] == '%' && is_escape(p + i, len - i)) {
            out[n++] = (char)(hex_value(p[i + 1]) << 4 | hex_value(p[i + 2]));
            i += 2;
        } else {
            out[n++] = plus && p[i] == '+' ? ' ' : p[i];
        }
    }
    out[n] = '\0';
    return n;
}

bool syntax_next_element(const char **list, size_t *len, const char **element, size_t *element_len)
{
    while (*len > 0) {
        const char *comma = memchr(*list, ',', *len);
        size_t n = comma ? (size_t)(comma - *list) : *len;

        *element = *list;
        *element_len = n;
        *list += comma ? n + 1 : n;
        *len -= comma ? n + 1 : n;
        syntax_trim(element, element_len);
        if (*element_len > 0)
            return true;
    }
    return false;
}
