/* SPDX-License-Identifier: MIT
 *
 * slowread - preloaded, not an application: a read that has got the word "slow-read" makes the file
 * read.go, and comes back a second later, or when a signal comes.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static ssize_t linger(const void *buf, ssize_t n)
{
    const struct timespec second = {.tv_sec = 1};

    if (n > 0 && memmem(buf, (size_t)n, "slow-read", 9)) {
        close(open("read.go", O_WRONLY | O_CREAT, 0666));
        nanosleep(&second, NULL);
    }
    return n;
}

ssize_t read(int fd, void *buf, size_t size)
{
    ssize_t (*real)(int, void *, size_t);

    *(void **)&real = dlsym(RTLD_NEXT, "read");
    return linger(buf, real(fd, buf, size));
}

/* What read is where its buffer's size is known. */
ssize_t __read_chk(int fd, void *buf, size_t size, size_t room)
{
    (void)room;
    return read(fd, buf, size);
}
