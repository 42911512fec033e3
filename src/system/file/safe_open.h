/* SPDX-License-Identifier: MIT
 *
 * safe_open - open(2) by a privileged process, in a directory where the workers' user may write. A
 * worker that a client has taken over could put a symbolic link there, to a file that only root may
 * open, and be given the descriptor.
 */
#ifndef GCORN_SYSTEM_FILE_SAFE_OPEN_H
#define GCORN_SYSTEM_FILE_SAFE_OPEN_H

#include <sys/types.h>

struct privileges;

/* As open(2), close-on-exec, but no component of the path is a symbolic link that the workers' user
 * owns or that lies where it may write (ELOOP), nor is the result a file of another user with a
 * second name (hard link) that lies where it may write (EMLINK). Links of root and of other users
 * are followed. With O_NOFOLLOW the last component is no link at all. Where the workers' user is
 * this process's own, it is open(2).
 *
 * The descriptor, or -1 with errno; safe_open_reason says it in words. Blocks as open(2) does: give
 * O_NONBLOCK for what may be a FIFO. */
int safe_open(const char *path, int flags, mode_t mode, const struct privileges *workers);

/* strerror(3) of what safe_open left in errno, with its own reasons in plain words. */
const char *safe_open_reason(int error_number);

/* Which directory on the way to the file may the workers' user, where it is not this process's,
 * make and rename files in, so that path leads elsewhere afterwards? The one nearest to the file,
 * to be freed; NULL: none. Links are followed. */
char *safe_open_shared_dir(const char *path, const struct privileges *workers);

#endif
