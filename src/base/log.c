/* SPDX-License-Identifier: MIT
 *
 * See log.h. The sink is the one mutable global of the program besides what signal handlers must
 * reach: all code logs, and a parameter for it would be in every function.
 */
#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/compat.h"
#include "base/json.h"
#include "base/strbuf.h"
#include "base/syslog.h"
#include "base/utf8.h"
#include "base/util.h"

static struct {
    int fd;
    bool has_priority; /* in front of each line: journald takes it off (sd-daemon(3)) */
    enum log_level level;
    enum log_format format;
    struct syslog *syslog;
    atomic_ulong dropped; /* lines, in this process */
    struct {
        _Atomic uint64_t second, waited_ms; /* of this process: see wait_for_terminal */
        atomic_bool is_cut;                 /* its last line ends without a newline */
    } terminal;
} sink = {.fd = STDERR_FILENO, .level = LOG_LEVEL_INFO};

enum { TERMINAL_WAIT_MS = 100 };

enum { ID_MAX = 512 }; /* of a request's id, with its quotes: the message has room in any case */

/* A line before it is formatted. */
struct record {
    enum log_level level;
    pid_t pid;
    const char *request_id; /* NULL: none */
    const char *text;
    size_t len;
    size_t id_len; /* how much of text is the request's id, for formats without members */
};

/* By level. */
static const struct {
    const char *name, *json_name;
    enum syslog_severity severity;
} levels[] = {
    [LOG_LEVEL_DEBUG] = {"DEBUG", "debug", SYSLOG_DEBUG},
    [LOG_LEVEL_INFO] = {"INFO", "info", SYSLOG_INFO},
    [LOG_LEVEL_WARNING] = {"WARNING", "warning", SYSLOG_WARNING},
    [LOG_LEVEL_ERROR] = {"ERROR", "error", SYSLOG_ERROR},
    [LOG_LEVEL_CRITICAL] = {"CRITICAL", "critical", SYSLOG_CRITICAL},
    [LOG_LEVEL_OUTPUT] = {"OUTPUT", "output", SYSLOG_INFO},
};

/* $JOURNAL_STREAM is device and inode of the journal's socket (systemd.exec(5)). */
bool log_is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char own[48];
    struct stat st;

    if (!stream || fstat(fd, &st) < 0)
        return false;
    (void)snprintf(own, sizeof(own), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

void log_set_fd(int fd)
{
    sink.fd = fd;
    sink.has_priority = log_is_journal(fd);
}

void log_set_level(enum log_level level)
{
    sink.level = level;
}

void log_set_format(enum log_format format)
{
    sink.format = format;
}

void log_set_syslog(struct syslog *syslog)
{
    sink.syslog = syslog;
}

struct syslog *log_syslog(void)
{
    return sink.syslog;
}

void log_after_fork(void)
{
    atomic_store(&sink.dropped, 0);
    if (sink.syslog)
        atomic_store(&sink.syslog->dropped, 0);
}

bool log_wants(enum log_level level)
{
    return level >= sink.level;
}

int log_fd(void)
{
    return sink.fd;
}

bool log_is_on(int fd)
{
    struct stat log, other;

    return fstat(sink.fd, &log) == 0 && fstat(fd, &other) == 0 && log.st_dev == other.st_dev &&
           log.st_ino == other.st_ino;
}

static bool is_kind(int fd, mode_t kind)
{
    struct stat st;

    return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == kind;
}

/* Is it "/proc/self/fd/2", or "/proc/1/fd/2" in the process 1 of a container? */
static bool is_descriptor_path(const char *path, int fd)
{
    char own[40];

    (void)snprintf(own, sizeof(own), "/proc/%d/fd/", (int)getpid());
    const char *const starts[] = {"/dev/fd/", "/proc/self/fd/", own};
    for (size_t i = 0; i < ARRAY_LEN(starts); i++) {
        size_t len = strlen(starts[i]);

        if (strncmp(path, starts[i], len) == 0 && path[len] == '0' + fd && path[len + 1] == '\0')
            return true;
    }
    return false;
}

int log_standard_fd(const char *path, int std_fd)
{
    if (strcmp(path, "-") == 0)
        return std_fd;
    if (strcmp(path, "/dev/stdout") == 0 || is_descriptor_path(path, STDOUT_FILENO))
        return STDOUT_FILENO;
    if (strcmp(path, "/dev/stderr") == 0 || is_descriptor_path(path, STDERR_FILENO))
        return STDERR_FILENO;
    return -1;
}

/* Opens the terminal again: no other process shares the O_NONBLOCK of the new open file. -1: it is
 * no terminal, or may not be opened. */
static int open_terminal(int std_fd)
{
    char path[32];
    int fd = -1, above;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", std_fd);
    if (isatty(std_fd))
        fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd > STDERR_FILENO || fd < 0)
        return fd;
    above = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    fd_close(&fd);
    return above;
}

