/* SPDX-License-Identifier: MIT
 *
 * cli_help - --help and -h of gcorn.
 */
#ifndef GCORN_SETTINGS_CLI_HELP_H
#define GCORN_SETTINGS_CLI_HELP_H

#include <stdio.h>

/* Prints every option and its help. The caller asks ferror(out). */
void cli_help_print(FILE *out);

/* Prints the usual options, those that have a brief text, in a line each. */
void cli_help_print_usual(FILE *out);

#endif
