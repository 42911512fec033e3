/* SPDX-License-Identifier: MIT
 *
 * config - the settings: one struct with a field for each row of settings.def, the table of those
 * rows, and the one setter that every source (file, environment, command line) ends in.
 *
 * Life: config_load (cli.h) builds a whole, checked struct config, which is const from then
 * on; config_release ends it. A reload loads a second one and swaps it in when all is well: nothing
 * in the struct points into the struct, so it may be copied by assignment.
 */
#ifndef GCORN_SETTINGS_CONFIG_H
#define GCORN_SETTINGS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <stdio.h>

#include "base/arena.h"

struct error;
struct strbuf;

/* The values of the ENUM settings; loglevel's are enum log_level (base/log.h). */
enum worker_class {
    WORKER_CLASS_SYNC,
    WORKER_CLASS_GTHREAD,
};

enum header_map {
    HEADER_MAP_DROP,
    HEADER_MAP_REFUSE,
    HEADER_MAP_DANGEROUS,
};

enum proxy_protocol {
    PROXY_PROTOCOL_OFF,
    PROXY_PROTOCOL_V1,
    PROXY_PROTOCOL_V2,
    PROXY_PROTOCOL_AUTO,
};

/* What the command line asks for. Of several the greatest is done, so --help always helps. */
enum config_action {
    CONFIG_RUN,
    CONFIG_REPLAY,  /* --replay */
    CONFIG_CHECK,   /* --check-config */
    CONFIG_PRINT,   /* --print-config */
    CONFIG_SAMPLE,  /* --print-sample; from here on no file and no variable is read */
    CONFIG_VERSION, /* --version */
    CONFIG_HELP,    /* --help */
};

/* Where a value came from; a later source wins over an earlier one. */
enum config_source {
    SOURCE_DEFAULT, /* also the platform's WEB_CONCURRENCY, PORT and the like */
    SOURCE_FILE,
    SOURCE_ENVIRONMENT, /* GCORN_<KEY> */
    SOURCE_CMD_ARGS,    /* GCORN_CMD_ARGS */
    SOURCE_COMMAND_LINE,
    SOURCE_PASSED, /* sockets of the service manager (master/upgrade/socket_activation.h) */
};

struct config_origin {
    enum config_source source;
    const char *text; /* for people: "default", "gunicorn-c.yaml:3", "environment GCORN_BIND" */
};

struct config_list {
    const char *const *items;
    size_t count;
};

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

#define FIELD_INTEGER  int
#define FIELD_BOOL     bool
#define FIELD_STRING   const char * /* NULL: none */
#define FIELD_ENUM     int
#define FIELD_DURATION uint64_t
#define FIELD_SIZE     uint64_t
#define FIELD_OCTAL    int
#define FIELD_LIST     struct config_list

struct config {
#define SETTING(type, field, ...) FIELD_##type field;
#include "settings/settings.def"
#undef SETTING
    enum config_action action;
    const char *config_file;       /* the YAML file that was read; NULL: none */
    const char *replay_file;       /* --replay's, absolute */
    const char *dir;               /* the working directory, by the name that leads there */
    struct config_origin *origins; /* one for each row, in the table's order */
    struct arena arena;            /* owns every string, list and origin */
};

#undef FIELD_INTEGER
#undef FIELD_BOOL
#undef FIELD_STRING
#undef FIELD_ENUM
#undef FIELD_DURATION
#undef FIELD_SIZE
#undef FIELD_OCTAL
#undef FIELD_LIST

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
    const char *help; /* one paragraph */
};

/* The table, in the order in which everything is printed. */
const struct setting *config_settings(size_t *count);

/* The setting with this key or alias, or NULL. */
const struct setting *config_find(const char *key);

/* Is candidate near to name, and nearer than *best edits? Then *best is lowered. Start it at
 * SIZE_MAX. Case, '_' and '-' make no difference. */
bool config_is_near(const char *name, const char *candidate, size_t *best);

/* The setting whose key or flag is so near to this misspelt name, or NULL. */
const struct setting *config_nearest(const char *name, size_t *best);

/* Why gcorn does without a setting of gunicorn's, for people, or NULL. Case, '_' and '-' make no
 * difference. */
const char *config_why_absent(const char *name);

/* All defaults. */
void config_init(struct config *c);
void config_release(struct config *c);

/* The one setter: gives s the value that text says; a list gets it as a further item, or as its
 * only one when what it has is of an earlier source. text NULL is none. origin->text is kept, so it
 * is static or in c->arena. 0, or -1 with the reason in err (no place, no name) and c unchanged. */
int config_set(struct config *c, const struct setting *s, const char *text,
               const struct config_origin *origin, struct error *err);

/* The same for a text that is the whole value: it is split at commas if the setting says so, and an
 * empty one is then an empty list if that may be. A list may keep the items before the one that is
 * refused. */
int config_set_text(struct config *c, const struct setting *s, const char *text,
                    const struct config_origin *origin, struct error *err);

/* Makes a list empty. */
void config_clear(struct config *c, const struct setting *s, const struct config_origin *origin);

const struct config_origin *config_origin(const struct config *c, const struct setting *s);
const struct config_list *config_list(const struct config *c, const struct setting *s);

/* What no single setting can know: is all there that c->action needs? 0, or -1 with err. */
int config_check(const struct config *c, struct error *err);

/* How many threads run the application in each worker; 0: the worker's own, the sync class. As
 * gunicorn does, more than one are enough to ask for the gthread class. */
unsigned config_threads(const struct config *c);

/* Replaces auto workers by 2 x cores + 1; no change when a number was given. For the origin `how`
 * says how many and why, as cores_available() does: "2 cores (cgroup quota 2 CPUs)"; NULL: only the
 * number. */
void config_resolve_workers(struct config *c, int cores, const char *how);

/* Replaces umask inherit by what the process was started with; no change when one was given. */
void config_resolve_umask(struct config *c, mode_t inherited);

/* --print-config: every key as YAML, its origin as a comment. Read with -c it gives the same
 * values. */
void config_print(const struct config *c, FILE *out);

/* Appends the value as it stands there. */
void config_add_value(struct strbuf *out, const struct config *c, const struct setting *s);

/* --print-sample: the commented gunicorn-c.yaml. */
void config_print_sample(FILE *out);

/* Appends "workers 4 -> 8, timeout 30s -> 60s", and returns how many settings differ. A secret
 * one's values are left out: "raw_env changed". */
size_t config_diff(const struct config *before, const struct config *after, struct strbuf *out);

/* Prints text and a newline, broken into lines of at most 79 columns; every line but the first
 * begins with prefix, the first stands at column already. */
void config_wrap(FILE *out, size_t column, const char *prefix, const char *text);

#endif
