/* SPDX-License-Identifier: MIT
 *
 * See forked.h. The code that runs in the child between fork and the application's next instruction
 * is async-signal-safe: other threads do not exist there, but the locks that they held do.
 *
 * A child of a thread of the pool, or of a thread of the application, can return at most to
 * run_thread. A child of the loop's thread can return to the loop, from a callback of the
 * application; the server's next callback detects that (worker_look_at_clock), or libev does,
 * because its epoll descriptor is closed.
 */
#include "worker/call/forked.h"

#include <dirent.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/syslog.h"
#include "base/util.h"
#include "system/messages/message_bus.h"
#include "system/process/loop.h"
#include "worker/call/app_metrics.h"
#include "worker/call/call.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

static struct {
    const struct worker_args *args;
    struct worker *worker;  /* NULL: the template */
    int epoll_fd, event_fd; /* the loop's; -1: not known */
    ino_t loop_inode;       /* of both: see unmark_if_changed */
    int body_fd; /* of the request that the forking thread serves; valid while the lock is held */
    struct ev_async first; /* makes the loop have its descriptor for wake-ups */
    _Atomic bool has_forked;
    bool is_watching;
    bool is_child;
} self = {.epoll_fd = -1, .event_fd = -1, .body_fd = -1};

static _Thread_local bool is_servers_fork;

/* ---- the child --------------------------------------------------------------------------- */

void forked_end(void)
{
    log_errorx("A child that the application forked (pid: %d) has returned to the server, which "
               "ends it: such a child must end by _exit or exec",
               (int)getpid());
    _exit(EXIT_FAILED);
}

void forked_check(void)
{
    if (self.is_child)
        forked_end();
}

/* epoll_wait on a descriptor that is closed. */
static void on_loop_failed(const char *message)
{
    (void)message;
    forked_end();
}

/* libev sometimes makes a new epoll set, so the number may be a descriptor of the application by
 * now. All descriptors without a file have the same inode (anon_inode); an application's rarely are
 * such. */
static void unmark_if_changed(int fd)
{
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_ino != self.loop_inode))
        owned_remove(fd);
}

/* A child of the loop's thread is detected at the end of a call: here it is set up that this end
 * takes the branch for calls that may last longer. */
static void set_traps(struct worker *w)
{
    atomic_store(&w->slot->calls[0].until_ms, UINT64_MAX);
    w->pass_ns = 0;
    ev_set_syserr_cb(on_loop_failed);
}

static void on_child(void)
{
    if (is_servers_fork || self.is_child) {
        owned_unlock();
        return;
    }
    self.is_child = true;
    unmark_if_changed(self.epoll_fd);
    unmark_if_changed(self.event_fd);
    owned_close_all(self.body_fd);
    owned_unlock();
    if (self.args->scoreboard)
        scoreboard_forget(self.args->scoreboard);
    if (self.args->bus)
        message_bus_forget(self.args->bus);
    metrics_init(NULL);
    if (self.worker) {
        worker_set_this(NULL);
        set_traps(self.worker);
    }
}

/* ---- the parent -------------------------------------------------------------------------- */

/* The stream whose request this thread serves; NULL: none. */
static const struct stream *own_stream(const struct worker *w)
{
    pid_t thread = (pid_t)syscall(SYS_gettid);

    for (unsigned i = 0; i < call_count(w); i++) {
        if (call_thread_id(w, i) == thread)
            return slot_call_runs(&w->slot->calls[i]) ? call_serving(w, i) : NULL;
    }
    return NULL;
}

/* The server's forks take the lock, too: another thread, which may fork itself at this moment,
 * would leave it locked for good in the child. */
static void on_prepare(void)
{
    owned_lock();
    if (is_servers_fork)
        return;
    const struct stream *s = self.worker && !self.is_child ? own_stream(self.worker) : NULL;
    self.body_fd = s && s->env ? s->env->request.body.fd : -1;
    atomic_store(&self.has_forked, true);
}

static void on_parent(void)
{
    owned_unlock();
}

void forked_by_server(bool on)
{
    is_servers_fork = on;
}

void forked_forget_fd(int fd)
{
    if (self.epoll_fd >= 0 && atomic_load_explicit(&self.has_forked, memory_order_relaxed))
        (void)epoll_ctl(self.epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* ENOENT: never watched */
}

/* ---- init -------------------------------------------------------------------------------- */

/* The application's own code: debuggers read it by this descriptor. */
static bool is_image(int fd)
{
    const struct image *image = self.args->image;

    for (size_t i = 0; image && i < image->count; i++) {
        if (image->parts[i].fd == fd)
            return true;
    }
    return false;
}

static bool is_servers(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    /* a descriptor without close-on-exec was passed to gcorn for its application */
    return fd > STDERR_FILENO && flags >= 0 && (flags & FD_CLOEXEC) && !is_image(fd);
}

/* Marks all descriptors that are open before the application is loaded. Without /proc only those
 * that are marked one by one. */
static void mark_all(void)
{
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name); /* "." and "..": 0, which is not marked */

        if (fd != dirfd(dir) && is_servers(fd))
            owned_add(fd);
    }
    (void)closedir(dir);
}

/* A child keeps these descriptors. */
static void keep_logs(const struct worker_args *args)
{
    const int logs[] = {log_fd(), args->access_fd, log_syslog() ? log_syslog()->fd : -1};

    for (size_t i = 0; i < ARRAY_LEN(logs); i++) {
        owned_remove(logs[i]);
        owned_keep(logs[i]);
    }
}

static void mark_sockets(const struct worker_args *args)
{
    for (size_t i = 0; i < args->listener_count; i++)
        owned_add(args->listeners[i]->fd);
    owned_add(args->channel.up_write);
    owned_add(args->channel.down_worker);
}

void forked_watch(const struct worker_args *args)
{
    self.args = args;
    if (!self.is_watching) {
        /* out of memory: children keep everything */
        self.is_watching = pthread_atfork(on_prepare, on_parent, on_child) == 0;
        mark_all();
        keep_logs(args);
    }
    mark_sockets(args);
}

void forked_init(struct worker *w)
{
    forked_watch(w->args);
    owned_add(self.epoll_fd);
    owned_add(self.event_fd);
    owned_add(w->crash_dir_fd);
    self.worker = w;
}

/* The number that the next descriptor will get; -1: unknown. Notes the inode, which the loop's
 * descriptors have, too. */
static int next_fd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0)
        self.loop_inode = st.st_ino;
    if (fd >= 0)
        (void)close(fd);
    return fd;
}

bool forked_has_loop(void)
{
    struct epoll_event event;
    bool has_epoll = self.epoll_fd < 0 || epoll_wait(self.epoll_fd, &event, 1, 0) >= 0;

    return has_epoll && (self.event_fd < 0 || fcntl(self.event_fd, F_GETFD) >= 0);
}

static void on_first(struct ev_loop *loop, struct ev_async *async, int revents)
{
    (void)loop;
    (void)async;
    (void)revents;
}

/* libev does not tell its descriptors: they are the lowest free numbers. */
struct ev_loop *forked_new_loop(struct error *err)
{
    self.epoll_fd = next_fd();
    struct ev_loop *loop = loop_new(err);
    if (!loop)
        return NULL;
    self.event_fd = next_fd();
    ev_async_init(&self.first, on_first);
    ev_async_start(loop, &self.first);
    return loop_try(loop, err) < 0 ? NULL : loop;
}
