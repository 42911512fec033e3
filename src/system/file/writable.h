/* SPDX-License-Identifier: MIT
 *
 * writable - would opening a file for writing succeed? Asked by the effective user and group,
 * without making, truncating or changing anything.
 */
#ifndef GCORN_SYSTEM_FILE_WRITABLE_H
#define GCORN_SYSTEM_FILE_WRITABLE_H

struct privileges;

/* safe_open of path for appending, made if need be. 0, or -1 with the errno that it would get. A
 * FIFO is not opened: its reader would see an end. */
int writable_append(const char *path, const struct privileges *workers);

/* Making (or removing) the name path in its directory. 0, or -1 with errno. */
int writable_new(const char *path);

#endif
