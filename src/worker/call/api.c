/* SPDX-License-Identifier: MIT
 *
 * What include/gcorn.h lets an application ask of its worker, and tell it. The rest of that header
 * is in http/environ.c, http/variables.c, http/answer/start.c and http/answer/body.c (the request and its answer),
 * in wake.c (answers that wait) and app_metrics.c (the application's own).
 *
 * There may be no worker: --check-config loads an application without one, and its constructors may
 * call these.
 */
#include "gcorn.h"

#include <stdatomic.h>

#include "base/util.h"
#include "worker/worker.h"

unsigned gcorn_slot(void)
{
    const struct worker *w = worker_this();

    return w ? w->args->number : 0;
}

struct ev_loop *gcorn_loop(void)
{
    const struct worker *w = worker_this();

    return w ? w->loop : NULL;
}

unsigned gcorn_threads(void)
{
    const struct worker *w = worker_this();
    unsigned threads = w ? config_threads(w->config) : 0;

    return threads > 0 ? threads : 1;
}

bool gcorn_client_gone(struct gcorn_environ *env)
{
    const struct worker *w = worker_this();
    const struct conn *c = w ? conn_of(w, env) : NULL;

    return c && wire_peer_gone(&c->wire);
}

/* Only of the call that runs: it is forgotten when that ends. */
void gcorn_extend_deadline(struct gcorn_environ *env, unsigned ms)
{
    struct worker *w = worker_this();
    const struct conn *c = w && w->pool ? conn_of(w, env) : NULL;

    if (!w)
        return;
    struct slot_call *call = &w->slot->calls[c ? c->x->call.thread : 0];
    uint64_t until_ms = now_ms() + ms;
    if (until_ms > atomic_load(&call->until_ms))
        atomic_store(&call->until_ms, until_ms);
}

bool gcorn_draining(void)
{
    const struct worker *w = worker_this();

    return w && w->draining;
}

uint64_t gcorn_now(void)
{
    return now_ms();
}
