/* SPDX-License-Identifier: MIT
 *
 * See accept.h. Accepting has the lowest priority of the loop: clients that are connected are read
 * first.
 *
 * A worker with more than its share (accept_balance.h) leaves what comes to its siblings for a
 * moment, and does not watch the sockets meanwhile: they would only keep it from sleeping, and the
 * siblings from the processor. The kernel wakes every worker that waits for a socket, so a
 * connection that is left is never forgotten; and for what is there when the moment is over no
 * sibling was quick enough: this worker takes it.
 */
#include "worker/accept/accept.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "base/log.h"
#include "base/owned.h"
#include "base/util.h"
#include "worker/accept/accept_balance.h"
#include "worker/call/call.h"
#include "worker/call/forked.h"
#include "worker/conn/conn.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/notify_master.h"

enum {
    PAUSE_MS = 100,       /* after accept failed for want of something */
    LOG_EVERY_MS = 10000, /* a failure is logged at most this often */
    FAILED_NS =
        1000000000,      /* while connections wait it is tried, and fails, more often than this */
    BEHIND_NS = 1000000, /* a pass as long as this is one in which many can have come */
    BEHIND_MAX = 64,
    LEAVE_MS = 1, /* to siblings that hold fewer connections */
    LEFT_MAX = 4, /* taken at once of what they have left, from one socket */
    BUSY_MS = 10, /* left to them by a worker whose threads are all busy */
};

enum accepted {
    ACCEPTED_ONE,
    ACCEPTED_LOST,   /* this connection is gone; there may be others */
    ACCEPTED_NONE,   /* the queue is empty */
    ACCEPTED_FULL,   /* no room for it here */
    ACCEPTED_FAILED, /* for want of descriptors, say: tried again after a pause */
};

/* For /readyz: since when no new client can be served here, whatever else the worker does. */
static void note_full(struct worker *w, bool is_full)
{
    _Atomic uint64_t *since_ms = &w->slot->full_since_ms;
    bool was_full = atomic_load_explicit(since_ms, memory_order_relaxed) != 0;

    if (is_full != was_full)
        atomic_store_explicit(since_ms, is_full ? w->now_ns / 1000000 : 0, memory_order_relaxed);
}

void accept_update(struct worker *w)
{
    bool can_take = w->open_conns < w->max_conns || admission_is_possible(w);
    bool has_siblings = w->config->workers > 1 && !w->draining; /* one of them may be free */
    bool is_busy = has_siblings && call_is_busy(w);
    bool wanted = can_take && !is_busy && !ev_is_active(&w->accept_pause);

    note_full(w, !can_take || w->now_ns < w->accept_failed_ns + FAILED_NS);
    if (is_busy && !ev_is_active(&w->accept_busy))
        ev_timer_again(w->loop, &w->accept_busy);
    if (wanted == w->accepting)
        return;
    w->accepting = wanted;
    for (size_t i = 0; i < w->args->listener_count; i++) {
        struct acceptor *a = &w->acceptors[i];

        if (a->listener->fd < 0)
            continue;
        if (wanted)
            ev_io_start(w->loop, &a->io);
        else
            ev_io_stop(w->loop, &a->io);
        if (wanted && w->draining)
            ev_feed_event(w->loop, &a->io, EV_READ); /* an empty queue would never wake it */
    }
}

void accept_note_gone(struct worker *w)
{
    if (w->open_conns <= w->pause_limit)
        ev_timer_stop(w->loop, &w->accept_pause);
    accept_update(w);
}

/* Ends early when no more than limit connections are left. */
static void pause_accepting(struct worker *w, uint32_t ms, size_t limit)
{
    assert(limit < w->max_conns);
    w->pause_limit = limit;
    ev_timer_stop(w->loop, &w->accept_pause);
    ev_timer_set(&w->accept_pause, ms / 1000.0, 0);
    ev_timer_start(w->loop, &w->accept_pause);
    accept_update(w);
}

static void log_failure(struct worker *w)
{
    uint64_t now = w->now_ns / 1000000;

    if (now >= w->accept_logged_ms + LOG_EVERY_MS || w->accept_logged_ms == 0) {
        log_error(
            "Worker (pid:%d): cannot accept; trying again in %d ms (logged at most every %d s)",
            (int)w->pid, PAUSE_MS, LOG_EVERY_MS / 1000);
        w->accept_logged_ms = now;
    }
}

