/* SPDX-License-Identifier: MIT
 *
 * See app_timers.h. The loop's clock is as old as its pass, and its timers are a little early, so
 * each timer knows its own time and is set again when it comes too early.
 */
#include "worker/callback/app_timers.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <stdlib.h>

#include "base/compat.h"
#include "base/util.h"
#include "worker/callback/callback.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

enum { INDEX_BITS = 20, TIMERS_MAX = 1 << INDEX_BITS };

#define MS_MAX   UINT64_C(10000000000000) /* 300 years: its nanoseconds fit */
#define NS_OF_MS UINT64_C(1000000)

struct app_timer {
    struct ev_timer watcher;
    struct worker *worker;
    uintptr_t handle;
    gcorn_call_fn *fn;
    void *arg;
    uint64_t due_ns;
    uint64_t every_ns; /* 0: once */
};

struct app_timers {
    struct app_timer *table[TIMERS_MAX]; /* a page takes memory when it is first used */
    uint32_t free_places[TIMERS_MAX];
    uint32_t free_count, used; /* places ever used: [0, used) */
    uintptr_t last_number;
};

/* ---- the table --------------------------------------------------------------------------- */

static struct app_timers *timers_of(struct worker *w)
{
    if (!w->app_timers)
        w->app_timers = xcalloc(1, sizeof(*w->app_timers));
    return w->app_timers;
}

/* Gives the timer a place and its handle. Returns 0, or -1: all places are taken. */
static int place(struct app_timers *all, struct app_timer *t)
{
    if (all->free_count == 0 && all->used == TIMERS_MAX)
        return -1;
    uint32_t index = all->free_count > 0 ? all->free_places[--all->free_count] : all->used++;
    all->table[index] = t;
    t->handle = ++all->last_number << INDEX_BITS | index;
    return 0;
}

/* The timer of a handle; NULL: it is over. */
static struct app_timer *find(const struct app_timers *all, uintptr_t handle)
{
    struct app_timer *t = all ? all->table[handle & (TIMERS_MAX - 1)] : NULL;

    return t && t->handle == handle ? t : NULL;
}

static void end(struct app_timer *t)
{
    struct app_timers *all = t->worker->app_timers;
    uint32_t index = t->handle & (TIMERS_MAX - 1);

    ev_timer_stop(t->worker->loop, &t->watcher);
    all->table[index] = NULL;
    all->free_places[all->free_count++] = index;
    free(t);
}

/* ---- running ----------------------------------------------------------------------------- */

static void arm(struct app_timer *t, uint64_t now)
{
    double after_s = t->due_ns > now ? (double)(t->due_ns - now) / 1e9 : 0;

    ev_timer_stop(t->worker->loop, &t->watcher);
    ev_timer_set(&t->watcher, after_s, 0);
    ev_timer_start(t->worker->loop, &t->watcher);
}

/* The next time after now: times that have passed are left out, and none is moved. */
static void advance(struct app_timer *t, uint64_t now)
{
    t->due_ns += t->every_ns;
    if (t->due_ns <= now)
        t->due_ns += ((now - t->due_ns) / t->every_ns + 1) * t->every_ns;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *watcher, int revents)
{
    struct app_timer *t = watcher->data;
    struct worker *w = t->worker;
    gcorn_call_fn *fn = t->fn;
    uintptr_t handle = t->handle;
    void *arg = t->arg;

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    if (w->now_ns < t->due_ns) {
        arm(t, w->now_ns);
        return;
    }
    if (t->every_ns == 0)
        end(t);
    callback_run(w, "TIMER", fn, arg);
    t = find(w->app_timers, handle); /* it may have stopped itself */
    if (!t)
        return;
    uint64_t now = now_ns();
    advance(t, now);
    arm(t, now);
}

/* ---- for http/host.h --------------------------------------------------------------------- */

/* The worker, if this is its loop's thread; NULL with errno. */
static struct worker *own_worker(void)
{
    struct worker *w = worker_this();

    if (!w || !w->loop)
        errno = ENOTSUP;
    else if (gettid() != w->pid)
        errno = EPERM;
    else
        return w;
    return NULL;
}

struct gcorn_timer *app_timer_start(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg)
{
    struct worker *w = own_worker();

    if (!w)
        return NULL;
    uint64_t now = now_ns(), ns = (ms < MS_MAX ? ms : MS_MAX) * NS_OF_MS;
    struct app_timer *t = xmalloc(sizeof(*t));
    *t = (struct app_timer){
        .worker = w, .fn = fn, .arg = arg, .due_ns = now + ns, .every_ns = repeats ? ns : 0};
    if (place(timers_of(w), t) < 0) {
        free(t);
        errno = ENOSPC;
        return NULL;
    }
    ev_init(&t->watcher, on_timer);
    t->watcher.data = t;
    arm(t, now);
    return (struct gcorn_timer *)t->handle; /* NOLINT(performance-no-int-to-ptr) */
}

void app_timer_stop(struct gcorn_timer *timer)
{
    struct worker *w = own_worker();
    struct app_timer *t = w ? find(w->app_timers, (uintptr_t)timer) : NULL;

    if (t)
        end(t);
}
