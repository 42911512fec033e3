/* SPDX-License-Identifier: MIT
 *
 * See single_request.h.
 */
#include "worker/single_request.h"

#include <assert.h>
#include <ev.h>

#include "worker/call/call.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

enum { WAIT_MS = 10 };

enum exchange_end single_request_run(struct worker *w, struct gcorn_environ *env,
                                     const struct exchange_sink *sink)
{
    assert(env->request.state == REQUEST_DONE && !slot_call_runs(&w->slot->calls[0]));
    worker_look_at_clock(w);
    call_enter(w, NULL, env);
    env->was_run = true;
    if (w->app.on_pre_request)
        w->app.on_pre_request(env);
    if (w->app.on_head && !response_ask(env, w->app.on_head))
        return exchange_go_on(env, sink);
    return exchange_run(env, w->app.handler, sink);
}

static void on_moment(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
}

void single_request_wait(struct worker *w)
{
    struct ev_timer moment;

    ev_timer_init(&moment, on_moment, WAIT_MS / 1000.0, 0);
    ev_timer_start(w->loop, &moment);
    (void)ev_run(w->loop, EVRUN_ONCE);
    ev_timer_stop(w->loop, &moment);
    worker_look_at_clock(w);
}
