/* SPDX-License-Identifier: MIT
 *
 * config - the settings: one struct with a field for each row of settings.def, built from all
 * sources by config_load.h. settings/ is where settings come from, and how they are shown.
 *
 * A struct config is const once it is loaded. A reload loads a second one and replaces the first:
 * nothing in the struct points into the struct, so it may be copied by assignment.
 */
#ifndef GCORN_SETTINGS_CONFIG_H
#define GCORN_SETTINGS_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/arena.h"
#include "settings/worker_classes.h"

struct error;
struct setting;

/* The values of the ENUM settings; loglevel's are enum log_level (base/log.h). */
enum worker_class { WORKER_CLASSES(WORKER_CLASS_ID) };

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

/* The action that the command line asks for. Of several the highest is done, so --help always
 * works. */
enum config_action {
    CONFIG_RUN,
    CONFIG_REPLAY,  /* --replay */
    CONFIG_CHECK,   /* --check-config */
    CONFIG_PRINT,   /* --print-config */
    CONFIG_SAMPLE,  /* --print-sample; from here on no file and no variable is read */
    CONFIG_INIT,    /* --init */
    CONFIG_VERSION, /* --version */
    CONFIG_USAGE,   /* -h */
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
    const char *text; /* shown: "default", "gunicorn-c.yaml:3", "environment GCORN_BIND" */
};

struct config_list {
    const char *const *items;
    size_t count;
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
    const char *action_path;       /* of --replay or --init, absolute */
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

/* Sets all defaults. To be released. */
void config_init(struct config *c);
void config_release(struct config *c);

/* Where the value of s in c comes from, and the items of s, which is a LIST. Borrowed from c. */
const struct config_origin *config_origin(const struct config *c, const struct setting *s);
const struct config_list *config_list(const struct config *c, const struct setting *s);

/* Checks c as a whole: it has the settings that its action needs. Returns 0, or -1 with err. */
int config_check(const struct config *c, struct error *err);

/* How many threads run the application in each worker; 0: the loop's thread does (sync). As in
 * gunicorn, threads above 1 choose the gthread class. */
unsigned config_threads(const struct config *c);

/* The class of workers that the settings choose: more than one thread makes of a class without
 * threads gthread. */
enum worker_class config_worker_class(const struct config *c);
const char *config_worker_class_name(const struct config *c);

/* Replaces workers "auto" by 2 x cores + 1; a given number stays. The origin then says how many
 * cores and why, in the words of how: "2 cores (cgroup quota 2 CPUs)"; NULL: only their number. */
void config_resolve_workers(struct config *c, int cores, const char *how);

/* Replaces umask "inherit" by the mask that the process was started with; a given one stays. */
void config_resolve_umask(struct config *c, mode_t inherited);

#endif
