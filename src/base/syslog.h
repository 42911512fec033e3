/* SPDX-License-Identifier: MIT
 *
 * syslog - lines for the syslog daemon, each a datagram on its unix socket.
 *
 * Sending never waits: a line that the daemon does not take at once is lost, and how many were is
 * the first thing that it is told when it takes one again. All processes that inherit the socket
 * share its connection, so when the daemon comes back whoever connects it does so for all of them,
 * also for those that are not allowed to: a worker without privileges is served by its master.
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
    atomic_ulong lost; /* lines, in this process */
    bool is_away;      /* and the log says so: syslog_tend */
};

/* The path in an address unix:PATH or unix://PATH, the only ones that there are; NULL with err. */
const char *syslog_path(const char *address, struct error *err);

/* Makes the socket, close-on-exec, not connected yet. A relative path is one in the present
 * directory. app names the program, cut and cleaned of what such a name cannot have. 0, or -1 with
 * err, and then fd is -1. */
int syslog_open(struct syslog *s, const char *address, const char *app, struct error *err);
void syslog_close(struct syslog *s);

/* Connects when nobody is connected to, and logs once that the daemon is away or back. For who may
 * connect, now and then. */
void syslog_tend(struct syslog *s);

/* Sends a line of this process or another. Control bytes must be escaped already; what makes the
 * datagram longer than LOG_LINE_MAX is cut. */
void syslog_send(struct syslog *s, enum syslog_severity severity, pid_t pid, const char *text,
                 size_t len);

#endif
