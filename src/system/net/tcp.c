/* SPDX-License-Identifier: MIT
 *
 * See tcp.h. A literal address never reaches the resolver: a start must not hang on a name server
 * that it does not need. A host name is bound on IPv4 if it has such an address, as gunicorn does,
 * so that `localhost` is what the neighbours' settings mean by 127.0.0.1.
 */
#include "system/net/tcp.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/util.h"
#include "system/net/bind_address.h"

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

int tcp_describe(struct listener *l)
{
    struct sockaddr_storage ss = {0};
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

void tcp_set_nodelay(int fd)
{
    int on = 1;

    /* A socket without the option is slower, and still serves. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

/* A backlog for bind_tcp and its callers: the address is only tried, and no client can connect. */
enum { NO_LISTEN = -1 };

/* The listening descriptor, or -1 with errno. */
static int bind_tcp(const struct sockaddr *sa, socklen_t len, const struct tcp_binding *how)
{
    int on = 1;
    int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    tcp_set_nodelay(fd);
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
 * if it is one of the system's (else 0). "In use" and "permission denied" end the search: else
 * half of the clients of the name would reach another server. */
static int bind_name(const struct bind_address *a, const struct tcp_binding *how, const char **why)
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
static int bind_address(const struct bind_address *a, const struct tcp_binding *how,
                        const char **why)
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

int tcp_open(struct listener *l, const struct bind_address *a, const struct tcp_binding *how,
             struct error *err)
{
    const char *why = NULL;

    l->fd = bind_address(a, how, &why);
    if (l->fd < 0 || tcp_describe(l) < 0)
        return refuse_tcp(a, why ? why : strerror(errno), err);
    l->name = host_port("http://", l->host, l->port);
    return 0;
}

enum listener_state tcp_probe(const struct bind_address *a, struct error *err)
{
    const char *why = NULL;
    int fd = bind_address(a, &(struct tcp_binding){.backlog = NO_LISTEN}, &why);

    if (fd >= 0) {
        fd_close(&fd);
        return LISTENER_FREE;
    }
    bool in_use = errno == EADDRINUSE;
    (void)refuse_tcp(a, why, err);
    return in_use ? LISTENER_IN_USE : LISTENER_REFUSED;
}

bool tcp_name_overlaps(const struct listener *l, const struct sockaddr_storage *own,
                       const struct bind_address *a)
{
    struct addrinfo *list;
    bool found = false;

    if (resolve(a, &list) != 0)
        return false;
    for (const struct addrinfo *ai = list; ai && !found; ai = ai->ai_next) {
        struct sockaddr_storage ss = {0};

        assert(ai->ai_addrlen <= sizeof(ss));
        memcpy(&ss, ai->ai_addr, ai->ai_addrlen);
        found = bind_addresses_overlap(own, &ss, l->v6_only);
    }
    freeaddrinfo(list);
    return found;
}
