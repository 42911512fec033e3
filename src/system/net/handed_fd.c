/* SPDX-License-Identifier: MIT
 *
 * See handed_fd.h. The descriptor is taken over as it is: listening again would change the backlog
 * that its owner chose. A number comes from a person and may be anything, so it is checked first.
 */
#include "system/net/handed_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/util.h"
#include "system/net/bind_address.h"
#include "system/net/listener.h"
#include "system/net/tcp.h"

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

int handed_fd_open(struct listener *l, const struct bind_address *a, struct error *err)
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
        (l->family != AF_UNIX && tcp_describe(l) < 0))
        return error_set(err, EXIT_BIND, "cannot use fd://%d: %s", a->fd, strerror(errno));
    if (l->family != AF_UNIX)
        tcp_set_nodelay(l->fd);
    l->name = xasprintf("fd://%d", a->fd);
    return 0;
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
    if (rc == 0 && l->family != AF_UNIX && tcp_describe(l) < 0)
        rc = error_set(err, EXIT_BIND, "cannot take over %s: %s", l->name, strerror(errno));
    if (rc < 0)
        listener_close(l, false);
    return rc;
}
