/* SPDX-License-Identifier: MIT
 *
 * See fake_loop.h. A loop is a list of active watchers for each kind, and a list of pending events
 * for each priority, the last of which is called first, as in libev.
 */
#include "fake_loop.h"

#include <stdlib.h>
#include <time.h>

#include "base/util.h"

enum kind { KIND_IO, KIND_TIMER, KIND_IDLE, KIND_PREPARE, KIND_CHECK, KIND_ASYNC, KINDS };

enum { PRIORITIES = EV_MAXPRI - EV_MINPRI + 1, START_NS = 1000000000, START_WALL = 784111777 };

struct list {
    void **items;
    size_t count, room;
};

struct ev_loop {
    struct list active[KINDS];
    struct list pending[PRIORITIES]; /* an item may be NULL: cleared */
    void *userdata;
    bool breaks;
};

static uint64_t time_ns = START_NS;
static fake_ready_fn *is_ready;

static void add(struct list *l, void *item)
{
    if (l->count == l->room) {
        l->room = l->room ? 2 * l->room : 16;
        l->items = xrealloc(l->items, l->room * sizeof(*l->items));
    }
    l->items[l->count++] = item;
}

static struct ev_watcher *watcher(void *w)
{
    return w;
}

/* ---- time -------------------------------------------------------------------------------- */

uint64_t __wrap_now_ns(void);
uint64_t __wrap_now_ms(void);
time_t __wrap_time(time_t *result);

uint64_t __wrap_now_ns(void)
{
    return time_ns;
}

uint64_t __wrap_now_ms(void)
{
    return time_ns / 1000000;
}

/* The server asks for the wall's time only to print it. */
time_t __wrap_time(time_t *result)
{
    (void)result;
    return START_WALL + (time_t)(time_ns / 1000000000);
}

void fake_loop_reset_time(void)
{
    time_ns = START_NS;
}

void fake_loop_advance_ns(uint64_t ns)
{
    time_ns += ns;
}

uint64_t fake_loop_now_ms(void)
{
    return time_ns / 1000000;
}

static double now_s(void)
{
    return (double)time_ns / 1e9;
}

/* ---- pending ----------------------------------------------------------------------------- */

static struct list *pending_of(struct ev_loop *loop, const struct ev_watcher *w)
{
    return &loop->pending[w->priority - EV_MINPRI];
}

void ev_feed_event(struct ev_loop *loop, void *w, int revents) EV_NOEXCEPT
{
    (void)revents; /* no callback of the server looks at them */
    if (watcher(w)->pending)
        return;
    add(pending_of(loop, w), w);
    watcher(w)->pending = (int)pending_of(loop, w)->count;
}

static void clear_pending(struct ev_loop *loop, struct ev_watcher *w)
{
    if (w->pending)
        pending_of(loop, w)->items[w->pending - 1] = NULL;
    w->pending = 0;
}

void ev_invoke_pending(struct ev_loop *loop)
{
    for (int p = PRIORITIES - 1; p >= 0; p--) {
        while (loop->pending[p].count > 0) {
            struct ev_watcher *w = loop->pending[p].items[--loop->pending[p].count];

            if (!w)
                continue;
            w->pending = 0;
            w->cb(loop, w, EV_CUSTOM);
            p = PRIORITIES - 1; /* what it has fed may come first */
        }
    }
}

/* ---- active ------------------------------------------------------------------------------ */

static void start(struct ev_loop *loop, enum kind kind, void *w)
{
    if (watcher(w)->active)
        return;
    add(&loop->active[kind], w);
    watcher(w)->active = (int)loop->active[kind].count;
}

static void stop(struct ev_loop *loop, enum kind kind, void *w)
{
    struct list *l = &loop->active[kind];

    clear_pending(loop, w);
    if (!watcher(w)->active)
        return;
    struct ev_watcher *last = l->items[--l->count];
    l->items[watcher(w)->active - 1] = last;
    last->active = watcher(w)->active;
    watcher(w)->active = 0;
}

#define START_STOP(name, type)                                                                     \
    void ev_##type##_start(struct ev_loop *loop, struct ev_##type *w) EV_NOEXCEPT                  \
    {                                                                                              \
        start(loop, name, w);                                                                      \
    }                                                                                              \
    void ev_##type##_stop(struct ev_loop *loop, struct ev_##type *w) EV_NOEXCEPT                   \
    {                                                                                              \
        stop(loop, name, w);                                                                       \
    }

START_STOP(KIND_IO, io)
START_STOP(KIND_IDLE, idle)
START_STOP(KIND_PREPARE, prepare)
START_STOP(KIND_CHECK, check)
START_STOP(KIND_ASYNC, async)

