/* SPDX-License-Identifier: MIT
 *
 * util - the handful of helpers that every room uses: memory that cannot fail, the clock, complete
 * reads and writes, and numbers out of text.
 */
#ifndef GCORN_BASE_UTIL_H
#define GCORN_BASE_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Allocation that cannot fail: when memory is out the handler is called, which does not return, and
 * without one the process aborts: a worker is restarted by its master. The caller has bounded the
 * size before. The result is freed with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size); /* zeroed */
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void xmalloc_set_handler(void (*handler)(size_t size));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* CLOCK_MONOTONIC in milliseconds and nanoseconds. Every deadline in gcorn is on this clock: it
 * does not jump when the wall clock is set. */
uint64_t now_ms(void);
uint64_t now_ns(void);

/* CLOCK_REALTIME, milliseconds since 1970: for logs, never for deadlines. */
uint64_t wall_ms(void);

/* Writes all of it to a blocking descriptor, retrying EINTR and short writes.
 * 0, or -1 with errno; how much was written is then unknown. */
int write_all(int fd, const void *data, size_t len);

/* Sets or clears FD_CLOEXEC; sets O_NONBLOCK. 0 or -1 with errno. */
int fd_set_cloexec(int fd, bool on);
int fd_set_nonblock(int fd);

/* The path as it must be named when the process has changed its directory; the caller frees it. A
 * relative one stays as it is when the directory has no name any more. */
char *path_absolute(const char *path);

/* Which file a descriptor is, to find out later whether its number still is that file: an
 * application may have closed it, or put something else in its place. Async-signal-safe. */
struct fd_mark {
    dev_t dev;
    ino_t ino;
};
void fd_mark(int fd, struct fd_mark *mark);
bool fd_is(int fd, const struct fd_mark *mark);

/* Closes *fd if it is open (>= 0) and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* A whole text as a decimal number in [min, max], with no sign but '-', no blank, no tail.
 * 0, or -1 with errno EINVAL (not a number) or ERANGE (out of bounds). */
int parse_int(const char *text, int64_t min, int64_t max, int64_t *value);

#endif
