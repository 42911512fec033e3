/* SPDX-License-Identifier: MIT
 *
 * See run_queue.h.
 */
#include "worker/loop/run_queue.h"

#include <assert.h>

#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

void worker_queue_stream(struct worker *w, struct stream *s)
{
    s->next = NULL;
    *w->queue_end = s;
    w->queue_end = &s->next;
    ev_prepare_start(w->loop, &w->queue_turn);
    ev_idle_start(w->loop, &w->queue_waits);
}

static struct stream *take_queued(struct worker *w)
{
    struct stream *s = w->queue;

    assert(s && w->queue_end != &w->queue); /* the turn is stopped when the queue is empty */
    if (!(w->queue = s->next))
        w->queue_end = &w->queue;
    return s;
}

/* At the end of a pass: those that were queued when the turn began, as far as there is time. The
 * next turn begins with those that had none. */
static void on_queue_turn(struct ev_loop *loop, struct ev_prepare *turn, int revents)
{
    struct worker *w = turn->data;
    struct stream *const *last = w->queue_end;
    struct stream *s;

    (void)revents;
    do {
        worker_look_at_clock(w);
        s = take_queued(w);
        stream_resume(s);
    } while (&s->next != last && !worker_pass_is_long(w));
    if (w->queue)
        return;
    ev_prepare_stop(loop, turn);
    ev_idle_stop(loop, &w->queue_waits);
}

static void on_queue_waits(struct ev_loop *loop, struct ev_idle *idle, int revents)
{
    (void)loop;
    (void)idle;
    (void)revents;
}

void run_queue_init(struct worker *w)
{
    w->queue_end = &w->queue;
    ev_prepare_init(&w->queue_turn, on_queue_turn);
    ev_idle_init(&w->queue_waits, on_queue_waits);
    ev_set_priority(&w->queue_turn, EV_MAXPRI); /* before pass_end */
    w->queue_turn.data = w;
}
