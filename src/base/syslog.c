/* SPDX-License-Identifier: MIT
 *
 * See syslog.h. The socket is connected: a send with an address would look it up each time, and
 * every process would need permission for the daemon's socket. After the daemon has ended, the
 * first send fails with ECONNREFUSED and the next ones with ENOTCONN.
 */
#include "base/syslog.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/error.h"
#include "base/log.h"
#include "base/utf8.h"
#include "base/util.h"

const char *syslog_path(const char *address, struct error *err)
{
    const char *path = strncmp(address, "unix://", 7) == 0 ? address + 7
                       : strncmp(address, "unix:", 5) == 0 ? address + 5
                                                           : "";
    struct sockaddr_un room;

    /* gunicorn's suffixes #stream and #dgram: only datagrams are supported */
    if (*path == '\0' || strchr(path, '#')) {
        (void)error_set(err, EXIT_USAGE, "syslog_addr: %s is not unix:PATH or unix://PATH",
                        address);
        return NULL;
    }
    if (strlen(path) >= sizeof(room.sun_path)) {
        (void)error_set(err, EXIT_USAGE, "syslog_addr: %s is too long for a unix socket", path);
        return NULL;
    }
    return path;
}

/* Keeps PRINTUSASCII (RFC 5424) without the characters that end a BSD tag; "-" for an empty name.
 */
static void set_name(char *out, size_t max, const char *name)
{
    size_t n = 0;

    for (; *name != '\0' && n < max; name++)
        out[n++] = *name > ' ' && *name < 0x7f && !strchr(":[]", *name) ? *name : '.';
    if (n == 0)
        out[n++] = '-';
    out[n] = '\0';
}

int syslog_open(struct syslog *s, const char *address, const char *app, struct error *err)
{
    char host[SYSLOG_HOST_MAX + 1] = "";
    const char *path = syslog_path(address, err);

    s->fd = -1;
    if (!path)
        return -1;
    char *absolute = path_absolute(path);
    size_t len = strlen(absolute);
    s->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len < sizeof(s->address.sun_path))
        memcpy(s->address.sun_path, absolute, len + 1);
    free(absolute);
    if (len >= sizeof(s->address.sun_path))
        return error_set(err, EXIT_USAGE, "syslog_addr: %s is too long for a unix socket", path);
    (void)gethostname(host, sizeof(host) - 1); /* failed: the name is "-" */
    set_name(s->host, SYSLOG_HOST_MAX, host);
    set_name(s->app, SYSLOG_APP_MAX, app);
    s->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    return s->fd < 0
               ? error_set(err, EXIT_FAILED, "syslog: cannot make a socket: %s", ascii_error(errno))
               : 0;
}

void syslog_close(struct syslog *s)
{
    fd_close(&s->fd);
}

static int connect_socket(struct syslog *s)
{
    return connect(s->fd, (const struct sockaddr *)&s->address, sizeof(s->address));
}

void syslog_reconnect(struct syslog *s)
{
    struct sockaddr_un peer;
    socklen_t size = sizeof(peer);
    bool was_away = s->is_away;

    if (s->fd < 0)
        return;
    s->is_away = getpeername(s->fd, (struct sockaddr *)&peer, &size) < 0 && connect_socket(s) < 0;
    if (s->is_away && !was_away)
        log_warnx("syslog: cannot connect to %s: %s (retrying every second)", s->address.sun_path,
                  ascii_error(errno));
    else if (!s->is_away && was_away)
        log_info("syslog: connected to %s", s->address.sun_path);
}

/* ---- sending ----------------------------------------------------------------------------- */

static size_t add_head(const struct syslog *s, char *line, size_t size, int severity, pid_t pid)
{
    int64_t now_ms = (int64_t)wall_ms();
    struct civil c;
    char when[TIME_TEXT_SIZE];

    if (s->format == SYSLOG_RFC5424) {
        (void)time_put_iso(when, now_ms);
        return (size_t)snprintf(line, size, "<%d>1 %s %s %s %d error - ",
                                s->facility * 8 + severity, when, s->host, s->app, (int)pid);
    }
    civil_from_unix(&c, now_ms / 1000 + zone_offset_s());
    return (size_t)snprintf(
        line, size, "<%d>%s %2d %02d:%02d:%02d %s[%d]: ", s->facility * 8 + severity,
        civil_months[c.month - 1], c.day, c.hour, c.minute, c.second, s->app, (int)pid);
}

static int send_once(const struct syslog *s, const char *line, size_t len)
{
    return send(s->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -1 : 0;
}

/* Returns 0, or -1: dropped. */
static int send_line(struct syslog *s, int severity, pid_t pid, const char *text, size_t len)
{
    char line[LOG_LINE_MAX];
    size_t n = add_head(s, line, sizeof(line), severity, pid);

    if (len > sizeof(line) - n)
        len = utf8_whole(text, sizeof(line) - n);
    assert(n + len <= sizeof(line));
    memcpy(line + n, text, len);
    if (send_once(s, line, n + len) == 0)
        return 0;
    bool peer_is_gone = errno == ECONNREFUSED || errno == ENOTCONN || errno == ECONNRESET;
    return peer_is_gone && connect_socket(s) == 0 ? send_once(s, line, n + len) : -1;
}

static void report_dropped(struct syslog *s)
{
    unsigned long dropped = atomic_exchange(&s->dropped, 0);
    char note[80];

    if (dropped == 0)
        return;
    int n = snprintf(note, sizeof(note), "syslog: dropped %lu line%s: daemon away or too slow",
                     dropped, dropped == 1 ? "" : "s");
    if (send_line(s, SYSLOG_WARNING, getpid(), note, (size_t)n) < 0)
        atomic_fetch_add(&s->dropped, dropped);
}

void syslog_send(struct syslog *s, enum syslog_severity severity, pid_t pid, const char *text,
                 size_t len)
{
    int saved_errno = errno;

    report_dropped(s);
    if (send_line(s, (int)severity, pid, text, len) < 0)
        atomic_fetch_add(&s->dropped, 1);
    errno = saved_errno;
}
