/* SPDX-License-Identifier: MIT
 *
 * json - writing JSON: the one part of it that can go wrong, a string. The rest is strbuf_addf.
 */
#ifndef GCORN_BASE_JSON_H
#define GCORN_BASE_JSON_H

#include <stddef.h>

struct strbuf;

/* Appends len bytes of anything as a JSON string, with its quotes. What is no UTF-8 becomes U+FFFD,
 * and control characters are escaped, also those that JSON would take: the text can be shown on a
 * terminal as it is. */
void json_add_bytes(struct strbuf *out, const char *text, size_t len);

/* The same, cut before the character that would make it longer than max bytes with its quotes. max
 * is 2 at least. */
void json_add_bytes_max(struct strbuf *out, const char *text, size_t len, size_t max);

/* A string, or null for NULL. */
void json_add_string(struct strbuf *out, const char *text);

#endif
