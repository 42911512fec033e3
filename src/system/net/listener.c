/* SPDX-License-Identifier: MIT
 *
 * See listener.h. A text is first parsed into a struct bind_address, which holds the same bytes for
 * all spellings of one address; opening and comparing start from there.
 */
#include "system/net/listener.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/net/bind_address.h"
#include "system/net/handed_fd.h"
#include "system/net/socket_file.h"
#include "system/net/tcp.h"
#include "system/file/writable.h"

int listener_check(const char *text, struct error *err)
{
    struct bind_address a;

    return bind_parse(&a, text, err);
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
    if (socket_file_listen(l->fd, a->path, backlog, options, &made, &why) < 0)
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

    assert(len > 0 && len <= sizeof(un.sun_path));
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
    const struct tcp_binding how = {.backlog = backlog, .v6_only = options->v6_only};
    struct bind_address a;
    int rc = -1;

    *l = (struct listener){.fd = -1};
    errno = EINVAL;
    if (bind_parse(&a, text, err) < 0)
        return -1;
    l->text = xstrdup(text);
    switch (a.kind) {
    case BIND_TCP: rc = tcp_open(l, &a, &how, err); break;
    case BIND_UNIX: rc = open_unix(l, &a, backlog, options, err); break;
    case BIND_ABSTRACT: rc = open_abstract(l, &a, backlog, err); break;
    case BIND_FD: rc = handed_fd_open(l, &a, err); break;
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

enum listener_state listener_probe(const char *text, pid_t *holder, struct error *err)
{
    struct bind_address a;

    *holder = 0;
    if (bind_parse(&a, text, err) < 0)
        return LISTENER_REFUSED;
    switch (a.kind) {
    case BIND_TCP: return tcp_probe(&a, err);
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
    if (l->lent) /* another master has the same file; which one removes it is decided later */
        return;
    free(l->path); /* another process may use the name from now on */
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
                                       : tcp_name_overlaps(l, &own, &a);
}
