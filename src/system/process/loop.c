/* SPDX-License-Identifier: MIT
 *
 * See loop.h. The trial sends its event immediately before epoll_wait
 * (ev_set_loop_release_cb), because libev notices an earlier one without the kernel.
 */
#include "system/process/loop.h"

#include <errno.h>
#include <ev.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/error.h"
#include "base/util.h"

struct ev_loop *loop_new(struct error *err)
{
    int fd = epoll_create1(EPOLL_CLOEXEC); /* libev does not tell the reason */

    if (fd < 0) {
        (void)error_set(err, EXIT_FAILED, "cannot make an event loop: epoll_create: %s",
                        strerror(errno));
        return NULL;
    }
    fd_close(&fd);
    struct ev_loop *loop = ev_loop_new(EVFLAG_NOENV | EVBACKEND_EPOLL);
    if (!loop)
        (void)error_set(err, EXIT_FAILED,
                        "cannot make an event loop: libev was built without epoll");
    return loop;
}

/* ---- registering ------------------------------------------------------------------------- */

static void call_none(struct ev_loop *loop)
{
    (void)loop;
}

void loop_register(struct ev_loop *loop)
{
    ev_set_invoke_pending_cb(loop, call_none);
    (void)ev_run(loop, EVRUN_NOWAIT);
    ev_set_invoke_pending_cb(loop, ev_invoke_pending);
}

/* ---- the trial --------------------------------------------------------------------------- */

struct trial {
    struct ev_async async;
    bool has_come;
};

static void on_async(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct trial *trial = async->data;

    (void)loop;
    (void)revents;
    trial->has_come = true;
}

static void before_wait(struct ev_loop *loop) EV_NOEXCEPT
{
    struct trial *trial = ev_userdata(loop);

    ev_async_send(loop, &trial->async);
}

static void after_wait(struct ev_loop *loop) EV_NOEXCEPT
{
    (void)loop;
}

int loop_try(struct ev_loop *loop, struct error *err)
{
    struct trial trial = {.has_come = false};
    void *before = ev_userdata(loop);

    ev_async_init(&trial.async, on_async);
    trial.async.data = &trial;
    ev_async_start(loop, &trial.async);
    (void)ev_run(loop, EVRUN_NOWAIT); /* a refused watcher gets an event here, too */
    ev_set_userdata(loop, &trial);
    ev_set_loop_release_cb(loop, before_wait, after_wait);
    (void)ev_run(loop, EVRUN_NOWAIT);
    ev_set_loop_release_cb(loop, NULL, NULL);
    ev_set_userdata(loop, before);
    ev_async_stop(loop, &trial.async);
    return trial.has_come
               ? 0
               : error_set(err, EXIT_FAILED,
                           "signals do not reach the event loop: epoll_ctl fails (the limit "
                           "fs.epoll.max_user_watches?)");
}
