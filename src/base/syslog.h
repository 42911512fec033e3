/* SPDX-License-Identifier: MIT
 *
 * syslog - lines for the syslog daemon, each a datagram on its unix socket.
 *
 * Sending does not block: a line that the daemon does not take at once is dropped, and the number
 * of dropped lines is the first line when it takes one again. All processes that inherit the socket
 * share its connection: when the master connects it to a restarted daemon, workers that may not
 * connect use it, too.
 */
#ifndef GCORN_BASE_SYSLOG_H
#define GCORN_BASE_SYSLOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/un.h>

struct error;

/* RFC 5424's numbers. */
enum syslog_severity {
    SYSLOG_CRITICAL = 2,
    SYSLOG_ERROR = 3,
    SYSLOG_WARNING = 4,
    SYSLOG_INFO = 6,
    SYSLOG_DEBUG = 7,
};

enum syslog_format {
    SYSLOG_RFC5424,
    SYSLOG_BSD, /* what syslog(3) sends: all that journald understands, and rsyslog's own socket */
};

enum { SYSLOG_APP_MAX = 48, SYSLOG_HOST_MAX = 255 };

struct syslog {
    int fd; /* -1: none */
    enum syslog_format format;
    int facility;
    struct sockaddr_un address;
    char app[SYSLOG_APP_MAX + 1];
    char host[SYSLOG_HOST_MAX + 1];
    atomic_ulong dropped; /* lines, in this process */
    bool is_away;         /* the last syslog_reconnect has failed */
};

/* The path in an address unix:PATH or unix://PATH, borrowed from it; NULL with err for others. */
const char *syslog_path(const char *address, struct error *err);

/* Makes the socket, close-on-exec and not connected yet. A relative path is resolved in the present
 * directory. app is the program's name; it is cut, and characters that it may not have become dots.
 * Returns 0, or -1 with err and fd -1. */
int syslog_open(struct syslog *s, const char *address, const char *app, struct error *err);
void syslog_close(struct syslog *s);

/* Connects the socket if it is not connected, and logs when the daemon has gone or is back, once
 * each. To be called every second by a process that may connect. Does not block. */
void syslog_reconnect(struct syslog *s);

/* Sends a line of process pid, whose control characters are escaped. A datagram is cut to
 * LOG_LINE_MAX bytes. Does not block; keeps errno. */
void syslog_send(struct syslog *s, enum syslog_severity severity, pid_t pid, const char *text,
                 size_t len);

#endif
