/* SPDX-License-Identifier: MIT
 *
 * See retire.h. A client that has been told "reloaded" connects next, and its connection must not
 * meet the old code: all processes, old and new, accept from the same queue. So a reload is done
 * only when each old process has either closed its listening sockets, which its slot shows, or is
 * certain to read the order before it accepts again (reads_before_accepting).
 */
#include "master/generation/listeners.h"
#include "master/workers/retire.h"

#include "base/util.h"
#include "master/workers/procs.h"
#include "master/state.h"

enum { QUIT_MS = 2000 }; /* a quick stop is over by then */

/* True: the process listens on an address that no other process serves any more. */
static bool leaves_a_queue(const struct master *m, const struct proc *p)
{
    const struct generation *g = p->settings;

    if (plan_is_admin(&m->plan, p->w))
        return g->admin_listener != m->current->admin_listener;
    for (size_t i = 0; i < g->listener_count; i++) {
        if (!listeners_contain(m->current, g->listeners[i]))
            return true;
    }
    return false;
}

static enum worker_end why_retired(const struct plan *p, const struct worker_proc *w)
{
    if (p->stopping)
        return END_WITH_SERVER;
    return w->generation < p->generation ? END_RELOAD : END_NOT_WANTED;
}

/* A second order never extends the deadline. */
static void begin_to_retire(struct master *m, struct worker_proc *w, uint64_t deadline_ms,
                            bool is_replaced)
{
    if (!plan_advance(w, PROC_IS_RETIRED, deadline_ms) && deadline_ms < w->deadline_ms)
        w->deadline_ms = deadline_ms;
    if (!is_replaced && w->phase == PROC_RETIRING)
        (void)plan_advance(w, PROC_IS_HURRIED, w->deadline_ms);
    if (w->end == END_UNASKED)
        w->end = why_retired(&m->plan, w);
}

/* A worker that is replaced keeps its idle connections until their next request, for most of its
 * graceful_timeout; a worker that stops with the server only briefly. The admin process ends at
 * once after the last worker. */
void proc_retire(struct master *m, struct proc *p)
{
    const struct config *cfg = &p->settings->config;
    bool is_admin = plan_is_admin(&m->plan, p->w);
    bool is_replaced =
        !m->plan.stopping || upgrade_has_successor(&m->upgrade) || !m->successor.is_promoted;
    bool quick = m->quick || (is_admin && m->plan.stopping);
    uint64_t grace = quick ? QUIT_MS : cfg->graceful_timeout_ms;
    uint64_t idle = is_replaced && !is_admin ? grace - grace / 8 : cfg->keepalive_drain_ms;
    enum down_type order = quick                                  ? DOWN_QUIT
                           : is_replaced && !leaves_a_queue(m, p) ? DOWN_RETIRE
                                                                  : DOWN_STOP;

    begin_to_retire(m, p->w, now_ms() + grace, is_replaced);
    if (proc_order(p, order, idle < grace ? idle : grace))
        p->w->told_to_drain = true;
}

void proc_hurry(struct proc *p)
{
    (void)plan_advance(p->w, PROC_IS_HURRIED, p->w->deadline_ms);
    if (proc_order(p, DOWN_RETIRE, p->settings->config.keepalive_drain_ms))
        p->w->told_to_drain = true;
}

/* True: the process, whose channel holds the order, reads it before it accepts again. A process
 * that boots does; so does the loop of the sync class after the present call (accept.c). A loop
 * with a pool of threads may be accepting right now. */
static bool reads_before_accepting(const struct master *m, const struct proc *p)
{
    const struct slot *s = proc_slot(&m->procs, p);
    bool is_sync = config_threads(&p->settings->config) == 0 || plan_is_admin(&m->plan, p->w);

    return slot_get_state(s) == SLOT_BOOTING || (is_sync && slot_call_runs(&s->calls[0]));
}

static bool may_accept(const struct master *m, const struct proc *p)
{
    if (phase_is_dying(p->w->phase) || slot_get_state(proc_slot(&m->procs, p)) == SLOT_DRAINING)
        return false;
    return !p->w->told_to_drain || !reads_before_accepting(m, p);
}

bool procs_may_accept(const struct master *m, unsigned before)
{
    const struct proc *p;

    for_each_proc (p, &m->procs) {
        if (p->w->generation < before && may_accept(m, p))
            return true;
    }
    return false;
}
