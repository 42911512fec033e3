/* SPDX-License-Identifier: MIT
 *
 * See writable.h.
 */
#include "system/file/writable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/file/safe_open.h"

/* Does the directory's sticky bit keep this user from removing the file? */
static bool sticks(const char *dir, const char *path)
{
    struct stat around, st;
    uid_t uid = geteuid();

    return uid != 0 && stat(dir, &around) == 0 && (around.st_mode & S_ISVTX) &&
           around.st_uid != uid && lstat(path, &st) == 0 && st.st_uid != uid;
}

int writable_new(const char *path)
{
    char *dir = path_dir(path);
    int result = faccessat(AT_FDCWD, dir, W_OK | X_OK, AT_EACCESS);
    if (result == 0 && sticks(dir, path)) {
        errno = EPERM;
        result = -1;
    }
    int saved_errno = errno;
    free(dir);
    errno = saved_errno;
    return result;
}

int writable_append(const char *path, const struct privileges *workers)
{
    struct stat st;

    if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode))
        return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS);
    int fd = safe_open(path, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY, 0, workers);
    if (fd < 0 && errno == ENOENT) {
        /* A link to an absent file: whether that can be made is unknown. */
        return lstat(path, &st) == 0 ? 0 : writable_new(path);
    }
    int result = fd < 0 ? -1 : 0;
    fd_close(&fd);
    return result;
}
