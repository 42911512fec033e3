/* SPDX-License-Identifier: MIT
 *
 * init/ begins an application: `gcorn --init DIR`. The files that it writes are in template/, each
 * with .in after its name, and are part of the program (files.c).
 */
#ifndef GCORN_INIT_INIT_H
#define GCORN_INIT_INIT_H

#include <stdio.h>

struct error;

/* Writes a small application into the directory path, which is made if it does not exist, and says
 * on out what to type next. Its parent has to exist. Returns 0, or -1 with err: the directory is not
 * empty, or cannot be written; then nothing of what was written stays. */
int init_write(const char *path, FILE *out, struct error *err);

#endif
