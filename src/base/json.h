/* SPDX-License-Identifier: MIT
 *
 * json - strings in JSON. The rest of JSON is written by strbuf_addf.
 */
#ifndef GCORN_BASE_JSON_H
#define GCORN_BASE_JSON_H

#include <stddef.h>

struct strbuf;

/* Appends len bytes of any kind as a JSON string with its quotes. Invalid UTF-8 becomes U+FFFD.
 * Control characters are escaped, also those that JSON allows, so that the text is safe to show on
 * a terminal. */
void json_add_bytes(struct strbuf *out, const char *text, size_t len);

/* The same, at most max bytes long with its quotes: cut before the character that does not fit. max
 * is at least 2. */
void json_add_bytes_max(struct strbuf *out, const char *text, size_t len, size_t max);

/* Appends a string, or null for NULL. */
void json_add_string(struct strbuf *out, const char *text);

#endif
