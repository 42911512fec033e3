/* SPDX-License-Identifier: MIT
 *
 * cli - the command line, and GCORN_CMD_ARGS, which is read the same way.
 *
 * The words of a source are read twice by the same code: first for what must be known before anything
 * is set (the action, the file), which also finds misspelt options first; later to set the settings,
 * when it is this source's turn.
 */
#ifndef GCORN_SETTINGS_CLI_H
#define GCORN_SETTINGS_CLI_H

#include <stdbool.h>
#include <stddef.h>

#include "settings/config.h"

struct error;

#define CLI_DEFAULT_FILE "gunicorn-c.yaml"

/* An option that is not a setting. */
struct cli_command {
    const char *flag; /* NULL: there is the short one alone */
    char short_flag;
    const char *metavar; /* of a file or directory; NULL: takes no value */
    enum config_action action;
    const char *help;
    const char *brief; /* for -h; NULL: only --help shows it */
};

const struct cli_command *cli_commands(size_t *count);

/* The words of one source. */
struct cli {
    struct config *c;
    char *const *words; /* NULL-ended */
    struct config_origin origin;
    bool applies; /* the second time: set; else find only the action and the file */
    bool has_app;
    const char *file; /* of -c; NULL: none */
};

/* Reads all words. applies: sets the settings; else notes only the file, and the action in c. Returns
 * 0, or -1 with err. */
int cli_read(struct cli *w, bool applies, struct error *err);

/* Splits text into words as a shell does, quotes and backslashes included. Returns them NULL-ended in
 * the arena; NULL with err. */
char *const *cli_split(const char *text, struct arena *a, struct error *err);

#endif
