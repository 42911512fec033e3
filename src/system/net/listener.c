/* SPDX-License-Identifier: MIT
 *
 * See listener.h. A text is first parsed into a struct bind_address, which holds the same bytes for
 * all spellings of one address; opening and comparing start from there.
 *
 * A literal address never reaches the resolver: a start must not hang on a name server that it does
 * not need. A host name is bound on IPv4 if it has such an address, as gunicorn does, so that
 * `localhost` is what the neighbours' settings mean by 127.0.0.1.
 */
#include "system/net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/net/bind_address.h"
#include "system/net/socket_file.h"
#include "system/file/writable.h"

int listener_check(const char *text, struct error *err)
{
    struct bind_address a;

    return bind_parse(&a, text, err);
}

/* ---- TCP --------------------------------------------------------------------------------- */

static char *host_port(const char *prefix, const char *host, const char *port)
{
    bool v6 = strchr(host, ':') != NULL;

    return xasprintf("%s%s%s%s:%s", prefix, v6 ? "[" : "", host, v6 ? "]" : "", port);
}

static bool is_v6_only(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, &len) == 0 && on != 0;
}

/* host and port of the bound address: what port 0 and a host name came to. 0, or -1 with errno. */
static int describe_tcp(struct listener *l)
{
    struct sockaddr_storage ss;
    socklen_t len = sizeof(ss);

    if (getsockname(l->fd, (struct sockaddr *)&ss, &len) < 0)
        return -1;
    if (getnameinfo((struct sockaddr *)&ss, len, l->host, sizeof(l->host), l->port, sizeof(l->port),
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        errno = EINVAL;
        return -1;
    }
    l->family = ss.ss_family;
    l->v6_only = ss.ss_family == AF_INET6 && is_v6_only(l->fd);
    return 0;
}

/* Linux hands the option on to accepted sockets: a system call a connection saved. Answers leave in
 * one write each, so Nagle's wait for more would only add the client's 40 ms of delayed ACK. */
static void set_nodelay(int fd)
{
    int on = 1;

    /* A socket without the option is slower, and still serves. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* A backlog for bind_tcp and its callers: the address is only tried, and nobody can connect. */
enum { NO_LISTEN = -1 };

struct binding {
    int backlog;
    bool v6_only; /* an address of IPv6 leaves IPv4 alone; else: as is the system's default */
};

/* The listening descriptor, or -1 with errno. */
static int bind_tcp(const struct sockaddr *sa, socklen_t len, const struct binding *how)
{
    int on = 1;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    set_nodelay(fd);
    /* A restart need not wait for the old connections' TIME_WAIT. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        (how->v6_only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
        bind(fd, sa, len) < 0 || (how->backlog != NO_LISTEN && listen(fd, how->backlog) < 0))
        fd_close(&fd);
    return fd;
}

/* The addresses of a name, of IPv4 if it has any; what getaddrinfo returns. */
static int resolve(const struct bind_address *a, struct addrinfo **list)
{
    static const int families[] = {AF_INET, AF_INET6};
    int rc = EAI_NONAME;

    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        struct addrinfo hints = {.ai_flags = AI_PASSIVE | AI_NUMERICSERV,
                                 .ai_family = families[i],
                                 .ai_socktype = SOCK_STREAM};
        rc = getaddrinfo(a->host, a->port, &hints, list);
        if (rc == 0)
            return 0;
    }
    *list = NULL;
    return rc;
}

/* Binds the first address of a name that this machine has; -1 with the reason in *why, and in errno
 * if it is one of the system's (else 0). "In use" and "permission denied" end the search: half the
 * clients of the name would reach somebody else. */
static int bind_name(const struct bind_address *a, const struct binding *how, const char **why)
{
    struct addrinfo *list;
    int rc = resolve(a, &list), fd = -1;

    if (rc != 0) {
        *why = rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc);
        errno = 0;
        return -1;
    }
    for (struct addrinfo *ai = list; ai; ai = ai->ai_next) {
        fd = bind_tcp(ai->ai_addr, ai->ai_addrlen, how);
        if (fd >= 0 || (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT))
            break;
    }
    int saved_errno = errno;
    *why = strerror(errno);
    freeaddrinfo(list);
    errno = saved_errno;
    return fd;
}

/* The same for an address of either form. */
static int bind_address(const struct bind_address *a, const struct binding *how, const char **why)
{
    struct sockaddr_storage ss;
    socklen_t len;

    if (!bind_literal(a, &ss, &len))
        return bind_name(a, how, why);
    int fd = bind_tcp((struct sockaddr *)&ss, len, how);
    if (fd < 0)
        *why = strerror(errno);
    return fd;
}

static int refuse_tcp(const struct bind_address *a, const char *why, struct error *err)
{
    int saved_errno = errno;
    char *where = host_port("", a->host, a->port);

    (void)error_set(err, EXIT_BIND, "cannot bind %s: %s", where, why);
    free(where);
    errno = saved_errno;
    return -1;
}

static int open_tcp(struct listener *l, const struct bind_address *a, const struct binding *how,
                    struct error *err)
{
    const char *why = NULL;

    l->fd = bind_address(a, how, &why);
    if (l->fd < 0 || describe_tcp(l) < 0)
        return refuse_tcp(a, why ? why : strerror(errno), err);
    l->name = host_port("http://", l->host, l->port);
    return 0;
}

static enum listener_state probe_tcp(const struct bind_address *a, struct error *err)
{
    const char *why = NULL;
    int fd = bind_address(a, &(struct binding){.backlog = NO_LISTEN}, &why);

    if (fd >= 0) {
        fd_close(&fd);
        return LISTENER_FREE;
    }
    bool in_use = errno == EADDRINUSE;
    (void)refuse_tcp(a, why, err);
    return in_use ? LISTENER_IN_USE : LISTENER_REFUSED;
}

/* ---- unix -------------------------------------------------------------------------------- */

static int refuse_unix(const struct bind_address *a, const char *why, struct error *err)
{
    return error_set(err, EXIT_BIND, "cannot bind unix:%s: %s", a->path, why);
}

/* What is remembered of the file is there before the file is: whatever fails, and whatever ends the
 * process from then on, can remove it. */
static int open_unix(struct listener *l, const struct bind_address *a, int backlog,
                     const struct listener_options *options, struct error *err)
{
    const char *why;
    struct stat made;

    l->family = AF_UNIX;
    l->name = xasprintf("unix:%s", a->path);
    l->path = path_absolute(a->path); /* it is removed from wherever the process is then */
    l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return refuse_unix(a, strerror(errno), err);
    if (socket_file_listen(l->fd, a->path, backlog, options->uid, options->gid, &made, &why) < 0)
        return refuse_unix(a, why, err);
    l->dev = made.st_dev;
    l->ino = made.st_ino;
    return 0;
}

static enum listener_state probe_unix(const struct bind_address *a, pid_t *holder,
                                      struct error *err)
{
    struct stat found;
    const char *why;
    enum listener_state state = socket_file_look(a->path, &found, holder, &why);

    if (state == LISTENER_FREE && writable_new(a->path) < 0) {
        why = strerror(errno);
        state = LISTENER_REFUSED;
    }
    if (state != LISTENER_FREE)
        (void)refuse_unix(a, why, err);
    return state;
}

/* ---- unix, abstract ---------------------------------------------------------------------- */

/* A name without a file (unix(7)): it goes with the socket, so none is ever stale. The descriptor,
 * or -1 with errno. */
static int bind_abstract(const struct bind_address *a)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(a->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memcpy(un.sun_path + 1, a->path + 1, len - 1); /* parse_unix saw to its length */
    if (fd >= 0 && bind(fd, (struct sockaddr *)&un,
                        (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
        fd_close(&fd);
    return fd;
}

static const char *why_not_abstract(void)
{
    return errno == EADDRINUSE ? "already in use by another server" : strerror(errno);
}

static int open_abstract(struct listener *l, const struct bind_address *a, int backlog,
                         struct error *err)
{
    l->family = AF_UNIX;
    l->fd = bind_abstract(a);
    if (l->fd < 0 || listen(l->fd, backlog) < 0)
        return refuse_unix(a, why_not_abstract(), err);
    l->name = xasprintf("unix:%s", a->path);
    return 0;
}

static enum listener_state probe_abstract(const struct bind_address *a, struct error *err)
{
    int fd = bind_abstract(a);

    if (fd >= 0) {
        fd_close(&fd);
        return LISTENER_FREE;
    }
    bool in_use = errno == EADDRINUSE;
    (void)refuse_unix(a, why_not_abstract(), err);
    return in_use ? LISTENER_IN_USE : LISTENER_REFUSED;
}

/* ---- inherited --------------------------------------------------------------------------- */

static int socket_option(int fd, int option, int *value)
{
    socklen_t len = sizeof(*value);

    return getsockopt(fd, SOL_SOCKET, option, value, &len);
}

/* Is it what it should be? Fills in the family. 0, or -1 with err. */
static int check_socket(struct listener *l, int fd, struct error *err)
{
    int type, listening;

    if (socket_option(fd, SO_TYPE, &type) < 0 || socket_option(fd, SO_DOMAIN, &l->family) < 0 ||
        socket_option(fd, SO_ACCEPTCONN, &listening) < 0)
        return error_set(err, EXIT_BIND, "cannot use fd://%d: %s", fd,
                         errno == EBADF ? "no such descriptor was passed" : strerror(errno));
    bool known = l->family == AF_INET || l->family == AF_INET6 || l->family == AF_UNIX;
    if (!known || type != SOCK_STREAM || !listening)
        return error_set(err, EXIT_BIND, "cannot use fd://%d: not a listening stream socket", fd);
    return 0;
}

/* The descriptor is taken over as it is: listening again would change the backlog that its owner
 * chose. The number comes from a person, so it may be anything: ask before using it. */
static int open_fd(struct listener *l, const struct bind_address *a, struct error *err)
{
    int flags = fcntl(a->fd, F_GETFD);

    /* All that this process opens itself is close-on-exec, and what was passed cannot have been:
     * a number that one of ours happened to get was not passed. */
    if (flags >= 0 && (flags & FD_CLOEXEC))
        return error_set(err, EXIT_BIND, "cannot use fd://%d: no such descriptor was passed",
                         a->fd);
    if (check_socket(l, a->fd, err) < 0)
        return -1;
    l->inherited = true;
    l->fd = a->fd;
    if (fd_set_cloexec(l->fd, true) < 0 || fd_set_nonblock(l->fd) < 0 ||
        (l->family != AF_UNIX && describe_tcp(l) < 0))
        return error_set(err, EXIT_BIND, "cannot use fd://%d: %s", a->fd, strerror(errno));
    if (l->family != AF_UNIX)
        set_nodelay(l->fd);
    l->name = xasprintf("fd://%d", a->fd);
    return 0;
}

/* ---- the queue --------------------------------------------------------------------------- */

int listener_get_queue(const struct listener *l, struct listener_queue *queue)
{
    struct tcp_info info;
    socklen_t len = sizeof(info);

    if (getsockopt(l->fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return -1;
    queue->length = info.tcpi_unacked; /* so it is on a listening socket */
    queue->limit = info.tcpi_sacked;
    return 0;
}

/* ---- life -------------------------------------------------------------------------------- */

int listener_open_for(struct listener *l, const char *text, int backlog,
                      const struct listener_options *options, struct error *err)
{
    const struct binding how = {.backlog = backlog, .v6_only = options->v6_only};
    struct bind_address a;
    int rc = -1;

    *l = (struct listener){.fd = -1};
    errno = EINVAL;
    if (bind_parse(&a, text, err) < 0)
        return -1;
    l->text = xstrdup(text);
    switch (a.kind) {
    case BIND_TCP: rc = open_tcp(l, &a, &how, err); break;
    case BIND_UNIX: rc = open_unix(l, &a, backlog, options, err); break;
    case BIND_ABSTRACT: rc = open_abstract(l, &a, backlog, err); break;
    case BIND_FD: rc = open_fd(l, &a, err); break;
    }
    if (rc < 0) {
        int saved_errno = errno;

        listener_close(l, false); /* it has made no file */
        errno = saved_errno;
    }
    return rc;
}

int listener_open(struct listener *l, const char *text, int backlog, struct error *err)
{
    const struct listener_options self = {.uid = geteuid(), .gid = getegid()};

    return listener_open_for(l, text, backlog, &self, err);
}

int listener_adopt(struct listener *l, const struct listener *described, struct error *err)
{
    *l = (struct listener){.fd = described->fd,
                           .text = xstrdup(described->text),
                           .name = xstrdup(described->name),
                           .inherited = described->inherited,
                           .path = described->path ? xstrdup(described->path) : NULL,
                           .dev = described->dev,
                           .ino = described->ino};
    int rc = check_socket(l, l->fd, err);
    if (rc == 0 && l->family != AF_UNIX && describe_tcp(l) < 0)
        rc = error_set(err, EXIT_BIND, "cannot take over %s: %s", l->name, strerror(errno));
    if (rc < 0)
        listener_close(l, false);
    return rc;
}

enum listener_state listener_probe(const char *text, pid_t *holder, struct error *err)
{
    struct bind_address a;

    *holder = 0;
    if (bind_parse(&a, text, err) < 0)
        return LISTENER_REFUSED;
    switch (a.kind) {
    case BIND_TCP: return probe_tcp(&a, err);
    case BIND_UNIX: return probe_unix(&a, holder, err);
    case BIND_ABSTRACT: return probe_abstract(&a, err);
    case BIND_FD: break; /* is passed to the server alone */
    }
    return LISTENER_FREE;
}

bool listener_has_file(const struct listener *l, const char *path)
{
    struct stat st;

    return l->path && lstat(path, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

void listener_stop(struct listener *l)
{
    /* The name goes first: a client gets "no such file", not a refused connection. */
    if (l->path && !l->lent && listener_has_file(l, l->path))
        (void)unlink(l->path); /* a file left behind is recognised as stale by the next start */
    fd_close(&l->fd);
    if (l->lent) /* whose file it will have been in the end shows later */
        return;
    free(l->path); /* who has the name from now on is no business of ours */
    l->path = NULL;
}

void listener_close(struct listener *l, bool unlink_file)
{
    if (unlink_file)
        listener_stop(l);
    fd_close(&l->fd);
    free(l->text);
    free(l->name);
    free(l->path);
    *l = (struct listener){.fd = -1};
}

bool listener_same_text(const char *text, const char *other)
{
    struct bind_address a, b;
    struct error ignored;

    return bind_parse(&a, text, &ignored) == 0 && bind_parse(&b, other, &ignored) == 0 &&
           bind_same(&a, &b);
}

bool listener_same(const struct listener *l, const char *text)
{
    struct bind_address a;
    struct error ignored;

    if (!l->text || l->fd < 0 || bind_parse(&a, text, &ignored) < 0)
        return false;
    if (a.kind == BIND_UNIX)
        return listener_has_file(l, a.path);
    if (listener_same_text(text, l->text))
        return true;
    /* What a name or port 0 came to, spelled out. */
    return a.kind == BIND_TCP && strcmp(a.host, l->host) == 0 && strcmp(a.port, l->port) == 0;
}

/* Of the same, by the addresses that its name has. */
static bool overlaps_name(const struct listener *l, const struct sockaddr_storage *own,
                          const struct bind_address *a)
{
    struct addrinfo *list;
    bool found = false;

    if (resolve(a, &list) != 0)
        return false;
    for (const struct addrinfo *ai = list; ai && !found; ai = ai->ai_next) {
        struct sockaddr_storage ss = {0};

        memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
        found = bind_addresses_overlap(own, &ss, l->v6_only);
    }
    freeaddrinfo(list);
    return found;
}

bool listener_overlaps(const struct listener *l, const char *text)
{
    struct sockaddr_storage own, ss;
    struct bind_address a;
    struct error ignored;
    socklen_t len = sizeof(own);

    if (l->fd < 0 || bind_parse(&a, text, &ignored) < 0)
        return false;
    if (a.kind != BIND_TCP)
        return listener_same(l, text);
    if (l->family == AF_UNIX || getsockname(l->fd, (struct sockaddr *)&own, &len) < 0)
        return false;
    return bind_literal(&a, &ss, &len) ? bind_addresses_overlap(&own, &ss, l->v6_only)
                                       : overlaps_name(l, &own, &a);
}
