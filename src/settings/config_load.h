/* SPDX-License-Identifier: MIT
 *
 * config_load - the settings from all sources; a later source wins:
 *
 *   defaults (WEB_CONCURRENCY and PORT among them)
 *   < the YAML file: -c FILE, GCORN_CONFIG, or gunicorn-c.yaml if it exists
 *   < GCORN_<KEY> variables < options in GCORN_CMD_ARGS < the command line
 */
#ifndef GCORN_SETTINGS_CONFIG_LOAD_H
#define GCORN_SETTINGS_CONFIG_LOAD_H

#include <stdbool.h>

#include "base/strbuf.h"

struct config;
struct error;

/* The settings file as it was read, so that the same settings can be loaded again without the disk.
 * Zeroed: not read yet. The bytes are the caller's to free. */
struct config_file {
    bool is_read;
    bool is_there; /* false: the default file, which may be absent */
    struct strbuf bytes;
};

/* Builds c from all sources and checks it. Returns 0, or -1 with one line in err (EXIT_USAGE) and
 * nothing in c to release. argv and env (NULL-ended) are only read. Relative names of files are
 * resolved in the working directory: a caller that has changed it goes back before it loads again.
 * From CONFIG_SAMPLE on, c->action is all that counts. */
int config_load(struct config *c, int argc, char *const *argv, char *const *env, struct error *err);

/* The same with a file of the caller's, which is read unless it is_read already. Then nothing
 * blocks. */
int config_load_file(struct config *c, struct config_file *file, int argc, char *const *argv,
                     char *const *env, struct error *err);

#endif
