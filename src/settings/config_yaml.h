/* SPDX-License-Identifier: MIT
 *
 * config_yaml - settings out of a YAML file: one mapping of keys to values, a value being a scalar,
 * or for a LIST setting also a sequence of scalars. A text in which a list's items stand with
 * commas between is split as it is on the command line. A plain word that YAML takes for a boolean
 * or a number is refused where a setting takes a text, and so is the rest of YAML, all with their
 * place.
 */
#ifndef GCORN_SETTINGS_CONFIG_YAML_H
#define GCORN_SETTINGS_CONFIG_YAML_H

#include <stddef.h>

struct config;
struct error;
struct strbuf;

/* Appends the bytes of the file to data. 0, or -1 with err (EXIT_USAGE). */
int config_yaml_read(const char *path, struct strbuf *data, struct error *err);

/* Takes the settings from the bytes of a file; name is for messages and origins. 0, or -1 with err
 * ("file:line:column: reason"); c may then have taken some of the values and is only good for
 * config_release. */
int config_yaml_parse(struct config *c, const char *name, const char *data, size_t len,
                      struct error *err);

#endif
