/* SPDX-License-Identifier: MIT
 *
 * syntax - the small grammars of RFC 9110 and RFC 3986 that requests and answers are held against.
 * Pure functions of bytes.
 */
#ifndef GCORN_HTTP_REQUEST_SYNTAX_H
#define GCORN_HTTP_REQUEST_SYNTAX_H

#include <stdbool.h>
#include <stddef.h>

/* What a byte may be part of. */
enum { SYNTAX_TCHAR = 1, SYNTAX_REG_NAME = 2, SYNTAX_MARK = 4 };
extern const unsigned char syntax_class[256];

/* tchar, RFC 9110 5.6.2: what methods and field names are made of. */
static inline bool syntax_is_tchar(char c)
{
    return syntax_class[(unsigned char)c] & SYNTAX_TCHAR;
}

/* How many tchars p begins with. */
static inline size_t syntax_token_len(const char *p, size_t len)
{
    size_t i = 0;

    while (i < len && syntax_is_tchar(p[i]))
        i++;
    return i;
}

/* The same of a text that something else must end, as the NUL does a string. */
static inline size_t syntax_token_end(const char *s)
{
    const char *p = s;

    while (syntax_is_tchar(*p))
        p++;
    return (size_t)(p - s);
}

/* OWS, RFC 9110 5.6.3. */
static inline bool syntax_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* The index of the first byte of a request line's target that means something there, or len: a
 * blank, '?', '#' or '%'. */
static inline size_t syntax_find_mark(const char *p, size_t len)
{
    size_t i = 0;

    while (i < len && !(syntax_class[(unsigned char)p[i]] & SYNTAX_MARK))
        i++;
    return i;
}

/* Case-insensitive: is p the ASCII text `lower`, which is in lower case and has the same length? */
bool syntax_is(const char *p, size_t len, const char *lower);

/* A field value without the SP and HTAB around it (RFC 9110 5.5). */
void syntax_trim(const char **p, size_t *len);

/* uri-host [":" port], RFC 9110 7.2, without userinfo; may_be_empty: nothing at all will do. */
bool syntax_is_authority(const char *p, size_t len, bool may_be_empty);

/* Splits what is such an authority: the length of its host, brackets included; *port and *port_len
 * are the rest after the colon, empty without one. */
size_t syntax_split_authority(const char *p, size_t len, const char **port, size_t *port_len);

/* Are all percent escapes two hex digits, and none of them %00? */
bool syntax_escapes_ok(const char *p, size_t len);

/* Decodes percent escapes, and '+' to a blank if plus; adds a NUL. out has room for
 * len + 1 bytes and may be p itself. The decoded length. The escapes must be ok. */
size_t syntax_unescape(char *out, const char *p, size_t len, bool plus);

/* The next element of a comma-separated list, trimmed; empty elements are passed over (RFC 9110
 * 5.6.1.2). *list and *len move on. False at the end. */
bool syntax_next_element(const char **list, size_t *len, const char **element, size_t *element_len);

#endif
