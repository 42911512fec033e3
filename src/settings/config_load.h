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

struct config;
struct error;

/* Builds c from all sources and checks it. Returns 0, or -1 with one line in err (EXIT_USAGE) and
 * nothing in c to release. argv and env (NULL-ended) are only read. Relative names of files are
 * resolved in the working directory: a caller that has changed it goes back before it loads again.
 * From CONFIG_SAMPLE on, c->action is all that counts. */
int config_load(struct config *c, int argc, char *const *argv, char *const *env, struct error *err);

#endif