/* Does a connection wait in the kernel's queue? An older one gives way only for one that is there.
 */
static bool has_queue(int listen_fd)
{
    struct pollfd one = {.fd = listen_fd, .events = POLLIN};

    return poll(&one, 1, 0) > 0;
}

/* Until it is marked no fork may come: the child would keep it open. */
static int accept_marked(int listen_fd, struct sockaddr_storage *address)
{
    socklen_t len = sizeof(*address);

    owned_lock();
    int fd = owned_take(
        accept4(listen_fd, (struct sockaddr *)address, &len, SOCK_NONBLOCK | SOCK_CLOEXEC));
    owned_unlock();
    return fd;
}

/* At the cap an older connection gives way. Where none does yet, or none can at all, those that
 * wait are looked at again soon. What is read from it on that occasion may be run, and the worker be
 * retired meanwhile: then the socket is closed. */
static enum accepted make_room(struct acceptor *a)
{
    struct worker *w = a->worker;

    if (!has_queue(a->io.fd))
        return ACCEPTED_NONE;
    bool has_room = admission_make_room(w, w->max_conns - 1);
    if (a->listener->fd < 0)
        return ACCEPTED_NONE;
    if (has_room) {
        accept_update(w);
        return ACCEPTED_ONE;
    }
    pause_accepting(w, ADMISSION_AGE_MS, w->max_conns - 1);
    return ACCEPTED_FULL;
}

/* The same for want of descriptors: a connection's, or that of the file with its body. */
static int accept_for_another(struct acceptor *a, struct sockaddr_storage *address)
{
    struct worker *w = a->worker;
    int saved_errno = errno;

    if (!has_queue(a->io.fd)) {
        errno = EAGAIN; /* the kernel looks for a descriptor first */
        return -1;
    }
    errno = saved_errno;
    log_failure(w);
    bool has_room = w->open_conns > 0 && admission_make_room(w, w->open_conns - 1);
    if (a->listener->fd < 0) {
        errno = EAGAIN;
        return -1;
    }
    if (has_room)
        return accept_marked(a->io.fd, address);
    errno = saved_errno;
    return -1;
}

static int accept_next(struct acceptor *a, struct sockaddr_storage *address)
{
    int fd = accept_marked(a->io.fd, address);

    if (fd >= 0 || (errno != EMFILE && errno != ENFILE))
        return fd;
    return accept_for_another(a, address);
}

/* What accept(2) says of a connection, not of the socket. */
static bool is_about_connection(int error_number)
{
    switch (error_number) {
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM: /* a firewall's rule */
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH: return true;
    default: return false;
    }
}

/* The worker accepts nothing at this address any more: it is replaced. */
static void give_up(struct acceptor *a, const char *why)
{
    struct worker *w = a->worker;

    log_errorx("Listening socket %s: the application has %s; this worker is replaced",
               a->listener->name, why);
    ev_io_stop(w->loop, &a->io);
    owned_remove(a->listener->fd);
    a->listener->fd = -1; /* the number may be the application's by now, also to close it */
    if (!w->draining)
        (void)notify_leave(w, "it cannot accept");
}

/* Is the number still the socket that it was? Where it is another one, accept fails in many ways,
 * or takes connections that are not the server's, or waits for them. The loop's epoll cannot tell:
 * it goes on to report what the old socket has, which is still open in the other processes. */
static bool has_socket(struct acceptor *a)
{
    if (a->listener->fd < 0)
        return false;
    if (fd_is(a->listener->fd, &a->mark))
        return true;
    give_up(a, "closed it, or put another file in the place of its descriptor");
    return false;
}

bool accept_has_sockets(const struct worker *w)
{
    bool has_all = true;

    for (size_t i = 0; i < w->args->listener_count; i++)
        has_all = has_all && fd_is(w->acceptors[i].listener->fd, &w->acceptors[i].mark);
    return has_all;
}

void accept_check(struct worker *w)
{
    for (size_t i = 0; i < w->args->listener_count; i++)
        (void)has_socket(&w->acceptors[i]);
}

/* shutdown(2) ends listening in every process. A TCP socket can listen again, at its address, which
 * it has lost if the kernel chose the port; a unix socket refuses its clients for good. */
static enum accepted listen_again(struct acceptor *a)
{
    int fd = a->listener->fd;

