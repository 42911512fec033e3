/* SPDX-License-Identifier: MIT
 *
 * config_print - the settings as text: --print-config, --print-sample, and what a reload changes.
 * What is printed reads back as the same value (config_set.h). The caller tests ferror(out).
 */
#ifndef GCORN_SETTINGS_CONFIG_PRINT_H
#define GCORN_SETTINGS_CONFIG_PRINT_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct config;
struct setting;
struct strbuf;

/* Prints every key and value as YAML, with its origin as a comment (--print-config). Read with -c
 * it gives the same values. */
void config_print(const struct config *c, FILE *out);

/* Prints the commented gunicorn-c.yaml with all defaults (--print-sample). */
void config_print_sample(FILE *out);

/* Appends the value of s as it stands in YAML. */
void config_print_value(struct strbuf *out, const struct config *c, const struct setting *s);

/* Appends a number of a type that has numbers, in its unit. */
void config_print_number(struct strbuf *out, const struct setting *s, uint64_t value);

/* Appends "workers 4 -> 8, timeout 30s -> 60s" and returns how many settings differ. Values of a
 * secret one are left out: "raw_env changed". */
size_t config_print_diff(const struct config *before, const struct config *after,
                         struct strbuf *out);

/* Prints text and a newline, broken into lines of at most 79 columns. The first line continues at
 * column; every other one begins with prefix. */
void config_print_wrapped(FILE *out, size_t column, const char *prefix, const char *text);

#endif
