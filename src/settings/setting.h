/* SPDX-License-Identifier: MIT
 *
 * setting - the table made of settings.def: what each setting is called, takes and defaults to.
 */
#ifndef GCORN_SETTINGS_SETTING_H
#define GCORN_SETTINGS_SETTING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct config;
struct error;

enum setting_type {
    SETTING_INTEGER,
    SETTING_BOOL,
    SETTING_STRING,
    SETTING_ENUM,
    SETTING_DURATION, /* milliseconds; text 500ms, 30s, 2m, 1h; a plain number is seconds */
    SETTING_SIZE,     /* bytes; text 64KiB or 64k, 16MiB, 1GiB; 10kB, 1MB, 1GB; a plain number */
    SETTING_OCTAL,
    SETTING_LIST, /* of strings */
};

/* One row of the table. NULL, 0 and false: the setting does not have it. */
struct setting {
    enum setting_type type;
    size_t offset;     /* of the field in struct config */
    const char *key;   /* in YAML; upper-cased after GCORN_ in the environment */
    const char *alias; /* a second key */
    const char *flag;  /* without "--"; a BOOL also has "--no-"; key and alias are flags, too */
    const char *flag_alias;
    char short_flag;
    bool nullable;     /* STRING: may be none, written null in YAML and "" elsewhere */
    bool or_number;    /* STRING: in YAML a plain decimal number will do too, such as a user's id */
    bool or_zero;      /* numbers: 0 is good too, although below min */
    bool split_commas; /* LIST: one text may hold several items */
    const char *bare;  /* ENUM: the value of the flag alone, which then needs none */
    bool is_secret;    /* its value is kept out of the log */
    const char *metavar;
    const char *text;  /* the default; NULL: none, or an empty list */
    uint64_t min, max; /* numbers: inclusive bounds of the value; LIST: of the item count */
    const char *word;  /* INTEGER, OCTAL: the word that stands for word_value, */
    int word_value;    /* which no number does */
    const char *const *choices;                        /* ENUM: the names by value, NULL-ended */
    int (*check)(const char *text, struct error *err); /* the form of a STRING, of a LIST's item */
    const char *section;
    const char *brief; /* for -h, which shows only settings that have it: one line */
    const char *help;  /* one paragraph */
};

/* The table, in the order in which everything is printed; *count is its length. */
const struct setting *setting_table(size_t *count);

/* The index of a row in the table. */
size_t setting_index(const struct setting *s);

/* The field of s in c. */
static inline void *setting_field(struct config *c, const struct setting *s)
{
    return (char *)c + s->offset;
}

static inline const void *setting_const_field(const struct config *c, const struct setting *s)
{
    return (const char *)c + s->offset;
}

/* The setting with this key or alias; NULL: no such setting. */
const struct setting *setting_find(const char *key);

/* Fills err with: must be WHAT, not "TEXT". A long text is cut. Returns -1. */
int setting_refuse(struct error *err, const char *what, const char *text);

/* ---- misspelt names ---------------------------------------------------------------------- */

/* Is candidate a likely spelling of name, with fewer edits than *best? Then lowers *best. To be
 * started with SIZE_MAX. Case, '_' and '-' make no difference. */
bool setting_is_near(const char *name, const char *candidate, size_t *best);

/* The setting whose key or flag is nearest to name, nearer than *best; NULL: none is near. */
const struct setting *setting_nearest(const char *name, size_t *best);

/* Why gcorn has no setting of this name although gunicorn has one; NULL: gunicorn has none either.
 * Case, '_' and '-' make no difference. */
const char *setting_why_absent(const char *name);

#endif
