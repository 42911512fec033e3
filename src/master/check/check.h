/* SPDX-License-Identifier: MIT
 *
 * check - --check-config: finds the errors that a start with these settings on this machine would
 * end with. It serves nothing and makes, truncates and removes no file.
 */
#ifndef GCORN_MASTER_CHECK_CHECK_H
#define GCORN_MASTER_CHECK_CHECK_H

#include <stdio.h>

struct config;
struct error;

/* Returns 0, after writing each warning as a line to out; or -1 with the error that a start would
 * end with. The current directory must be that of the settings. Loads the application in a child;
 * blocks for that, and to resolve host names. Addresses, pid file and control socket that the
 * running server with these settings holds are no error: advice.h says how that server is
 * recognised. */
int check_start(const struct config *config, FILE *out, struct error *err);

/* At a start: logs a warning for each GCORN_ variable that is not a setting, and for logs that a
 * daemon would lose. */
void check_log_warnings(const struct config *config);

#endif
