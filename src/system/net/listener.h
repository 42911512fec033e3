/* SPDX-License-Identifier: MIT
 *
 * listener - a listening socket, from the text of one `bind` setting. The forms are gunicorn's:
 *
 *   HOST:PORT   HOST (port 8000)   :PORT (0.0.0.0, all IPv4 addresses)   [::1]:PORT   [::1]
 *   unix:PATH   unix:@NAME (an abstract socket, unix(7); a file @NAME is unix:./@NAME)
 *   fd://N (N from 3: inherited, for example from systemd; master/upgrade/socket_activation.h has
 *   replaced names by numbers)
 *
 * Port 0 lets the kernel choose; `name` and `port` then show its choice. `[::]` leaves IPV6_V6ONLY
 * to the system, whose default (net.ipv6.bindv6only = 0) takes IPv4 connections too. Beside
 * `0.0.0.0:80` a `[::]:80` can be opened only with v6_only.
 *
 * Life: listener_open, then listener_close. The master does both; a worker only inherits.
 */
#ifndef GCORN_SYSTEM_NET_LISTENER_H
#define GCORN_SYSTEM_NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

struct listener {
    int fd;         /* non-blocking, close-on-exec; -1 once closed */
    int family;     /* AF_INET, AF_INET6, AF_UNIX */
    char *text;     /* as configured */
    char *name;     /* as logged: http://127.0.0.1:8000, unix:/run/a.sock, fd://3 */
    char host[64];  /* SERVER_NAME: the bound address in numbers; "" for a unix socket */
    char port[8];   /* SERVER_PORT: "" for a unix socket */
    bool v6_only;   /* takes IPv6 connections alone (IPV6_V6ONLY) */
    bool inherited; /* fd://: the process that made the socket owns it and its file */
    char *path;     /* the unix socket's file, absolute, when this process made it; else NULL */
    dev_t dev;      /* of that file, to know it again */
    ino_t ino;
    bool lent; /* another master serves it too: its file is not to be removed here */
};

/* Is told the temporary name of a unix socket's file before that is made (socket_file.h): if this
 * process is killed at that moment, another one can remove it. */
struct file_notice {
    void (*note)(void *arg, const char *path); /* NULL: none */
    void *arg;
};

struct listener_options {
    uid_t uid; /* whose the file of a unix socket is to be */
    gid_t gid;
    bool v6_only; /* an IPv6 address leaves IPv4 connections to another listener (bind_address.h) */
    struct file_notice notice;
};

/* Opens the address that text names and listens. 0, or -1 with err filled: EXIT_USAGE for a text
 * that is no address, EXIT_BIND for one that cannot be had, and errno EADDRINUSE if that is because
 * another server has it; *l is then closed and owns nothing. Blocks only to resolve a host name. A
 * unix socket's name appears when the socket listens (socket_file.h); its file gets its mode from
 * the process's umask. A file left by a dead server is replaced; what is no socket is never
 * removed. */
int listener_open_for(struct listener *l, const char *text, int backlog,
                      const struct listener_options *options, struct error *err);

/* The same with the process's own user and group. */
int listener_open(struct listener *l, const char *text, int backlog, struct error *err);

enum listener_state {
    LISTENER_FREE,
    LISTENER_IN_USE,  /* a process serves it */
    LISTENER_REFUSED, /* it cannot be had for another reason */
};

/* What listener_open would meet, without changing anything that others see: a TCP address is bound
 * for a moment and not listened on, a unix socket's file is connected to. Unless FREE, err is what
 * listener_open would say. *holder is the process that listens on a unix socket, 0 if not known.
 * fd:// is FREE: only the server itself is passed it. Blocks as listener_open does. */
enum listener_state listener_probe(const char *text, pid_t *holder, struct error *err);

/* Closes and frees. With unlink_file the unix socket's file is removed, if it is still the one that
 * this process made, and not lent: not the file of a successor. Harmless on a closed one. */
void listener_close(struct listener *l, bool unlink_file);

/* Listens no more: unlinks the unix socket's file as above and closes, but keeps the names. */
void listener_stop(struct listener *l);

/* How many connections wait to be accepted, and how many may (tcp(7), TCP_INFO). 0, or -1 with
 * errno: ENOTSUP or EOPNOTSUPP of a unix socket, whose queue the kernel does not tell. Does not
 * block. */
struct listener_queue {
    uint32_t length;
    uint32_t limit;
};
int listener_get_queue(const struct listener *l, struct listener_queue *queue);

/* Is text an address? Opens and resolves nothing. 0, or -1 with err (EXIT_USAGE). */
int listener_check(const char *text, struct error *err);

/* Does text name the address that l listens on, so that a reload keeps the socket? Host names are
 * compared as text and not resolved; the path of a unix socket, relative to the present directory,
 * must lead to the file that l made: when it has been removed, no client can reach l any more. */
bool listener_same(const struct listener *l, const char *text);

/* Is what lies at path the socket file that l made? */
bool listener_has_file(const struct listener *l, const char *path);

/* Does l take connections that a listener with this address would take, so that it cannot be
 * opened? Resolves a host name, so it may block. */
bool listener_overlaps(const struct listener *l, const char *text);

/* Do two texts name one address? As far as their words tell: nothing is resolved. */
bool listener_same_text(const char *text, const char *other);

#endif
