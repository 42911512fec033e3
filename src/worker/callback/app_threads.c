/* SPDX-License-Identifier: MIT
 *
 * See app_threads.h. A thread that ends by itself wakes the loop, which joins it.
 */
#include "worker/callback/app_threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "worker/callback/callback.h"
#include "worker/callback/posts.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum { NAME_SIZE = 16 }; /* of the kernel */

struct app_thread {
    struct app_thread *next;
    struct worker *worker;
    pthread_t handle;
    char name[NAME_SIZE];
    gcorn_call_fn *run, *stop;
    void *arg;
    _Atomic bool has_ended;
};

struct app_threads {
    pthread_mutex_t lock;     /* of the two below: any thread may start another */
    struct app_thread *first; /* the latest */
    bool is_closed;
};

void app_threads_init(struct worker *w)
{
    w->app_threads = xcalloc(1, sizeof(*w->app_threads));
    (void)pthread_mutex_init(&w->app_threads->lock, NULL); /* cannot fail: the defaults */
}

static void *run_thread(void *arg)
{
    struct app_thread *t = arg;
    struct worker *w = t->worker;

    crash_init_thread();
    t->run(t->arg);
    forked_check();
    crash_end_thread();
    atomic_store(&t->has_ended, true); /* t may be freed from here on */
    posts_wake(w);
    return NULL;
}

/* Takes a thread that has ended out of the list. NULL: there is none. */
static struct app_thread *take_ended(struct app_threads *all)
{
    (void)pthread_mutex_lock(&all->lock);
    struct app_thread **link = &all->first, *t;
    while ((t = *link) && !atomic_load(&t->has_ended))
        link = &t->next;
    if (t)
        *link = t->next;
    (void)pthread_mutex_unlock(&all->lock);
    return t;
}

/* Joins and frees the threads that have ended. The lock is not held meanwhile: a destructor of
 * thread-specific data, which runs now, may start another thread. */
void app_threads_join_ended(struct worker *w)
{
    struct app_thread *t;

    while ((t = take_ended(w->app_threads))) {
        (void)pthread_join(t->handle, NULL); /* run has returned */
        free(t);
    }
}

void app_threads_stop(struct worker *w)
{
    struct app_threads *all = w->app_threads;

    (void)pthread_mutex_lock(&all->lock);
    all->is_closed = true;
    (void)pthread_mutex_unlock(&all->lock);
    app_threads_join_ended(w);
    for (struct app_thread *t = all->first; t; t = t->next) { /* nothing changes the list now */
        if (t->stop)
            callback_run(w, "STOP", t->stop, t->arg);
    }
}

static void log_left(const struct app_thread *first)
{
    struct strbuf names = {0};

    for (const struct app_thread *t = first; t; t = t->next)
        strbuf_addf(&names, "%s%s", names.len > 0 ? ", " : "", t->name);
    log_warnx("Threads of the application have not ended within graceful_timeout: %s; the worker "
              "exits without them",
              names.data);
    strbuf_release(&names);
}

bool app_threads_join(struct worker *w, uint64_t until_ms)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (;;) {
        posts_run(w); /* a thread may wait for one */
        app_threads_join_ended(w);
        if (!w->app_threads->first)
            return true;
        if (now_ms() >= until_ms)
            break;
        (void)clock_nanosleep(CLOCK_MONOTONIC, 0, &moment, NULL);
    }
    log_left(w->app_threads->first);
    return false;
}

/* All signals but the fatal ones stay blocked in it: the others are the loop's thread's. Returns an
 * error's number. */
static int create(struct app_thread *t)
{
    sigset_t before, blocked;

    (void)sigfillset(&blocked);
    crash_spare_fatal(&blocked);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int error = pthread_create(&t->handle, NULL, run_thread, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        (void)pthread_setname_np(t->handle, t->name); /* only for debuggers and top */
    return error;
}

int app_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg)
{
    struct worker *w = worker_this();
    struct app_threads *all = w ? w->app_threads : NULL;
    int error = ESHUTDOWN;

    if (!all) {
        errno = ENOTSUP;
        return -1;
    }
    struct app_thread *t = xcalloc(1, sizeof(*t));
    *t = (struct app_thread){.worker = w, .run = run, .stop = stop, .arg = arg};
    (void)snprintf(t->name, sizeof(t->name), "%s", name ? name : "application");
    (void)pthread_mutex_lock(&all->lock);
    if (!all->is_closed)
        error = create(t);
    if (error == 0) {
        t->next = all->first;
        all->first = t;
    }
    (void)pthread_mutex_unlock(&all->lock);
    if (error == 0)
        return 0;
    free(t);
    errno = error;
    return -1;
}
