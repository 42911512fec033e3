/* SPDX-License-Identifier: MIT
 *
 * cli_help - --help of gcorn.
 */
#ifndef GCORN_SETTINGS_CLI_HELP_H
#define GCORN_SETTINGS_CLI_HELP_H

#include <stdio.h>

/* Prints every option and its help. The caller asks ferror(out). */
void cli_help_print(FILE *out);

#endif
