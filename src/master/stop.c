/* SPDX-License-Identifier: MIT
 *
 * See stop.h.
 */
#include "master/stop.h"

#include "base/error.h"
#include "base/log.h"
#include "master/generation/listeners.h"
#include "master/workers/procs.h"
#include "master/workers/retire.h"
#include "master/state.h"
#include "master/takeover.h"

void stop_listening(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current)
        listeners_stop(g);
}

bool stop_has_clients(const struct master *m)
{
    const struct generation *g;

    for_each_generation (g, m->current) {
        if (listeners_have_clients(g))
            return true;
    }
    return m->has_served;
}

/* Workers that were retiring before have had more time already. */
static void retire_again(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (p->w->phase == PROC_RECALLED || phase_is_retiring(p->w->phase))
            proc_retire(m, p);
    }
}

static void stop(struct master *m, bool quick, int status)
{
    if (m->plan.stopping && (m->quick || !quick))
        return;
    m->quick = quick;
    if (!m->plan.stopping) {
        m->exit_status = status;
        takeover_leave(m);
    }
    m->plan.stopping = true;
    m->stop_at_ms = NO_DEADLINE;
    m->rolling = false;
    procs_kill_booting(m);
    control_reload_failed(&m->control, 0, UINT64_MAX, "the server is stopping");
    retire_again(m);
}

static void drain(struct master *m, uint64_t delay_ms, uint64_t now)
{
    struct proc *p;

    log_info("Draining: stopping in %llu ms", (unsigned long long)delay_ms);
    takeover_cancel(m); /* a new master would not know of the stop */
    m->stop_at_ms = now + delay_ms;
    for_each_proc (p, &m->procs)
        (void)proc_order(p, DOWN_CLOSE, 0);
}

/* TERM: answers say Connection: close for drain_delay, then the server stops. Before the first
 * client there is no delay. */
static void stop_gracefully(struct master *m, uint64_t now)
{
    procs_read_booting(m); /* else a stop would kill one that serves clients */
    uint64_t delay_ms = stop_has_clients(m) ? config_of(m)->drain_delay_ms : 0;

    if (delay_ms == 0 || m->stop_at_ms != NO_DEADLINE || m->plan.stopping ||
        upgrade_has_successor(&m->upgrade))
        stop(m, false, EXIT_STOPPED);
    else
        drain(m, delay_ms, now);
}

void stop_decide(struct master *m, uint64_t now)
{
    if (now >= m->stop_at_ms)
        master_note_stop(m, STOP_AT_ONCE, EXIT_STOPPED);
    enum stop_wish wish = m->stop_wish;
    int status = m->stop_status;
    m->stop_wish = STOP_NOT;
    if (wish == STOP_GRACEFULLY)
        stop_gracefully(m, now);
    else if (wish != STOP_NOT)
        stop(m, wish == STOP_QUICKLY, status);
}
