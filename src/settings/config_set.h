/* SPDX-License-Identifier: MIT
 *
 * config_set - the one setter, in which every source of settings ends: file, environment and
 * command line.
 *
 * A value is parsed and checked before anything is stored: a refused one leaves the config as it
 * was. Errors name the reason alone; the caller puts the place in front (error_prefix).
 */
#ifndef GCORN_SETTINGS_CONFIG_SET_H
#define GCORN_SETTINGS_CONFIG_SET_H

struct config;
struct config_origin;
struct error;
struct setting;

/* Gives s the value in text; NULL: no value. A LIST gets text as a further item, or as its only one
 * when its items come from an earlier source. origin->text is kept: it is static or in c->arena.
 * Returns 0, or -1 with err and c unchanged. */
int config_set(struct config *c, const struct setting *s, const char *text,
               const struct config_origin *origin, struct error *err);

/* The same for a text that is the whole value: split at commas if the setting allows it, and an
 * empty text is then an empty list, if it may be. When an item is refused, a list keeps those
 * before it. */
int config_set_text(struct config *c, const struct setting *s, const char *text,
                    const struct config_origin *origin, struct error *err);

/* Makes a LIST empty. */
void config_set_empty(struct config *c, const struct setting *s,
                      const struct config_origin *origin);

#endif
