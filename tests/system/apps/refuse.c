/* SPDX-License-Identifier: MIT
 *
 * refuse - no application, but a library for LD_PRELOAD: system calls and allocations fail while
 * the file $REFUSE lists them, each as NAME=ERRNO and a space. The first process that loads it (the
 * master) is meant by "fork", its children by "child-fork". Where there is a file $REFUSE.pass, it
 * is removed, and one call goes through. With $REFUSE_AFTER calls fail only while that path exists.
 * Some calls wait for a test besides: wait_while_held.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static char list_path[256], pass_path[256], after_path[256];
static pid_t first;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("REFUSE"), *after = getenv("REFUSE_AFTER");

    first = (pid_t)syscall(SYS_getpid);
    if (!path || strlen(path) > 200)
        return;
    (void)stpcpy(stpcpy(pass_path, path), ".pass");
    (void)stpcpy(after_path, after && strlen(after) < sizeof(after_path) ? after : "/");
    (void)stpcpy(list_path, path);
}

/* Is the call to fail? errno is set then. Allocates nothing. */
static int refuses(const char *name)
{
    char list[512], wanted[64];
    int saved_errno = errno, fd;

    if (list_path[0] == '\0' || access(after_path, F_OK) < 0 ||
        (fd = open(list_path, O_RDONLY | O_CLOEXEC)) < 0) {
        errno = saved_errno;
        return 0;
    }
    ssize_t len = read(fd, list, sizeof(list) - 1);
    (void)close(fd);
    list[len > 0 ? len : 0] = '\0';
    (void)stpcpy(
        stpcpy(stpcpy(wanted, (pid_t)syscall(SYS_getpid) == first ? " " : " child-"), name), "=");
    const char *found = strstr(list, wanted);
    if (!found || unlink(pass_path) == 0) {
        errno = saved_errno;
        return 0;
    }
    errno = atoi(found + strlen(wanted));
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define REFUSABLE(type, name, failure, parameters, arguments)                                      \
    type name parameters                                                                           \
    {                                                                                              \
        return refuses(#name) ? (failure) : NEXT(name) arguments;                                  \
    }

REFUSABLE(pid_t, fork, -1, (void), ())
REFUSABLE(int, pipe2, -1, (int ends[2], int flags), (ends, flags))
REFUSABLE(int, socketpair, -1, (int d, int t, int p, int fds[2]), (d, t, p, fds))
REFUSABLE(int, epoll_create1, -1, (int flags), (flags))
REFUSABLE(int, epoll_create, -1, (int size), (size))
REFUSABLE(int, epoll_ctl, -1, (int efd, int op, int fd, struct epoll_event *e), (efd, op, fd, e))
REFUSABLE(int, ftruncate, -1, (int fd, off_t len), (fd, len))
REFUSABLE(int, stat, -1, (const char *path, struct stat *st), (path, st))
REFUSABLE(int, lstat, -1, (const char *path, struct stat *st), (path, st))
REFUSABLE(int, fstat, -1, (int fd, struct stat *st), (fd, st))
REFUSABLE(ssize_t, pwrite, -1, (int fd, const void *p, size_t len, off_t at), (fd, p, len, at))

/* While there is a file $REFUSE.hold-NAME, the call of this name waits, and has made a file
 * $REFUSE.held-NAME. */
static void wait_while_held(const char *name)
{
    char hold[256], held[256];
    int saved_errno = errno;

    (void)stpcpy(stpcpy(stpcpy(hold, list_path), ".hold-"), name);
    (void)stpcpy(stpcpy(stpcpy(held, list_path), ".held-"), name);
    while (list_path[0] != '\0' && access(hold, F_OK) == 0) {
        (void)close(creat(held, 0666));
        (void)usleep(1000);
    }
    errno = saved_errno;
}

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                struct addrinfo **list)
{
    wait_while_held("getaddrinfo");
    return NEXT(getaddrinfo)(host, port, hints, list);
}

/* Waits in long reads alone, by which a file is copied: workers read short ones of /proc. */
ssize_t pread(int fd, void *p, size_t len, off_t at)
{
    if (len >= 64 * 1024)
        wait_while_held("pread");
    return refuses("pread") ? -1 : NEXT(pread)(fd, p, len, at);
}

int listen(int fd, int backlog)
{
    wait_while_held("listen");
    return refuses("listen") ? -1 : NEXT(listen)(fd, backlog);
}

/* Locks alone. */
int fcntl(int fd, int command, ...)
{
    va_list ap;

    va_start(ap, command);
    void *argument = va_arg(ap, void *);
    va_end(ap);
    return command == F_SETLK && refuses("lock") ? -1 : NEXT(fcntl)(fd, command, argument);
}

REFUSABLE(int, fchownat, -1, (int fd, const char *p, uid_t u, gid_t g, int f), (fd, p, u, g, f))
REFUSABLE(int, rename, -1, (const char *from, const char *to), (from, to))

/* glibc's own names, because dlsym may allocate */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *p, size_t size);

void *malloc(size_t size)
{
    return refuses("malloc") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refuses("malloc") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *p, size_t size)
{
    return refuses("malloc") || refuses("realloc") ? NULL : __libc_realloc(p, size);
}
