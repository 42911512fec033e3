/* SPDX-License-Identifier: MIT
 *
 * See fatal.h. Only a JSON log line allocates here: memory reserved at the start is freed for it,
 * and if that is not enough, a plain line is written instead.
 */
#include "master/fatal.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "master/generation/listeners.h"
#include "master/state.h"
#include "system/process/daemon.h"

enum { RESERVE_SIZE = 64 * 1024 };

/* The data of callbacks that get no context. */
static struct {
    struct master *master; /* NULL: not created yet */
    pid_t pid;
    void *reserve;
    bool is_leaving;
} self;

static void remove_sockets(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current) {
        listeners_stop(g);
        if (g->admin_listener)
            listener_stop(g->admin_listener);
    }
    listener_stop(&m->control.listener);
    listener_stop(&m->next_control);
    listener_stop(&m->successor.control);
}

static void __attribute__((noreturn)) leave_child(const char *why)
{
    if (!self.is_leaving) { /* the log line takes memory */
        self.is_leaving = true;
        log_critical("%s; this process ends", why);
    }
    abort();
}

static void __attribute__((noreturn)) leave(const char *why)
{
    static const char plain[] = "gcorn: out of memory; exiting with status 1\n";

    if (getpid() != self.pid) /* a worker: its handler of SIGABRT answers its clients */
        leave_child(why);
    if (self.is_leaving) {                                /* the log line takes memory */
        (void)!write(log_fd(), plain, sizeof(plain) - 1); /* there is no other place to say so */
        _exit(EXIT_FAILED);
    }
    self.is_leaving = true;
    if (self.master) {
        pidfile_close(&self.master->pidfile);
        pidfile_close(&self.master->next_pidfile);
        remove_sockets(self.master);
    }
    free(self.reserve);
    log_critical("%s; exiting with status %d", why, EXIT_FAILED);
    daemon_report(EXIT_FAILED);
    _exit(EXIT_FAILED);
}

static void on_no_memory(size_t size, void *unused)
{
    char why[80];

    (void)unused;
    (void)snprintf(why, sizeof(why), "Out of memory (%zu bytes)", size);
    leave(why);
}

static void *allocate_for_libev(void *p, long size) EV_NOEXCEPT
{
    if (size > 0)
        return xrealloc(p, (size_t)size);
    free(p);
    return NULL;
}

static void on_libev_failure(const char *what) EV_NOEXCEPT
{
    char why[160];

    (void)snprintf(why, sizeof(why), "%s: %s", what, strerror(errno));
    leave(why);
}

void leave_prepare(struct master *m)
{
    self.master = m;
    self.pid = getpid();
    if (!self.reserve)
        self.reserve = malloc(RESERVE_SIZE); /* NULL: no reserve */
    if (self.reserve)
        memset(self.reserve, 0, RESERVE_SIZE); /* so that the kernel provides the pages now */
    xmalloc_set_handler(on_no_memory, NULL);
    ev_set_allocator(allocate_for_libev);
    ev_set_syserr_cb(on_libev_failure);
}
