/* SPDX-License-Identifier: MIT
 *
 * safe_open - open(2) by a privileged process in a directory where the workers' user may write. A
 * worker that a client has taken over could place a symbolic link there to a file that only root
 * may open, and would get the descriptor.
 */
#ifndef GCORN_SYSTEM_FILE_SAFE_OPEN_H
#define GCORN_SYSTEM_FILE_SAFE_OPEN_H

#include <sys/types.h>

struct privileges;

/* Like open(2), close-on-exec, with two more errors. ELOOP: a component of the path is a symbolic
 * link that the workers' user owns, or that is in a directory where this user may write. EMLINK:
 * the file belongs to another user and has a second name (hard link), in a directory where the
 * workers' user may write. Links of root and of other users are followed. With O_NOFOLLOW the last
 * component must not be a link. If the workers' user is this process's own, it is open(2).
 *
 * Returns the descriptor, or -1 with errno: see safe_open_reason. Blocks as open(2) does, so pass
 * O_NONBLOCK for a possible FIFO. */
int safe_open(const char *path, int flags, mode_t mode, const struct privileges *workers);

/* The text for an errno of safe_open: strerror(3), with words of its own for ELOOP and EMLINK. */
const char *safe_open_reason(int error_number);

/* The directory nearest to the file in which the workers' user may replace a component of path, so
 * that path leads elsewhere; the caller frees it. NULL: none, or the user is this process's own.
 * Links are followed. */
char *safe_open_shared_dir(const char *path, const struct privileges *workers);

#endif
