/* SPDX-License-Identifier: MIT
 *
 * log - the error log, in gunicorn's format or as JSON:
 *
 *   [2026-11-22 12:34:56 +0000] [4711] [INFO] Listening at: http://127.0.0.1:8000
 *   {"time":"2026-11-22T12:34:56.789+00:00","pid":4711,"level":"info","message":"Listening ..."}
 *
 * One line is one write(2) of at most LOG_LINE_MAX bytes, so lines of several processes never mix.
 * Control characters in a message are escaped, so a message cannot forge a line. When the reader of
 * the log is too slow, lines are dropped instead of blocking the process; their number is the first
 * line when the log takes lines again. A terminal may block, but at most 100 ms in each second; one
 * that is full may take a line in pieces, with a line of another process between them.
 *
 * base/ is memory, buffers, addresses, text and the log: nothing of HTTP, workers or masters.
 *
 * All functions keep errno unless they return it. Any thread may log. No function is
 * async-signal-safe.
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
    LOG_LEVEL_OUTPUT, /* what the application printed: always logged, whatever the level */
};

enum log_format {
    LOG_FORMAT_TEXT,
    LOG_FORMAT_JSON,
};

/* Where lines go, and the lowest level; the defaults are stderr and INFO. The log borrows fd: its
 * owner reopens the file under the same number (dup3). If fd leads to systemd's journal
 * ($JOURNAL_STREAM), each line begins with its priority: "<3>". */
void log_set_fd(int fd);
int log_fd(void);
bool log_is_on(int fd);      /* does fd lead to the same file as the log? */
bool log_is_journal(int fd); /* does fd lead to the journal? */
void log_set_level(enum log_level level);
void log_set_format(enum log_format format);
void log_set_syslog(struct syslog *syslog); /* lines go there, too; borrowed, NULL: none */
struct syslog *log_syslog(void);
bool log_wants(enum log_level level);

/* In a forked child: forgets the dropped lines, which its parent reports. */
void log_after_fork(void);

/* Writes whole lines, at most LOG_LINE_MAX bytes, to a log. Does not block: a full pipe or a
 * stopped terminal drops them. Returns 0, or -1 with errno: EAGAIN, they are dropped for that
 * reason; the caller counts and reports them. */
int log_write(int fd, const void *lines, size_t len);

/* Is it a regular file, which takes lines without a reader? */
bool log_is_file(int fd);

/* Appends lines to a regular file. Returns how many bytes it took, always whole lines; when the
 * disk is full, fewer than len with errno. */
size_t log_append(int fd, const char *lines, size_t len);

size_t log_count_lines(const char *lines, size_t len);

/* The descriptor that a log's path stands for: std_fd for "-", standard output or error for
 * /dev/stdout, /dev/stderr and their names in /dev/fd and /proc; -1: the path is a file's. The
 * former must not be opened: that fails for sockets and for pipes of another user. */
int log_standard_fd(const char *path, int std_fd);

/* Duplicates standard output or error, above 2 and close-on-exec, for a log: the application may
 * close 1 and 2, and a client's connection may then get their numbers. The caller closes it. -1
 * with errno. */
int log_standard_dup(int std_fd);

/* The flags to open a log file with: it does not wait for the reader of a FIFO (ENXIO). */
enum { LOG_FILE_FLAGS = O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY };

/* Makes a file that was opened with them blocking again, unless it is a FIFO, whose reader must not
 * block its writers. */
void log_file_opened(int fd);

void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_info(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));   /* adds errno's text */
void log_warnx(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* does not */
void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));  /* adds errno's text */
void log_errorx(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* does not */
void log_critical(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A line about a request. Its id is put in front of the text, or in JSON is a member; NULL: none.
 */
void log_request(enum log_level level, const char *request_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a text that names the request itself: in JSON the id is a member, else it is left
 * out. */
void log_about(enum log_level level, const char *request_id, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A line, of any bytes, that the application in process pid has printed. */
void log_output(pid_t pid, const char *text, size_t len);

/* log_critical, then _exit(1): only at the start and in a worker that cannot go on. */
void fatal(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

#endif
