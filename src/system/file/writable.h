/* SPDX-License-Identifier: MIT
 *
 * writable - would opening a file for writing succeed for the effective user and group? Finds out
 * without making, truncating or changing anything.
 */
#ifndef GCORN_SYSTEM_FILE_WRITABLE_H
#define GCORN_SYSTEM_FILE_WRITABLE_H

struct privileges;

/* For safe_open of path with O_APPEND and O_CREAT. Returns 0, or -1 with the errno that it would
 * set. A FIFO is not opened, because its reader would then see the end. */
int writable_append(const char *path, const struct privileges *workers);

/* For making or removing the name path in its directory. Returns 0, or -1 with errno. */
int writable_new(const char *path);

#endif
