/* SPDX-License-Identifier: MIT
 *
 * files - the files of template/, as the program carries them.
 */
#ifndef GCORN_INIT_FILES_H
#define GCORN_INIT_FILES_H

#include <stddef.h>

struct init_file {
    const char *name;
    const char *data; /* without a NUL */
    const char *end;
};

/* The files in the order in which they are written; *count is how many. */
const struct init_file *init_files(size_t *count);

#endif
