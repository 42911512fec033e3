/* SPDX-License-Identifier: MIT
 *
 * See wake.h. Woken connections are in a lock-free list that any thread may push to and the loop
 * takes as a whole, so a crashed or slow thread cannot hold a lock. A connection is in the list at
 * most once; a mark says so and is cleared before the connection's turn, so a wake during the
 * application's call gives it another turn.
 */
#include "worker/call/wake.h"

#include <assert.h>

#include "base/util.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum { PLACE_BITS = 20 }; /* worker_connections is at most 1000000 */

_Static_assert(1000000 <= 1 << PLACE_BITS, "a ticket holds a connection's place");

/* Makes the loop call the application again soon. Any thread. */
static void wake(struct worker *w, struct stream *s)
{
    struct stream *first;

    if (atomic_exchange(&s->is_due, true))
        return;
    first = atomic_load(&w->waker.woken);
    do {
        s->woken_next = first;
    } while (!atomic_compare_exchange_weak(&w->waker.woken, &first, s));
    ev_async_send(w->loop, &w->waker.turn);
}

/* Appends the woken connections, in the order of their wakes, after those that are left over. */
static void take_woken(struct waker *waker)
{
    struct stream *latest = atomic_exchange(&waker->woken, NULL), *first = NULL,
                  **end = &waker->due;

    while (latest) {
        struct stream *next = latest->woken_next;

        latest->woken_next = first;
        first = latest;
        latest = next;
    }
    while (*end)
        end = &(*end)->woken_next;
    *end = first;
}

/* Runs the woken connections; when there are many, other events get their turn in between. */
static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct worker *w = async->data;

    (void)revents;
    worker_look_at_clock(w);
    take_woken(&w->waker);
    while (w->waker.due && !worker_pass_is_long(w)) {
        struct stream *s = w->waker.due;

        w->waker.due = s->woken_next;
        assert(atomic_load(&s->is_due)); /* it is in the list until now */
        atomic_store(&s->is_due, false);
        stream_wake(s);
    }
    if (w->waker.due)
        ev_async_send(loop, async);
}

static void on_alarm(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct stream *s = timer->data;
    struct worker *w = worker_of(conn_of(s));

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    if (w->now_ns / 1000000 < s->x->alarm.at_ms) {
        wake_wait(s); /* too early: the loop's clock is coarser */
        return;
    }
    s->x->alarm.at_ms = 0;
    stream_wake(s);
}

void wake_wait(struct stream *s)
{
    struct worker *w = worker_of(conn_of(s));
    struct alarm *alarm = &s->x->alarm;
    uint64_t now = now_ms();

    if (alarm->at_ms == 0)
        return;
    if (!alarm->timer) {
        alarm->timer = arena_alloc(&s->env->arena, sizeof(*alarm->timer));
        ev_init(alarm->timer, on_alarm);
        alarm->timer->data = s;
    }
    assert(!ev_is_active(alarm->timer)); /* wake_stop stops it when the wait ends */
    ev_timer_set(alarm->timer, alarm->at_ms > now ? (double)(alarm->at_ms - now) / 1000 : 0, 0);
    ev_timer_start(w->loop, alarm->timer);
}

void wake_stop(struct stream *s)
{
    if (s->x->alarm.timer)
        ev_timer_stop(worker_of(conn_of(s))->loop, s->x->alarm.timer);
}

void wake_all(struct worker *w)
{
    for (size_t i = 0; i < w->table_used; i++) {
        if (w->conns[i].h1.runs)
            wake(w, &w->conns[i].h1);
    }
}

void wake_init(struct worker *w)
{
    ev_async_init(&w->waker.turn, on_turn);
    w->waker.turn.data = w;
}

/* ---- for http/host.h --------------------------------------------------------------------- */

uint64_t wake_ticket(struct gcorn_environ *env)
{
    struct worker *w = worker_this();
    struct stream *s = w ? stream_of(env) : NULL;

    if (!s)
        return 0;
    uint64_t ticket = atomic_load_explicit(&s->ticket, memory_order_relaxed);
    if (ticket == 0) {
        assert(conn_of(s) >= w->conns && (size_t)(conn_of(s) - w->conns) < w->max_conns);
        ticket = (atomic_fetch_add(&w->waker.ticket_count, 1) + 1) << PLACE_BITS |
                 (uint64_t)(conn_of(s) - w->conns);
        atomic_store_explicit(&s->ticket, ticket, memory_order_release);
    }
    return ticket;
}

void wake_request(uint64_t ticket)
{
    struct worker *w = worker_this();
    size_t place = ticket & ((1 << PLACE_BITS) - 1);

    if (w && place < w->max_conns &&
        atomic_load_explicit(&w->conns[place].h1.ticket, memory_order_acquire) == ticket)
        wake(w, &w->conns[place].h1);
}

void wake_set_alarm(struct gcorn_environ *env, uint64_t when)
{
    struct worker *w = worker_this();
    struct stream *s = w ? stream_of(env) : NULL;

    if (s)
        s->x->alarm.at_ms = when;
}
