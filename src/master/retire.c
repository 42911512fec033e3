/* SPDX-License-Identifier: MIT
 *
 * See retire.h. A client that has been told "reloaded" connects next, and its connection must not
 * meet the old code: all processes, old and new, accept from the same queue. So a reload is done
 * only when each old process has either closed its listening sockets, which its slot shows, or is
 * certain to hear the order before it accepts again (hears_before_accepting).
 */
#include "master/listeners.h"
#include "master/retire.h"

#include "base/util.h"
#include "master/procs.h"
#include "master/state.h"

enum { QUIT_MS = 2000 }; /* a quick stop is over by then */

/* Does this process listen on an address that no other process serves any more? */
static bool leaves_a_queue(const struct master *m, const struct worker_proc *w)
{
    const struct generation *g = w->settings;

    if (plan_is_admin(&m->plan, w))
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

/* Tells a process to finish. A worker that is replaced keeps its idle connections until their next
 * request, for nearly all of its grace; one that stops with the server only for a moment. When the
 * workers are gone the admin process has nothing more to tell, and ends at once. */
void proc_retire(struct master *m, struct worker_proc *w)
{
    const struct config *cfg = &w->settings->config;
    bool is_admin = plan_is_admin(&m->plan, w);
    bool replaced = !m->plan.stopping || upgrade_has_successor(m) || !m->successor.is_promoted;
    bool quick = m->quick || (is_admin && m->plan.stopping);
    uint64_t grace = quick ? QUIT_MS : cfg->graceful_timeout_ms;
    uint64_t idle = replaced && !is_admin ? grace - grace / 8 : cfg->keepalive_drain_ms;
    enum down_type order = quick                               ? DOWN_QUIT
                           : replaced && !leaves_a_queue(m, w) ? DOWN_RETIRE
                                                               : DOWN_STOP;

    uint64_t deadline = now_ms() + grace;
    if (w->phase != PROC_RETIRING || deadline < w->deadline_ms)
        w->deadline_ms = deadline;
    w->phase = PROC_RETIRING;
    w->hurried = !replaced;
    if (w->end == END_UNASKED)
        w->end = why_retired(&m->plan, w);
    if (proc_order(w, order, idle < grace ? idle : grace))
        w->told_to_drain = true;
}

/* Too many retire: the oldest is to wait for its idle connections no longer. */
void proc_hurry(struct worker_proc *w)
{
    w->hurried = true;
    if (proc_order(w, DOWN_RETIRE, w->settings->config.keepalive_drain_ms))
        w->told_to_drain = true;
}

/* Of a process whose channel holds the order. One that boots comes to its channel before its
 * sockets; so does the loop of the sync class when the call that it runs right now is over
 * (accept.c). A loop with a pool of threads may be accepting at this very moment. */
static bool hears_before_accepting(const struct master *m, const struct worker_proc *w)
{
    const struct slot *s = master_slot(m, w);
    bool is_sync = config_threads(&w->settings->config) == 0 || plan_is_admin(&m->plan, w);

    return slot_get_state(s) == SLOT_BOOTING || (is_sync && slot_call_runs(&s->calls[0]));
}

static bool may_accept(const struct master *m, const struct worker_proc *w)
{
    if (w->crashed || slot_get_state(master_slot(m, w)) == SLOT_DRAINING)
        return false;
    return !w->told_to_drain || !hears_before_accepting(m, w);
}

bool procs_may_accept(const struct master *m, unsigned before)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        const struct worker_proc *w = &m->plan.procs[i];

        if (w->phase != PROC_EMPTY && w->generation < before && may_accept(m, w))
            return true;
    }
    return false;
}
