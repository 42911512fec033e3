/* SPDX-License-Identifier: MIT
 *
 * See util.h. The only state is the handler for the case that memory is out.
 */
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Every function that allocates would otherwise take it. */
static struct {
    void (*function)(size_t size, void *arg);
    void *arg;
} memory_handler;

void xmalloc_set_handler(void (*handler)(size_t size, void *arg), void *arg)
{
    memory_handler.function = handler;
    memory_handler.arg = arg;
}

static void out_of_memory(size_t size)
{
    char line[80];

    if (memory_handler.function)
        memory_handler.function(size, memory_handler.arg);
    int len = snprintf(line, sizeof(line), "gcorn: out of memory (%zu bytes)\n", size);

    (void)!write(STDERR_FILENO, line, (size_t)len); /* about to abort */
    abort();
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);

    if (!p)
        out_of_memory(size);
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);

    if (!p)
        out_of_memory(count * size);
    return p;
}

void *xrealloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);

    if (!q)
        out_of_memory(size);
    return q;
}

char *xstrdup(const char *s)
{
    size_t size = strlen(s) + 1;

    return memcpy(xmalloc(size), s, size);
}

char *xstrndup(const char *s, size_t len)
{
    char *copy = xmalloc(len + 1);

    copy[len] = '\0';
    return memcpy(copy, s, len);
}

char *xvasprintf(const char *fmt, va_list ap)
{
    char *text;

    if (vasprintf(&text, fmt, ap) < 0)
        out_of_memory(0);
    return text;
}

char *xasprintf(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = xvasprintf(fmt, ap);
    va_end(ap);
    return text;
}

uint64_t now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail: the clock always exists on Linux */
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t now_ms(void)
{
    return now_ns() / 1000000u;
}

uint64_t wall_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_REALTIME, &ts); /* cannot fail */
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

int write_all(int fd, const void *data, size_t len)
{
    const char *p = data;

    while (len > 0) {
        ssize_t n = write(fd, p, len);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            return -1;
        }
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int fd_set_cloexec(int fd, bool on)
{
    int flags = fcntl(fd, F_GETFD);

    if (flags < 0)
        return -1;
    return fcntl(fd, F_SETFD, on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC);
}

int fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0)
        return -1;
    return fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

char *path_absolute(const char *path)
{
    char *dir = path[0] == '/' ? NULL : getcwd(NULL, 0);
    char *absolute = dir && dir[0] == '/' ? xasprintf("%s/%s", dir, path) : xstrdup(path);

    free(dir);
    return absolute;
}

char *path_dir(const char *path)
{
    size_t len = strlen(path);

    while (len > 0 && path[len - 1] == '/')
        len--;
    while (len > 0 && path[len - 1] != '/')
        len--;
    while (len > 1 && path[len - 1] == '/')
        len--;
    return len > 0 ? xasprintf("%.*s", (int)len, path) : xstrdup(".");
}

void fd_mark(int fd, struct fd_mark *mark)
{
    struct stat st = {0};

    (void)fstat(fd, &st); /* cannot fail: it is open */
    *mark = (struct fd_mark){.dev = st.st_dev, .ino = st.st_ino};
}

bool fd_is(int fd, const struct fd_mark *mark)
{
    int saved_errno = errno;
    struct stat st;
    bool is_it = fstat(fd, &st) == 0 && st.st_dev == mark->dev && st.st_ino == mark->ino;

    errno = saved_errno;
    return is_it;
}

void fd_close(int *fd)
{
    int saved_errno = errno;

    if (*fd >= 0)
        (void)close(*fd); /* Linux closes the descriptor also when close fails */
    *fd = -1;
    errno = saved_errno;
}

int parse_int(const char *text, int64_t min, int64_t max, int64_t *value)
{
    char *end;
    const char *digits = text[0] == '-' ? text + 1 : text;

    if (digits[0] < '0' || digits[0] > '9') {
        errno = EINVAL;
        return -1;
    }
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (*end != '\0') {
        errno = EINVAL;
        return -1;
    }
    if (errno == ERANGE || n < min || n > max) {
        errno = ERANGE;
        return -1;
    }
    *value = n;
    return 0;
}
