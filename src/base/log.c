/* SPDX-License-Identifier: MIT
 *
 * See log.h. The sink is the one mutable global of the program besides what signal handlers must
 * reach: every room logs, and a parameter for it everywhere would hide what functions really need.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"

static struct {
    int fd;
    enum log_level level;
} sink = {STDERR_FILENO, LOG_LEVEL_INFO};

void log_set_fd(int fd)
{
    sink.fd = fd;
}

void log_set_level(enum log_level level)
{
    sink.level = level;
}

bool log_wants(enum log_level level)
{
    return level >= sink.level;
}

int log_fd(void)
{
    return sink.fd;
}

int log_file_open(const char *path, int std_fd)
{
    if (strcmp(path, "-") == 0)
        return std_fd;
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
    if (fd >= 0)
        (void)fcntl(fd, F_SETFL, O_APPEND); /* the description is ours alone: no O_NONBLOCK again */
    return fd;
}

/* Would a write wait for somebody to read? The flag O_NONBLOCK cannot be set to find out: on an
 * inherited stdout it would hit every process that has it (trap T42). A pipe that can be written
 * has room for PIPE_BUF bytes; what siblings write in between can at worst make one write wait. */
static bool would_block(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    struct stat st;

    if (fstat(fd, &st) < 0 || S_ISREG(st.st_mode))
        return false;
    return poll(&p, 1, 0) == 0;
}

int log_write(int fd, const void *lines, size_t len)
{
    static unsigned long lost; /* lines, in this process */
    char note[80];

    if (would_block(fd)) {
        for (const char *p = lines; (p = memchr(p, '\n', len - (size_t)(p - (const char *)lines)));
             p++)
            lost++;
        errno = EAGAIN;
        return -1;
    }
    if (lost > 0) {
        int n = snprintf(note, sizeof(note), "[%d] %lu log lines were lost: nobody read them\n",
                         (int)getpid(), lost);

        lost = 0;
        (void)write_all(fd, note, (size_t)n); /* if it fails, so will the next */
    }
    return write_all(fd, lines, len);
}

/* Copies text with control bytes escaped, so that one message is one line whatever it quotes. */
static size_t escape(char *out, size_t size, const char *text)
{
    static const char hex[] = "0123456789abcdef";
    size_t n = 0;

    for (; *text != '\0' && n + 4 < size; text++) {
        unsigned char c = (unsigned char)*text;

        if (c < 0x20 || c == 0x7f) {
            out[n++] = '\\';
            out[n++] = 'x';
            out[n++] = hex[c >> 4];
            out[n++] = hex[c & 15];
        } else {
            out[n++] = (char)c;
        }
    }
    return n;
}

static const char *level_name(enum log_level level)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};

    return names[level];
}

static void __attribute__((format(printf, 3, 0)))
emit(enum log_level level, int error_number, const char *fmt, va_list ap)
{
    char text[LOG_LINE_MAX], line[LOG_LINE_MAX];
    struct tm tm;
    time_t wall = time(NULL);

    if (!log_wants(level))
        return;
    int len = vsnprintf(text, sizeof(text), fmt, ap);
    if (error_number != 0 && len >= 0 && (size_t)len < sizeof(text))
        (void)snprintf(text + len, sizeof(text) - (size_t)len, ": %s", strerror(error_number));
    (void)localtime_r(&wall, &tm);
    size_t n = strftime(line, sizeof(line), "[%Y-%m-%d %H:%M:%S %z] ", &tm);
    n += (size_t)snprintf(line + n, sizeof(line) - n, "[%d] [%s] ", (int)getpid(),
                          level_name(level));
    n += escape(line + n, sizeof(line) - n - 1, text);
    line[n++] = '\n';
    (void)log_write(sink.fd, line, n); /* a log that cannot be written has nowhere to say so */
}

void log_at(enum log_level level, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    va_start(ap, fmt);
    emit(level, 0, fmt, ap);
    va_end(ap);
    errno = saved_errno;
}

#define DEFINE_LOG(name, level, error_number)                                                      \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        int saved_errno = errno;                                                                   \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, fmt);                                                                         \
        emit(level, error_number, fmt, ap);                                                        \
        va_end(ap);                                                                                \
        errno = saved_errno;                                                                       \
    }

DEFINE_LOG(log_debug, LOG_LEVEL_DEBUG, 0)
DEFINE_LOG(log_info, LOG_LEVEL_INFO, 0)
DEFINE_LOG(log_warn, LOG_LEVEL_WARNING, saved_errno)
DEFINE_LOG(log_warnx, LOG_LEVEL_WARNING, 0)
DEFINE_LOG(log_error, LOG_LEVEL_ERROR, saved_errno)
DEFINE_LOG(log_errorx, LOG_LEVEL_ERROR, 0)
DEFINE_LOG(log_critical, LOG_LEVEL_CRITICAL, 0)

void fatal(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    emit(LOG_LEVEL_CRITICAL, 0, fmt, ap);
    va_end(ap);
    _exit(1);
}
