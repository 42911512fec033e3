/* SPDX-License-Identifier: MIT
 *
 * environment - settings in environment variables: GCORN_<KEY>, and those of the platform.
 */
#ifndef GCORN_SETTINGS_ENVIRONMENT_H
#define GCORN_SETTINGS_ENVIRONMENT_H

struct config;
struct error;
struct strbuf;

/* env is NULL-ended. The value of a variable, borrowed from env; NULL: it is not set. An empty
 * variable has the value ""; for environment_filled it is not set. */
const char *environment_value(char *const *env, const char *name);
const char *environment_filled(char *const *env, const char *name);

/* Changes defaults to what the platform's variables say: WEB_CONCURRENCY, PORT,
 * FORWARDED_ALLOW_IPS, RUNTIME_DIRECTORY. Returns 0, or -1 with err. */
int environment_set_defaults(struct config *c, char *const *env, struct error *err);

/* Sets what GCORN_<KEY> variables say. Returns 0, or -1 with err. */
int environment_set(struct config *c, char *const *env, struct error *err);

/* Appends a line, "environment GCORN_WROKERS: no such setting, did you mean GCORN_WORKERS?", for each
 * variable of env that begins like gcorn's and is not one of them. Only worth a warning: it may be
 * the application's. Variables that Kubernetes sets for a service called gcorn (GCORN_SERVICE_HOST,
 * GCORN_PORT_...) are left out. */
void environment_add_unknown(char *const *env, struct strbuf *out);

#endif