    (void)bind(fd, (const struct sockaddr *)&a->address, sizeof(a->address)); /* else it still is */
    if (a->listener->family == AF_UNIX || listen(fd, a->worker->config->backlog) < 0) {
        give_up(a, "shut it down");
        return ACCEPTED_NONE;
    }
    log_errorx("Listening socket %s: the application has shut it down; listening again",
               a->listener->name);
    return ACCEPTED_LOST;
}

static bool listens(int fd)
{
    int on = 0;
    socklen_t len = sizeof(on);

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &on, &len) < 0 || on;
}

static enum accepted accept_one(struct acceptor *a)
{
    struct worker *w = a->worker;
    struct sockaddr_storage address;

    if (!has_socket(a))
        return ACCEPTED_NONE;
    if (w->open_conns >= w->max_conns) {
        enum accepted room = make_room(a);

        if (room != ACCEPTED_ONE)
            return room;
    }
    int fd = accept_next(a, &address);
    if (fd >= 0) {
        conn_open(w, wire_plain(fd), &a->local, &address);
        w->waited_ns = 0; /* those after it came later: perhaps just now (queue_delay.c) */
        accept_update(w);
        return ACCEPTED_ONE;
    }
    if (errno == EAGAIN)
        return ACCEPTED_NONE;
    if (errno == EINVAL) /* another worker may have been faster */
        return listens(a->listener->fd) ? ACCEPTED_NONE : listen_again(a);
    if (is_about_connection(errno))
        return ACCEPTED_LOST;
    log_failure(w);
    w->accept_failed_ns = w->now_ns;
    /* the connection stays in the kernel's queue: trying on at once would only spin (trap T19) */
    pause_accepting(w, PAUSE_MS, 0);
    return ACCEPTED_FAILED;
}

static void close_acceptor(struct acceptor *a)
{
    ev_io_stop(a->worker->loop, &a->io);
    if (a->listener->fd < 0)
        return;
    forked_forget_fd(a->listener->fd);
    if (fd_is(a->listener->fd, &a->mark))
        owned_close(&a->listener->fd);
    else
        owned_remove(a->listener->fd);
    a->listener->fd = -1;
}

/* How many connections wait in the kernel's queue, at most: that of a unix socket is not known. */
static uint32_t queued(const struct acceptor *a)
{
    struct listener_queue queue;

    return listener_get_queue(a->listener, &queue) == 0 ? queue.length
                                                        : (uint32_t)a->worker->config->backlog + 1;
}

/* Takes what waited when the worker was told to drain, and closes the socket then. Clients that come
 * again as soon as they are answered would keep the queue of a full worker from being empty until
 * the master kills it. */
static void take_queue_of(struct acceptor *a)
{
    enum accepted accepted = ACCEPTED_ONE;

    while (a->left > 0 && (accepted == ACCEPTED_ONE || accepted == ACCEPTED_LOST)) {
        accepted = accept_one(a);
        a->left -= accepted == ACCEPTED_ONE || accepted == ACCEPTED_LOST;
    }
    if (a->left == 0 || accepted == ACCEPTED_NONE)
        close_acceptor(a);
}

/* Many at once? Only where calls are known to be short, or have several threads: each client that is
 * taken waits for the calls of the others here, although a sibling may become free. */
static bool may_take_many(const struct worker *w)
{
    bool is_quick = w->last_call_ns > 0 && w->last_call_ns < BEHIND_NS;

    return w->config->workers == 1 || call_thread_count(w) > 0 || is_quick;
}

/* One, so that siblings get the others. But all clients in the backlog wait for a long pass to
 * end, and with one in each they would wait for as many as there are in front of them; siblings
 * have had the time of the pass to take them. */
static int batch(const struct worker *w)
{
    return w->last_pass_ns > BEHIND_NS && may_take_many(w) ? BEHIND_MAX : 1;
}

/* What siblings have left: a few, for they may come yet. */
static void take_left(struct acceptor *a)
{
    for (int left = may_take_many(a->worker) ? LEFT_MAX : 1; left > 0; left--) {
        if (accept_one(a) != ACCEPTED_ONE)
            return;
    }
}

/* The time, at the start of each callback that may accept. Calls of this very pass may have lasted
 * while the master told the worker to drain: the command counts before a connection does, because the
 * master takes it for granted then (procs_may_accept). */
static void begin(struct worker *w)
{
    bool is_first = w->pass_ns == 0;

    worker_look_at_clock(w);
    if (!is_first && call_thread_count(w) == 0)
        commands_run(w);
}

