/* SPDX-License-Identifier: MIT
 *
 * util - helpers for all rooms: allocation that does not return NULL, clocks, descriptors, paths,
 * numbers in text.
 */
#ifndef GCORN_BASE_UTIL_H
#define GCORN_BASE_UTIL_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* Allocation that never returns NULL: when memory is out the handler is called, which does not
 * return; without one the process aborts, and the master restarts a worker. The caller has bounded
 * the size. The caller frees the result with free(). */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size); /* zeroed */
void *xrealloc(void *p, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t len); /* len bytes of s, and a NUL */
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void xmalloc_set_handler(void (*handler)(size_t size, void *arg), void *arg);
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

/* CLOCK_MONOTONIC in milliseconds and nanoseconds. All deadlines use this clock: it does not jump
 * when the wall clock is set. Async-signal-safe. */
uint64_t now_ms(void);
uint64_t now_ns(void);

/* CLOCK_REALTIME, milliseconds since 1970: for logs, never for deadlines. */
uint64_t wall_ms(void);

/* Writes all len bytes to a blocking descriptor, retrying EINTR and short writes. Returns 0, or -1
 * with errno; how much was written is then unknown. */
int write_all(int fd, const void *data, size_t len);

/* Sets or clears FD_CLOEXEC; sets O_NONBLOCK. Returns 0, or -1 with errno. */
int fd_set_cloexec(int fd, bool on);
int fd_set_nonblock(int fd);

/* The absolute form of path, which the caller frees. A relative path stays relative when the
 * working directory has been removed. */
char *path_absolute(const char *path);

/* The directory of path without a slash at its end, "/" or ".": "a//b/" gives "a". The caller frees
 * it. */
char *path_dir(const char *path);

/* fd_mark notes which file a descriptor leads to; fd_is tells later whether it still does: an
 * application may have closed or replaced it. Async-signal-safe; errno is kept. */
struct fd_mark {
    dev_t dev;
    ino_t ino;
};
void fd_mark(int fd, struct fd_mark *mark);
bool fd_is(int fd, const struct fd_mark *mark);

/* Closes *fd if it is open (>= 0) and sets it to -1. errno is kept. */
void fd_close(int *fd);

/* Parses a whole text as a decimal number in [min, max]; the only sign is '-', and blanks are not
 * allowed. Returns 0, or -1 with errno EINVAL (not a number) or ERANGE (out of bounds). */
int parse_int(const char *text, int64_t min, int64_t max, int64_t *value);

#endif
