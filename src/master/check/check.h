/* SPDX-License-Identifier: MIT
 *
 * check - --check-config: what would go wrong at a start with these settings on this machine, found
 * without serving and without making, truncating or removing anything.
 */
#ifndef GCORN_MASTER_CHECK_CHECK_H
#define GCORN_MASTER_CHECK_CHECK_H

#include <stdio.h>

struct config;
struct error;

/* 0, with a line to out for each thing that is no error and worth mending; or -1 with the error
 * that a start would end with. The process is in the directory of the settings. Loads the
 * application in a child; blocks for that, and to resolve host names. What the running server of
 * these very settings holds (addresses, pid file, control socket) is no error: advice.h says how it
 * is told. */
int check_start(const struct config *config, FILE *out, struct error *err);

/* At start: warns in the log of GCORN_ variables that are not settings, and of logs that a daemon
 * loses. */
void check_log_warnings(const struct config *config);

#endif
