/* SPDX-License-Identifier: MIT
 *
 * swap - no application, but a library for LD_PRELOAD: what the workers' user may do at the worst
 * moment, in a directory that it may write in. $SWAP is a file of root's.
 *
 *   $SWAP_OPEN=NAME   NAME is a hard link of it while the server opens NAME, and not after
 *   $SWAP_BIND        a hard link of it takes the place of each socket file that is made
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int open_swapped(int dir_fd, const char *name, int flags, mode_t mode)
{
    const char *wanted = getenv("SWAP_OPEN"), *secret = getenv("SWAP");
    int (*next)(int, const char *, int, ...) =
        (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
    int is_swapped = wanted && secret && strcmp(name, wanted) == 0 && !(flags & O_PATH);

    if (is_swapped) {
        (void)unlinkat(dir_fd, name, 0);
        (void)linkat(AT_FDCWD, secret, dir_fd, name, 0);
    }
    int fd = next(dir_fd, name, flags, mode);
    if (is_swapped)
        (void)unlinkat(dir_fd, name, 0);
    return fd;
}

#define OPENAT(function)                                                                           \
    int function(int dir_fd, const char *name, int flags, ...)                                     \
    {                                                                                              \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, flags);                                                                       \
        mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;                                    \
        va_end(ap);                                                                                \
        return open_swapped(dir_fd, name, flags, mode);                                            \
    }

OPENAT(openat)
OPENAT(openat64)

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)address;
    const char *secret = getenv("SWAP");
    int (*next)(int, const struct sockaddr *, socklen_t) =
        (int (*)(int, const struct sockaddr *, socklen_t))dlsym(RTLD_NEXT, "bind");
    int result = next(fd, address, len);

    if (result == 0 && getenv("SWAP_BIND") && un->sun_family == AF_UNIX) {
        (void)unlink(un->sun_path);
        (void)link(secret, un->sun_path);
    }
    return result;
}
