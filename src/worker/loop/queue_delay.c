/* SPDX-License-Identifier: MIT
 *
 * See queue_delay.h. The time up to the call is judged there (call_refusal).
 */
#include "worker/loop/queue_delay.h"

#include <assert.h>

#include "worker/loop/clock.h"
#include "worker/loop/state.h"

/* When the bytes came for which the loop's own account may not do. */
static uint64_t __attribute__((noinline)) look_closer(struct stream *s, uint64_t waited_ns)
{
    struct worker *w = worker_of(conn_of(s));
    bool asks = waited_ns >= QUEUE_LONG_NS;

    if (s->x->may_have_queued) {
        /* It was there when it was first looked for, in the pass that accepted the connection;
         * arrived_ns: since when it can have been. */
        assert(w->now_ns >= s->x->arrived_ns);
        waited_ns = w->now_ns - s->x->arrived_ns;
        asks = waited_ns >= QUEUE_LONG_NS || w->queue_ns >= QUEUE_LONG_NS ||
               w->now_ns - w->queue_asked_ns > QUEUE_LONG_NS;
        s->x->may_have_queued = false;
    }
    if (asks) {
        int64_t ms = wire_queue_delay_ms(&conn_of(s)->wire);

        if (ms >= 0)
            waited_ns = (uint64_t)ms * 1000000;
        w->queue_ns = waited_ns;
        w->queue_asked_ns = w->now_ns;
    }
    return w->now_ns - waited_ns;
}

/* The loop knows how long it has not looked; but a client in the backlog may have waited for
 * longer. The kernel knows, and is asked where that can make a difference: a system call for each
 * request would cost too much. */
uint64_t queue_delay_arrived_ns(struct stream *s)
{
    const struct worker *w = worker_of(conn_of(s));
    uint64_t waited_ns = worker_waited_ns(w);

    if (waited_ns < QUEUE_LONG_NS && !s->x->may_have_queued)
        return w->now_ns - waited_ns;
    return look_closer(s, waited_ns);
}
