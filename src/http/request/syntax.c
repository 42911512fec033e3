/* SPDX-License-Identifier: MIT
 *
 * See syntax.h.
 */
#include "http/request/syntax.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

#include "base/ascii.h"

/* T: a tchar; R: a character of a registered name (unreserved and sub-delims, RFC 3986 2.2, 2.3);
 * M: a mark in a target. */
#define T SYNTAX_TCHAR
#define R SYNTAX_REG_NAME
#define M SYNTAX_MARK
#define B (T | R)

/* clang-format off */
const unsigned char syntax_class[256] = {
    [' '] = M, ['?'] = M, ['#'] = M | T, ['%'] = M | T,
    ['!'] = B, ['$'] = B, ['&'] = B, ['\''] = B, ['('] = R, [')'] = R,
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
#undef M
#undef B

/* Of bytes in a word: do they differ in more than the case of letters? A byte of `lower`, below
 * 0x80, from 'a' on reaches 0x80 when 0x1f is added, and one after 'z' already with 5; what lies
 * between may differ in bit 5. */
static inline bool words_differ(uint64_t word, uint64_t lower)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t may_differ = ((lower + ones * 0x1f) & ~(lower + ones * 5) & ones << 7) >> 2;

    return ((word ^ lower) & ~may_differ) != 0;
}

static inline uint64_t load_4(const char *p)
{
    uint32_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

static inline uint64_t load_8(const char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof(word));
    return word;
}

/* In steps of a word, of which the last may overlap the one before: by single bytes a browser's
 * request costs 5,896 user instructions in place of 5,770. */
bool syntax_is(const char *p, size_t len, const char *lower)
{
    size_t i = 0;

    if (len >= 8) {
        for (; i + 8 < len; i += 8) {
            if (words_differ(load_8(p + i), load_8(lower + i)))
                return false;
        }
        return !words_differ(load_8(p + len - 8), load_8(lower + len - 8));
    }
    if (len >= 4)
        return !words_differ(load_4(p), load_4(lower)) &&
               !words_differ(load_4(p + len - 4), load_4(lower + len - 4));
    for (; i < len; i++) {
        if (words_differ((unsigned char)p[i], (unsigned char)lower[i]))
            return false;
    }
    return true;
}

void syntax_trim(const char **p, size_t *len)
{
    while (*len > 0 && syntax_is_blank((*p)[0])) {
        (*p)++;
        (*len)--;
    }
    while (*len > 0 && syntax_is_blank((*p)[*len - 1]))
        (*len)--;
}

static bool is_escape(const char *p, size_t len)
{
    return len >= 3 && p[0] == '%' && ascii_hex_value(p[1]) >= 0 && ascii_hex_value(p[2]) >= 0;
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
    while (i < len && ascii_hex_value(p[i]) >= 0)
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

/* The length of the [address] at the start of p, or 0. */
static size_t literal_len(const char *p, size_t len)
{
    const char *end = memchr(p, ']', len);
    size_t address_len = end ? (size_t)(end - p) - 1 : 0;

    if (!is_ipv6_address(p + 1, address_len) && !is_future_address(p + 1, address_len))
        return 0;
    return address_len + 2;
}

/* The length of the registered name at the start of p, an IPv4 address among them. */
static size_t reg_name_len(const char *p, size_t len)
{
    const char *at = p, *end = p + len;

    for (;;) {
        while (at < end && is_reg_name_char(*at))
            at++;
        if (at == end || !is_escape(at, (size_t)(end - at)))
            return (size_t)(at - p);
        at += 3;
    }
}

/* *DIGIT (RFC 3986 3.2.3), of a number that a port can have. */
static bool is_port(const char *p, size_t len)
{
    const char *end = p + len;
    unsigned port = 0;

    while (p < end && *p == '0')
        p++;
    if (end - p > 5)
        return false;
    for (; p < end; p++) {
        unsigned digit = (unsigned char)*p - '0';

        if (digit > 9)
            return false;
        port = port * 10 + digit;
    }
    return port <= 65535;
}

bool syntax_is_authority(const char *p, size_t len, bool may_be_empty)
{
    if (len == 0)
        return may_be_empty;
    size_t host = p[0] == '[' ? literal_len(p, len) : reg_name_len(p, len);
    if (host == 0 || host == len)
        return host > 0;
    return p[host] == ':' && is_port(p + host + 1, len - host - 1);
}

size_t syntax_split_authority(const char *p, size_t len, const char **port, size_t *port_len)
{
    const char *bracket = len > 0 && p[0] == '[' ? memchr(p, ']', len) : NULL;
    const char *from = bracket ? bracket : p;
    const char *colon = memchr(from, ':', (size_t)(p + len - from));
    size_t host_len = colon ? (size_t)(colon - p) : len;

    *port = p + host_len + (colon != NULL);
    *port_len = (size_t)(p + len - *port);
    return host_len;
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
            out[n++] = (char)(ascii_hex_value(p[i + 1]) << 4 | ascii_hex_value(p[i + 2]));
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
