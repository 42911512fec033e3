/* SPDX-License-Identifier: MIT
 *
 * text - values out of text and back into it: durations, sizes, UTF-8, quoting, and how alike two
 * names are. Pure functions that know no setting.
 */
#ifndef GCORN_SETTINGS_TEXT_H
#define GCORN_SETTINGS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct strbuf;

/* Whole texts: 500ms, 1.5s, 2m, 1h, a plain number is seconds; 64KiB or 64k, 1MiB, 1GiB, 10kB, 1MB,
 * 1GB, 10B, a plain number; 022 or 0o22. Returns 0; or -1 when the text is malformed or is not a
 * whole number of milliseconds or bytes. The case of units makes no difference. */
int text_parse_duration(const char *text, uint64_t *ms);
int text_parse_size(const char *text, uint64_t *size);
int text_parse_octal(const char *text, uint64_t *value);

/* Appends the shortest such text, which gives exactly the same value when it is parsed. */
void text_add_duration(struct strbuf *out, uint64_t ms);
void text_add_size(struct strbuf *out, uint64_t size);
void text_add_octal(struct strbuf *out, uint64_t value);

/* Appends a double-quoted YAML scalar; text is well-formed UTF-8. */
void text_add_quoted(struct strbuf *out, const char *text);

/* Appends up to max characters of any text as UTF-8 on one line, for people: what cannot be shown
 * is a question mark, what is cut off "...". */
void text_add_plain(struct strbuf *out, const char *text, size_t max);

/* The number of edits from a to b: a byte inserted, left out or changed, or two neighbours swapped.
 * Case makes no difference, nor do '_' and '-'. SIZE_MAX for names that are too long to be one. */
size_t text_distance(const char *a, const char *b);

#endif