void ev_timer_start(struct ev_loop *loop, struct ev_timer *w) EV_NOEXCEPT
{
    if (w->active)
        return;
    w->at += now_s();
    start(loop, KIND_TIMER, w);
}

void ev_timer_stop(struct ev_loop *loop, struct ev_timer *w) EV_NOEXCEPT
{
    bool was_active = w->active;

    stop(loop, KIND_TIMER, w);
    if (was_active)
        w->at -= now_s();
}

void ev_timer_again(struct ev_loop *loop, struct ev_timer *w) EV_NOEXCEPT
{
    stop(loop, KIND_TIMER, w);
    w->at = w->repeat;
    if (w->repeat > 0)
        ev_timer_start(loop, w);
}

ev_tstamp ev_timer_remaining(struct ev_loop *loop, struct ev_timer *w) EV_NOEXCEPT
{
    (void)loop;
    return w->active ? w->at - now_s() : w->at;
}

void ev_async_send(struct ev_loop *loop, struct ev_async *w) EV_NOEXCEPT
{
    (void)loop;
    w->sent = 1;
}

/* ---- the loop ---------------------------------------------------------------------------- */

struct ev_loop *ev_loop_new(unsigned flags) EV_NOEXCEPT
{
    (void)flags;
    return xcalloc(1, sizeof(struct ev_loop));
}

void ev_break(struct ev_loop *loop, int how) EV_NOEXCEPT
{
    (void)how;
    loop->breaks = true;
}

bool fake_loop_took_break(struct ev_loop *loop)
{
    bool took = loop->breaks;

    loop->breaks = false;
    return took;
}

void fake_loop_ask(fake_ready_fn *ready)
{
    is_ready = ready;
}

bool fake_loop_watches(struct ev_loop *loop, int fd)
{
    for (size_t i = 0; i < loop->active[KIND_IO].count; i++) {
        if (((struct ev_io *)loop->active[KIND_IO].items[i])->fd == fd)
            return true;
    }
    return false;
}

static void feed_all(struct ev_loop *loop, enum kind kind)
{
    for (size_t i = 0; i < loop->active[kind].count; i++)
        ev_feed_event(loop, loop->active[kind].items[i], 0);
}

static void poll_all(struct ev_loop *loop)
{
    for (size_t i = 0; i < loop->active[KIND_IO].count; i++) {
        struct ev_io *io = loop->active[KIND_IO].items[i];
        int wanted = io->events & (EV_READ | EV_WRITE);

        if (is_ready && is_ready(io->fd, wanted) != 0)
            ev_feed_event(loop, io, wanted);
    }
    for (size_t i = 0; i < loop->active[KIND_ASYNC].count; i++) {
        struct ev_async *async = loop->active[KIND_ASYNC].items[i];

        if (async->sent)
            ev_feed_event(loop, async, EV_ASYNC);
        async->sent = 0;
    }
}

static bool is_due(const struct ev_timer *timer)
{
    return timer->at <= now_s() + 1e-6;
}

static void feed_timers(struct ev_loop *loop)
{
    for (size_t i = 0; i < loop->active[KIND_TIMER].count;) {
        struct ev_timer *timer = loop->active[KIND_TIMER].items[i];

        if (!is_due(timer)) {
            i++;
            continue;
        }
        if (timer->repeat > 0) {
            timer->at = now_s() + timer->repeat;
            i++;
        } else {
            ev_timer_stop(loop, timer); /* another timer takes its place in the list */
        }
        ev_feed_event(loop, timer, EV_TIMER);
    }
}

uint64_t fake_loop_next_ms(struct ev_loop *loop)
{
    double next = -1;

    for (size_t i = 0; i < loop->active[KIND_TIMER].count; i++) {
        const struct ev_timer *timer = loop->active[KIND_TIMER].items[i];

        if (next < 0 || timer->at < next)
            next = timer->at;
    }
    if (next < 0)
        return UINT64_MAX;
    return next > now_s() ? (uint64_t)((next - now_s()) * 1e3) + 1 : 0;
}

void fake_loop_pass(struct ev_loop *loop)
{
    feed_all(loop, KIND_PREPARE);
    ev_invoke_pending(loop);
    poll_all(loop);
    feed_timers(loop);
    feed_all(loop, KIND_IDLE);
    feed_all(loop, KIND_CHECK);
    ev_invoke_pending(loop);
}

/* What the server calls for a moment's turn, while an answer waits in a worker alone. */
int ev_run(struct ev_loop *loop, int flags)
{
    (void)flags;
    fake_loop_pass(loop);
    return 1;
}

void fake_loop_free(struct ev_loop *loop)
{
    for (int i = 0; i < KINDS; i++)
        free(loop->active[i].items);
    for (int i = 0; i < PRIORITIES; i++)
        free(loop->pending[i].items);
    free(loop);
}
