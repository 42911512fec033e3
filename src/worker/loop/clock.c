/* SPDX-License-Identifier: MIT
 *
 * See clock.h. One timer of the loop serves all timers of connections: it is set to the earliest
 * deadline, and each time it fires it serves every connection whose deadline has come.
 */
#include "worker/loop/clock.h"

#include <time.h>

#include "base/util.h"
#include "worker/loop/queue_delay.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

enum {
    PASS_LONG_MS = 10,     /* after that long in calls, other events get their turn */
    NO_SLEEP_NS = 1000000, /* between two passes of a loop that had work waiting */
};

void worker_look_at_clock(struct worker *w)
{
    uint64_t last_ns = w->now_ns;

    w->now_ns = now_ns();
    if (w->pass_ns != 0)
        return;
    forked_check();
    /* The loop did not sleep between two passes: what it found had come during the last one. After
     * a long pass it may have come then too, although time has gone since: the kernel may have run
     * other processes in between. */
    bool slept = w->now_ns - last_ns >= NO_SLEEP_NS;
    w->waited_ns = slept ? 0 : w->last_pass_ns;
    w->may_have_queued = !slept || w->last_pass_ns >= QUEUE_LONG_NS;
    w->pass_ns = w->now_ns;
    http_context_set_date(&w->http, time(NULL));
}

uint64_t worker_waited_ns(const struct worker *w)
{
    return w->waited_ns + w->now_ns - w->pass_ns;
}

bool worker_pass_is_long(const struct worker *w)
{
    return w->now_ns - w->pass_ns > PASS_LONG_MS * UINT64_C(1000000);
}

static void on_pass_begin(struct ev_loop *loop, struct ev_check *check, int revents)
{
    struct worker *w = check->data;

    (void)loop;
    (void)revents;
    w->last_pass_ns = w->pass_ns != 0 ? w->now_ns - w->pass_ns : 0;
    w->pass_ns = 0; /* the first callback takes the time */
}

/* ---- timers ------------------------------------------------------------------------------ */

static void arm_sweep(struct worker *w, uint64_t at_ms)
{
    uint64_t now = worker_client_ms(w);

    ev_timer_stop(w->loop, &w->timer_sweep);
    w->sweep_at_ms = at_ms;
    if (at_ms == UINT64_MAX)
        return;
    ev_timer_set(&w->timer_sweep, at_ms > now ? (double)(at_ms - now) / 1000 : 0, 0);
    ev_timer_start(w->loop, &w->timer_sweep);
}

void worker_set_timer(struct worker *w, struct conn *c, enum timer_kind kind)
{
    timer_set(&w->timers, &c->timer, kind, worker_client_ms(w));
    if (c->timer.deadline_ms < w->sweep_at_ms)
        arm_sweep(w, c->timer.deadline_ms);
    if (!w->accepting && kind != TIMER_WRITE)
        accept_update(w); /* it can make room (admission.h) */
}

static void on_sweep(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;
    struct timer *late;

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    while ((late = timers_late(&w->timers, worker_client_ms(w))))
        conn_timed_out((struct conn *)(void *)late);
    arm_sweep(w, timers_next_ms(&w->timers));
}

void clock_init(struct worker *w)
{
    const struct config *cfg = w->config;

    w->timers = (struct timers){.length_ms = {[TIMER_HEADER] = cfg->header_timeout_ms,
                                              [TIMER_BODY] = cfg->body_timeout_ms,
                                              [TIMER_WRITE] = cfg->write_timeout_ms,
                                              [TIMER_KEEPALIVE] = cfg->keepalive_ms,
                                              [TIMER_LINGER] = LINGER_GAP_MS,
                                              [TIMER_LINGER_WHOLE] = LINGER_WHOLE_MS}};
    timers_init(&w->timers);
    w->sweep_at_ms = UINT64_MAX;
    ev_init(&w->timer_sweep, on_sweep);
    ev_check_init(&w->pass_begin, on_pass_begin);
    ev_set_priority(&w->pass_begin, EV_MAXPRI);
    w->timer_sweep.data = w->pass_begin.data = w;
}
