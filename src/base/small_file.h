/* SPDX-License-Identifier: MIT
 *
 * small_file - reading a file whose size is bounded: of /proc, /sys and cgroups, and settings. Such
 * files have no size that stat(2) tells, so they are read to their end.
 */
#ifndef GCORN_BASE_SMALL_FILE_H
#define GCORN_BASE_SMALL_FILE_H

#include <stddef.h>
#include <sys/types.h>

struct strbuf;

/* Appends the whole file to out. Returns 0, or -1 with errno: EFBIG when it is longer than max
 * bytes, EISDIR for a directory. out then holds a part of it. */
int small_file_read(const char *path, size_t max, struct strbuf *out);

/* Reads the first bytes of the file, at most size - 1, and ends them with a NUL. Returns how many,
 * or -1 with errno and text "". Allocates nothing; async-signal-safe. */
ssize_t small_file_start(const char *path, char *text, size_t size);

#endif
