/* SPDX-License-Identifier: MIT
 *
 * utf8 - the one decoder of UTF-8 (RFC 3629) and the questions that text from outside raises. All
 * functions are async-signal-safe.
 */
#ifndef GCORN_BASE_UTF8_H
#define GCORN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Decodes the character at the start of len bytes: returns its length, 1 to 4, and its number in
 * *code. 0 when the bytes begin with no whole, well-formed character: overlong forms and surrogates
 * are not. */
size_t utf8_decode(const char *text, size_t len, uint32_t *code);

/* len, less the bytes of a character at its end that would be cut in two. */
size_t utf8_whole(const char *text, size_t len);

/* Is all of the text well-formed? */
bool utf8_is_valid(const char *text);

/* Is it a control character? Also U+0080 to U+009F are: one of them begins escape sequences on some
 * terminals. */
static inline bool utf8_is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0);
}

#endif