static void on_pause_over(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)loop;
    (void)revents;
    begin(w);
    accept_update(w);
    for (size_t i = 0; i < w->args->listener_count && w->accepting && !w->draining; i++)
        take_left(&w->acceptors[i]);
}

/* The siblings may be as busy, and for ever. Then a new client waits for a thread as the others do.
 * That a thread is free for a moment is no turn for the sockets: what waits here has it at once. */
static void on_busy(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)revents;
    begin(w);
    ev_timer_stop(loop, timer);
    if (w->draining || ev_is_active(&w->accept_pause))
        return;
    for (size_t i = 0; i < w->args->listener_count; i++)
        take_left(&w->acceptors[i]);
}

/* Does the next connection belong to a sibling? Then it has a moment to take it. */
static bool is_siblings(struct worker *w)
{
    uint64_t limit = accept_balance_limit(w->args->scoreboard, w->slot);

    if (w->open_conns <= limit)
        return false;
    pause_accepting(w, LEAVE_MS, limit);
    return true;
}

static void on_accept(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct acceptor *a = io->data;
    struct worker *w = a->worker;

    (void)revents;
    begin(w);
    if (w->draining) {
        if (a->listener->fd >= 0)
            take_queue_of(a);
        if (worker_is_drained(w))
            ev_break(loop, EVBREAK_ALL);
        return;
    }
    /* Calls took long: connections of ours may be waiting unread by now, and a sibling is likely to
     * be free. Once, so that new clients are served also when every worker is busy for ever. */
    if (worker_pass_is_long(w) && !w->accept_skipped && w->config->workers > 1) {
        w->accept_skipped = true;
        return;
    }
    w->accept_skipped = false;
    for (int left = batch(w); left > 0 && !is_siblings(w) && accept_one(a) == ACCEPTED_ONE; left--)
        continue;
}

void accept_init(struct worker *w)
{
    size_t count = w->args->listener_count;

    w->acceptors = xcalloc(count, sizeof(*w->acceptors));
    for (size_t i = 0; i < count; i++) {
        struct acceptor *a = &w->acceptors[i];

        a->worker = w;
        a->listener = w->args->listeners[i];
        socklen_t len = sizeof(a->address);
        fd_mark(a->listener->fd, &a->mark);
        (void)getsockname(a->listener->fd, (struct sockaddr *)&a->address, &len); /* it is bound */
        a->local = (struct http_local){
            .server_name = a->listener->host, .server_port = a->listener->port, .scheme = "http"};
        ev_io_init(&a->io, on_accept, a->listener->fd, EV_READ);
        ev_set_priority(&a->io, EV_MINPRI);
        a->io.data = a;
    }
    ev_init(&w->accept_pause, on_pause_over);
    ev_set_priority(&w->accept_pause, EV_MINPRI);
    ev_timer_init(&w->accept_busy, on_busy, 0, BUSY_MS / 1000.0);
    ev_set_priority(&w->accept_busy, EV_MINPRI);
    w->accept_pause.data = w->accept_busy.data = w;
}

void accept_end(struct worker *w, bool take_queue)
{
    for (size_t i = 0; i < w->args->listener_count; i++) {
        struct acceptor *a = &w->acceptors[i];

        a->left = take_queue && a->listener->fd >= 0 ? queued(a) : 0;
        if (!take_queue)
            close_acceptor(a);
        else if (a->listener->fd >= 0)
            ev_feed_event(w->loop, &a->io, EV_READ); /* on_accept takes it */
    }
    accept_update(w);
}

bool accept_is_over(const struct worker *w)
{
    for (size_t i = 0; i < w->args->listener_count; i++) {
        if (w->acceptors[i].listener->fd >= 0)
            return false;
    }
    return true;
}

bool accept_is_watched(const struct worker *w)
{
    for (size_t i = 0; i < w->args->listener_count && w->accepting; i++) {
        if (!ev_is_active(&w->acceptors[i].io))
            return false;
    }
    return true;
}

void accept_close(struct worker *w)
{
    for (size_t i = 0; i < w->args->listener_count; i++) {
        struct acceptor *a = &w->acceptors[i];

        owned_remove(a->listener->fd); /* the lock is nothing for a signal's handler */
        if (a->listener->fd >= 0 && fd_is(a->listener->fd, &a->mark))
            fd_close(&a->listener->fd);
        a->listener->fd = -1;
    }
}