int log_standard_dup(int std_fd)
{
    int fd = open_terminal(std_fd);

    return fd >= 0 ? fd : fcntl(std_fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* No other process shares the open file, so its flags may change. */
void log_file_opened(int fd)
{
    if (!is_kind(fd, S_IFIFO))
        (void)fcntl(fd, F_SETFL, O_APPEND);
}

bool log_is_file(int fd)
{
    return is_kind(fd, S_IFREG);
}

/* Cuts the last len bytes off a file, a half line. Other processes that append find the disk full,
 * too, so these bytes are still the end. */
static void take_back(int fd, size_t len)
{
    struct stat st;

    if (fstat(fd, &st) == 0 && (uint64_t)st.st_size >= len)
        (void)!ftruncate(fd,
                         st.st_size - (off_t)len); /* failed: the next line follows the half one */
}

size_t log_append(int fd, const char *lines, size_t len)
{
    size_t done = 0, whole;

    while (done < len) {
        ssize_t n = write(fd, lines + done, len - done);

        if (n >= 0)
            done += (size_t)n;
        else if (errno != EINTR)
            break;
    }
    if (done == len)
        return len;
    int why = errno;
    for (whole = done; whole > 0 && lines[whole - 1] != '\n';)
        whole--;
    if (whole < done)
        take_back(fd, done - whole);
    errno = why;
    return whole;
}

/* Waits until a terminal takes more, at most TERMINAL_WAIT_MS in each second: one that scrolls
 * slowly drops nothing, and a stopped one does not block the worker. Returns false after that time.
 */
static bool wait_for_terminal(int fd)
{
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    uint64_t begin = now_ms(), second = begin / 1000;

    if (atomic_exchange(&sink.terminal.second, second) != second)
        atomic_store(&sink.terminal.waited_ms, 0);
    uint64_t waited = atomic_load(&sink.terminal.waited_ms);
    if (waited >= TERMINAL_WAIT_MS)
        return false;
    int ready = poll(&room, 1, (int)(TERMINAL_WAIT_MS - waited));
    atomic_fetch_add(&sink.terminal.waited_ms, now_ms() - begin);
    return ready > 0 || (ready < 0 && errno == EINTR);
}

/* After a line that was cut a newline is written first. */
static int write_terminal(int fd, const char *lines, size_t len)
{
    size_t done = 0;

    if (atomic_exchange(&sink.terminal.is_cut, false) && write(fd, "\n", 1) < 0)
        atomic_store(&sink.terminal.is_cut, true);
    while (done < len) {
        ssize_t n = write(fd, lines + done, len - done);

        if (n > 0) {
            done += (size_t)n;
        } else if (n < 0 && errno != EAGAIN && errno != EINTR) {
            return -1;
        } else if (!wait_for_terminal(fd)) {
            atomic_store(&sink.terminal.is_cut, done > 0);
            errno = EAGAIN;
            return -1;
        }
    }
    return 0;
}

static bool is_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && (flags & O_NONBLOCK);
}

/* O_NONBLOCK must not be set on an inherited stdout: every process that shares it would get EAGAIN.
 * RWF_NOWAIT makes one write non-blocking, on pipes and sockets since Linux 6.4. Elsewhere poll
 * tells whether a pipe has room for PIPE_BUF bytes; a write of a sibling in between can make one
 * write block. For a terminal poll is right only while no other process writes to it. */
int log_write(int fd, const void *lines, size_t len)
{
    const struct iovec iov = {(void *)(uintptr_t)lines, len};
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    ssize_t n;

    if (log_is_file(fd))
        return log_append(fd, lines, len) == len ? 0 : -1;
    while ((n = pwritev2(fd, &iov, 1, -1, RWF_NOWAIT)) < 0 && errno == EINTR)
        continue;
    if (n >= 0) /* a socket may have taken a part of the line */
        return write_all(fd, (const char *)lines + n, len - (size_t)n);
    if (errno != EOPNOTSUPP)
        return -1;
    bool is_terminal = isatty(fd);
    if (is_terminal && is_nonblocking(fd))
        return write_terminal(fd, lines, len);
    if (is_terminal ? wait_for_terminal(fd) : poll(&room, 1, 0) > 0)
        return write_all(fd, lines, len);
    errno = EAGAIN;
    return -1;
}

size_t log_count_lines(const char *lines, size_t len)
{
    size_t count = 0;

    for (const char *p = lines, *end = lines + len; (p = memchr(p, '\n', (size_t)(end - p))); p++)
        count++;
    return count;
}

/* ---- a line ------------------------------------------------------------------------------ */

/* Copies text, with control characters and invalid UTF-8 escaped, so that a message is one line
 * whatever it quotes. Returns the length. */
static size_t escape(char *out, size_t size, const char *text, size_t len)
{
    size_t n = 0, used;

    for (size_t i = 0; i < len && n + ASCII_ESCAPE_LEN < size; i += used) {
        uint32_t code;

        used = utf8_decode(text + i, len - i, &code);
        if (used > 0 && !utf8_is_control(code)) {
            memcpy(out + n, text + i, used);
            n += used;
        } else {
            ascii_put_escape(out + n, text[i]);
            n += ASCII_ESCAPE_LEN;
            used = 1;
        }
    }
    return n;
}

static size_t format_text(char *line, size_t size, const struct record *r)
{
    char when[TIME_TEXT_SIZE];

    (void)time_put_log(when, time(NULL));
    size_t n =
        (size_t)snprintf(line, size, "[%s] [%d] [%s] ", when, (int)r->pid, levels[r->level].name);
    n += escape(line + n, size - n - 1, r->text, r->len);
    line[n++] = '\n';
    return n;
}

/* If the line is too long, the message is cut. */
static size_t format_json(char *line, size_t size, const struct record *r)
{
    char when[TIME_TEXT_SIZE];
    struct strbuf out = {0};

    (void)time_put_iso(when, (int64_t)wall_ms());
    strbuf_addf(&out, "{\"time\":\"%s\",\"pid\":%d,\"level\":\"%s\"", when, (int)r->pid,
                levels[r->level].json_name);
    if (r->request_id) {
        strbuf_addstr(&out, ",\"request_id\":");
        json_add_bytes_max(&out, r->request_id, strlen(r->request_id), ID_MAX);
    }
    strbuf_addstr(&out, ",\"message\":");
    json_add_bytes_max(&out, r->text + r->id_len, r->len - r->id_len, size - out.len - 2);
    strbuf_addstr(&out, "}\n");
    size_t len = out.len;
    assert(len <= size);
    memcpy(line, out.data, len);
    strbuf_release(&out);
    return len;
}

/* The application may have closed the log's descriptor, as daemons close all that they inherit. */
static int write_line(const char *line, size_t len)
{
    int result = log_write(sink.fd, line, len);

    return result < 0 && errno == EBADF ? log_write(STDERR_FILENO, line, len) : result;
}

/* Returns 0, or -1: dropped, because the reader is too slow. Other errors of the log cannot be
 * logged. */
static int write_record(const struct record *r)
{
    char line[LOG_LINE_MAX];
    size_t n = 0;

    assert((size_t)r->level < ARRAY_LEN(levels));
    if (sink.has_priority)
        n = (size_t)snprintf(line, sizeof(line), "<%d>", (int)levels[r->level].severity);
    if (sink.format == LOG_FORMAT_JSON)
        n += format_json(line + n, sizeof(line) - n, r);
    else
        n += format_text(line + n, sizeof(line) - n, r);
    return write_line(line, n) < 0 && errno == EAGAIN ? -1 : 0;
}

static void report_dropped(void)
{
    unsigned long dropped = atomic_exchange(&sink.dropped, 0);
    char note[80];

    if (dropped == 0)
        return;
    int n = snprintf(note, sizeof(note), "error log: dropped %lu line%s: reader too slow", dropped,
                     dropped == 1 ? "" : "s");
    const struct record r = {
        .level = LOG_LEVEL_WARNING, .pid = getpid(), .text = note, .len = (size_t)n};
    if (write_record(&r) < 0)
        atomic_fetch_add(&sink.dropped, dropped);
}

static void log_record(const struct record *r)
{
    char text[LOG_LINE_MAX];

    report_dropped();
    if (write_record(r) < 0)
        atomic_fetch_add(&sink.dropped, 1);
    if (sink.syslog)
        syslog_send(sink.syslog, levels[r->level].severity, r->pid, text,
                    escape(text, sizeof(text), r->text, r->len));
}

/* ---- messages ---------------------------------------------------------------------------- */

/* Everything about a line but its text. */
struct about {
    enum log_level level;
    int error_number;       /* 0: none */
    const char *request_id; /* NULL: none */
    bool id_is_in_text;
};

static void __attribute__((format(printf, 2, 0)))
emit(const struct about *about, const char *fmt, va_list ap)
{
    const char *request_id = about->request_id;
    char text[LOG_LINE_MAX];
    size_t id_len = 0;

    if (!log_wants(about->level))
        return;
    if (request_id && !about->id_is_in_text)
        id_len = (size_t)snprintf(text, sizeof(text), "[%.*s] ", ID_MAX, request_id);
    int n = vsnprintf(text + id_len, sizeof(text) - id_len, fmt, ap);
    size_t len = id_len + (size_t)(n > 0 ? n : 0);
    if (about->error_number != 0 && len < sizeof(text))
        len += (size_t)snprintf(text + len, sizeof(text) - len, ": %s",
                                ascii_error(about->error_number));
    const struct record r = {.level = about->level,
                             .pid = getpid(),
                             .request_id = request_id,
                             .text = text,
                             .len = len < sizeof(text) ? len : sizeof(text) - 1,
                             .id_len = id_len};
    log_record(&r);
}

void log_output(pid_t pid, const char *text, size_t len)
{
    const struct record r = {.level = LOG_LEVEL_OUTPUT, .pid = pid, .text = text, .len = len};
    int saved_errno = errno;

    log_record(&r);
    errno = saved_errno;
}

void log_request(enum log_level level, const char *request_id, const char *fmt, ...)
{
    int saved_errno = errno;
    va_list ap;

    va_start(ap, fmt);
    emit(&(struct about){.level = level, .request_id = request_id}, fmt, ap);
    va_end(ap);
    errno = saved_errno;
}

void log_about(enum log_level level, const char *request_id, const char *fmt, ...)
{
    const struct about about = {.level = level, .request_id = request_id, .id_is_in_text = true};
    int saved_errno = errno;
    va_list ap;

    va_start(ap, fmt);
    emit(&about, fmt, ap);
    va_end(ap);
    errno = saved_errno;
}

#define DEFINE_LOG(name, its_level, errors_number)                                                 \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        int saved_errno = errno;                                                                   \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, fmt);                                                                         \
        emit(&(struct about){.level = (its_level), .error_number = (errors_number)}, fmt, ap);     \
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
    emit(&(struct about){.level = LOG_LEVEL_CRITICAL}, fmt, ap);
    va_end(ap);
    _exit(1);
}
