/* SPDX-License-Identifier: MIT
 *
 * config_cli - the command line and the environment, and config_load, which joins all sources:
 *
 *   defaults (WEB_CONCURRENCY and PORT among them)
 *   < the YAML file: -c FILE, GCORN_CONFIG, or gunicorn-c.yaml if there is one
 *   < GCORN_<KEY> variables < options in GCORN_CMD_ARGS < the command line
 */
#ifndef GCORN_SETTINGS_CLI_H
#define GCORN_SETTINGS_CLI_H

#include <stdio.h>

struct config;
struct error;
struct strbuf;

/* Builds c from all sources, checked. 0, or -1 with one line in err (EXIT_USAGE) and nothing in c
 * to release. argv and env (NULL-ended) are only read. A file's relative name is meant from the
 * working directory of the moment: whoever has changed it goes back before loading again. From
 * CONFIG_SAMPLE on c->action is all that counts. */
int config_load(struct config *c, int argc, char *const *argv, char *const *env, struct error *err);

/* Appends a line, "environment GCORN_WROKERS: no such setting, did you mean GCORN_WORKERS?", for
 * each variable of env that begins as ours do and is none. Only a warning: what begins so may be
 * the application's. What Kubernetes sets for a service called gcorn (GCORN_SERVICE_HOST,
 * GCORN_PORT_...) is known to be somebody else's. */
void config_add_unknown_variables(char *const *env, struct strbuf *out);

/* --help. */
void config_print_help(FILE *out);

#endif
