/* SPDX-License-Identifier: MIT
 *
 * log - the error log, in gunicorn's format:
 *
 *   [2026-11-22 12:34:56 +0000] [4711] [INFO] Listening at: http://127.0.0.1:8000
 *
 * One line is one write(2) of at most LOG_LINE_MAX bytes, so lines of several processes never mix.
 * Control bytes in a message are escaped: nobody forges a line. errno is kept.
 */
#ifndef GCORN_BASE_LOG_H
#define GCORN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum { LOG_LINE_MAX = 4096 }; /* PIPE_BUF: what a pipe takes whole */

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL,
};

/* Where lines go, and from which level on; the defaults are stderr and INFO. The log borrows fd:
 * its owner reopens the file by putting another one behind the same number (dup3). */
void log_set_fd(int fd);
int log_fd(void);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);

/* Writes whole lines, at most LOG_LINE_MAX bytes, to a log. One whose reader has stalled (a full
 * pipe) loses them instead of holding the process; how many were lost is the first thing it is told
 * when it reads again. 0, or -1 with errno (EAGAIN: lost for that reason). */
int log_write(int fd, const void *lines, size_t len);

/* Opens a log file for appending, close-on-exec; "-" is std_fd itself, which the caller does not
 * own. Does not wait for the reader of a FIFO (ENXIO). The descriptor, or -1 with errno. */
int log_file_open(const char *path, int std_fd);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));   /* adds errno's text */
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* does not */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* adds errno's text */
void log_errorx(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* does not */
void log_critical(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_at(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* log_critical and _exit(1): only during start-up and in a worker that cannot go on. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
