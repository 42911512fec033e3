/* SPDX-License-Identifier: MIT
 *
 * No application: preloaded, it ends a process within the send of an answer, whose bytes are
 * already on their way, when there is a file "die" in its directory.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    ssize_t (*libc_send)(int, const void *, size_t, int);

    *(void **)&libc_send = dlsym(RTLD_NEXT, "send");
    ssize_t n = libc_send(fd, data, len, flags);
    if (n > 5 && memcmp(data, "HTTP/", 5) == 0 && access("die", F_OK) == 0)
        kill(getpid(), SIGKILL);
    return n;
}
