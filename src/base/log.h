/* SPDX-License-Identifier: MIT
 *
 * log - the error log, in gunicorn's format or as JSON:
 *
 *   [2026-11-22 12:34:56 +0000] [4711] [INFO] Listening at: http://127.0.0.1:8000
 *   {"time":"2026-11-22T12:34:56.789+00:00","pid":4711,"level":"info","message":"Listening ..."}
 *
 * One line is one write(2) of at most LOG_LINE_MAX bytes, so lines of several processes never mix.
 * Control bytes in a message are escaped: nobody forges a line. errno is kept. A log whose reader
 * has stalled loses lines instead of holding the process; how many is the first thing it is told
 * when it reads again. A terminal is waited for, but at most 100 ms in each second; one that is
 * full may take a line in pieces, and one of another process in between.
 */
#ifndef GCORN_BASE_LOG_H
#define GCORN_BASE_LOG_H

#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct syslog;

enum { LOG_LINE_MAX = 4096 }; /* PIPE_BUF: what a pipe takes whole */

enum log_level {
    LOG_LEVEL_DEBUG,
    LOG_LEVEL_INFO,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_ERROR,
    LOG_LEVEL_CRITICAL,
    LOG_LEVEL_OUTPUT, /* what the application printed: no message, so it has no importance, and is
                         wanted always */
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

/* Where lines go, and from which level on; the defaults are stderr and INFO. The log borrows fd:
 * its owner reopens the file by putting another one behind the same number (dup3). Where it leads
 * to systemd's journal ($JOURNAL_STREAM), each line begins with its priority: "<3>". */
void log_set_fd(int fd);
int log_fd(void);
bool log_is_on(int fd);      /* is it what is behind this descriptor, by whatever number? */
bool log_is_journal(int fd); /* does it lead there? */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_set_syslog(struct syslog *syslog); /* there too; borrowed, NULL: no */
struct syslog *log_syslog(void);
bool log_wants(enum log_level level);

/* In a child: what its parent lost is the parent's to tell. */
void log_after_fork(void);

/* Writes whole lines, at most LOG_LINE_MAX bytes, to a log. One whose reader has stalled (a full
 * pipe, a stopped terminal) loses them instead of holding the process. 0, or -1 with errno (EAGAIN:
 * lost for that reason; the caller counts, and tells). */
int log_write(int fd, const void *lines, size_t len);

/* A regular file takes lines whether somebody reads them or not: log_append will do. */
bool log_is_file(int fd);

/* The same for a regular file that was opened for appending. How many bytes of the lines are in it:
 * whole lines; when the disk is full, fewer than len with errno. */
size_t log_append(int fd, const char *lines, size_t len);

size_t log_count_lines(const char *lines, size_t len);

/* Which descriptor of the process a log's path stands for: std_fd for "-", that of standard output
 * or error for /dev/stdout, /dev/stderr and their names in /dev/fd and /proc. Such a name is not
 * opened: that fails where a socket, or a pipe of another user, lies behind it. -1: the path is a
 * file's. */
int log_standard_fd(const char *path, int std_fd);

/* A descriptor of the log's own for what is behind standard output or error, above 2 and
 * close-on-exec: the application may close those, and what gets their numbers then may be a
 * client's connection. The caller's to close; -1 with errno. */
int log_standard_dup(int std_fd);

/* How a log file is opened for appending: without waiting for the reader of a FIFO (ENXIO). */
enum { LOG_FILE_FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

/* Makes what was opened so block again, but for a FIFO: its reader holds up no writer. */
void log_file_opened(int fd);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));   /* adds errno's text */
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* does not */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* adds errno's text */
void log_errorx(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* does not */
void log_critical(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* About a request; its id is in front of the text, or a member of its own. NULL: about none. */
void log_request(enum log_level level, const char *request_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same where the text names the request itself: its id is a member in JSON, and nothing is put
 * in front of the text. */
void log_about(enum log_level level, const char *request_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A line that the application of process pid printed, of any bytes. */
void log_output(pid_t pid, const char *text, size_t len);

/* log_critical and _exit(1): only during start-up and in a worker that cannot go on. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
