/* SPDX-License-Identifier: MIT
 *
 * See liveness.h. A worker's slot in the scoreboard is read as untrusted input.
 */
#include "master/workers/liveness.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "master/postmortem/report.h"
#include "master/postmortem/stack_log.h"
#include "master/workers/procs.h"
#include "master/state.h"
#include "system/process/procfs.h"

enum {
    STACKS_MS = 3000, /* to take the stacks of a hung worker */
    LATE_MS = 2000,   /* for gcorn_on_call_late to end the call: more than a tick */
};

/* The entry of what the loop's thread calls; in the sync class that is every call. */
static const struct slot_call *loop_call(const struct master *m, const struct proc *p)
{
    const struct slot *s = proc_slot(&m->procs, p);

    return plan_is_admin(&m->plan, p->w) ? &s->calls[0] : &s->calls[proc_calls(p) - 1];
}

/* A draining worker stops sending heartbeats; its retire deadline covers it. While the loop's thread
 * is in a call, only that call's own limits count. */
static struct health_sample take_sample(const struct master *m, const struct proc *p,
                                        const struct slot_call *call)
{
    const struct config *cfg = &p->settings->config;
    const struct slot_call *loops = loop_call(m, p);
    uint64_t loop_ms = atomic_load(&proc_slot(&m->procs, p)->loop_ms);
    bool is_over = loop_ms == SLOT_LOOP_OVER, is_loops = call == loops;
    bool beats = is_loops || !slot_call_runs(loops);

    return (struct health_sample){
        .call_started_ms = slot_call_started_ms(call),
        .call_until_ms = atomic_load(&call->until_ms),
        .loop_is_apart = !is_loops,
        .loop_ms = is_over ? 0 : loop_ms,
        .counted_from_ms = m->counted_from_ms,
        .timeout_ms = cfg->timeout_ms,
        .late_ms = p->takes_late_signal ? LATE_MS : 0,
        .heartbeat_ms = !beats || (is_over && p->w->phase != PROC_READY) ? 0 : cfg->heartbeat_ms,
    };
}

bool liveness_has_more_to_finish(const struct master *m, const struct proc *p)
{
    const struct slot *s = proc_slot(&m->procs, p);
    unsigned hung = 0, running = 0, count = proc_calls(p);

    for (unsigned i = 0; i < count; i++) {
        const struct health_sample sample = take_sample(m, p, &s->calls[i]);
        enum health health = plan_check_health(p->w, &sample, now_ms());

        bool is_loops = &s->calls[i] == loop_call(m, p);
        if (health == HEALTH_UNRESPONSIVE || (health == HEALTH_CALL_TOO_LONG && is_loops))
            return false;
        hung += health == HEALTH_CALL_TOO_LONG;
        running += sample.call_started_ms != 0;
    }
    uint64_t in_flight = slot_in_flight(&s->counts), waiting = slot_get_number(&s->waiting);
    return hung == 0 || (hung < count - 1 && (running > hung || in_flight > hung + waiting));
}

/* For how long the call has run, or the loop has not. */
static uint64_t hung_for_ms(const struct master *m, const struct proc *p,
                            const struct slot_call *call, enum health health, uint64_t now)
{
    const struct health_sample sample = take_sample(m, p, call);
    uint64_t since = sample.loop_ms > p->w->heard_ms ? sample.loop_ms : p->w->heard_ms;

    if (health == HEALTH_CALL_TOO_LONG)
        since = sample.call_started_ms;
    return now > since ? now - since : 0;
}

/* The worker first finishes the calls of its other threads, within the usual time for that; its
 * replacement accepts new connections. */
static void end_hung(struct master *m, struct proc *p, const struct slot_call *call,
                     enum health health, uint64_t now)
{
    uint64_t deadline_ms = now + STACKS_MS;
    bool finishes = health == HEALTH_CALL_TOO_LONG && liveness_has_more_to_finish(m, p);

    report_hung(p, call, health, hung_for_ms(m, p, call, health, now));
    plan_count_death(&m->plan, p->w, now);
    p->w->end = health == HEALTH_CALL_TOO_LONG ? END_TIMEOUT : END_SILENT;
    if (finishes && now + p->settings->config.graceful_timeout_ms > deadline_ms)
        deadline_ms = now + p->settings->config.graceful_timeout_ms;
    (void)plan_advance(p->w, finishes ? PROC_IS_PARTLY_HUNG : PROC_IS_HUNG, deadline_ms);
    if (finishes)
        p->w->told_to_drain = proc_order(p, DOWN_RETIRE, 0);
    stack_log_await(&m->stack_logs, p, call, LOG_LEVEL_CRITICAL);
}

bool liveness_is_traced(struct master *m, struct proc *p)
{
    pid_t tracer = procfs_tracer(p->w->pid);

    if (tracer == 0 || helpers_have(&m->helpers, tracer))
        return tracer != 0;
    if (p->tracer != tracer)
        log_warnx("Worker (pid:%d) would be killed, but process %d traces it (a debugger?); "
                  "leaving it alone",
                  (int)p->w->pid, (int)tracer);
    p->tracer = tracer;
    return true;
}

/* slow_request: logs each call once; calls that began earlier are due earlier. */
static void log_slow_calls(struct master *m, struct proc *p, uint64_t now)
{
    const struct slot *s = proc_slot(&m->procs, p);
    uint64_t limit = p->settings->config.slow_request_ms, told_ms = p->w->slow_ms;
    const struct slot_call *slow = NULL;

    for (unsigned i = 0; i < proc_calls(p) && limit > 0; i++) {
        uint64_t since = slot_call_started_ms(&s->calls[i]);

        if (since == 0 || now < since || now - since < limit || since <= p->w->slow_ms)
            continue;
        report_slow(p, &s->calls[i], now - since);
        slow = told_ms == p->w->slow_ms ? &s->calls[i] : NULL; /* the stacks show all of them */
        told_ms = since > told_ms ? since : told_ms;
    }
    if (told_ms == p->w->slow_ms)
        return;
    p->w->slow_ms = told_ms;
    stack_log_begin(&m->stack_logs, p, slow, LOG_LEVEL_WARNING);
}

/* The oldest call that hangs, and its health. The clock is read after the sample: with an earlier
 * time a call that has just asked for the longest extension would seem to have asked for more. */
static enum health check_calls(const struct master *m, const struct proc *p,
                               const struct slot_call **call)
{
    const struct slot *s = proc_slot(&m->procs, p);
    enum health worst = HEALTH_FINE;
    uint64_t oldest_ms = UINT64_MAX;

    for (unsigned i = 0; i < proc_calls(p); i++) {
        const struct health_sample sample = take_sample(m, p, &s->calls[i]);
        enum health health = plan_check_health(p->w, &sample, now_ms());

        if (health == HEALTH_FINE || health == HEALTH_CALL_LATE ||
            (health == worst && sample.call_started_ms >= oldest_ms) ||
            (health == HEALTH_UNRESPONSIVE && worst == HEALTH_CALL_TOO_LONG))
            continue;
        worst = health;
        oldest_ms = sample.call_started_ms;
        *call = &s->calls[i];
    }
    return worst;
}

/* The thread's id is the worker's word: the kernel takes it for a thread of that process alone. */
static void send_late(const struct proc *p, const struct slot_call *call)
{
    int32_t thread = atomic_load(&call->tid);

    (void)syscall(SYS_tgkill, p->w->pid, thread > 0 ? thread : p->w->pid, SLOT_LATE_SIGNAL);
}

/* Tells calls that they are over their time: each at every look, because an earlier signal may have
 * come at a bad moment; the worker heeds the first. */
static void tell_late_calls(struct master *m, struct proc *p)
{
    const struct slot *s = proc_slot(&m->procs, p);
    uint64_t told_ms = p->w->late_ms;

    for (unsigned i = 0; i < proc_calls(p) && p->takes_late_signal; i++) {
        const struct health_sample sample = take_sample(m, p, &s->calls[i]);
        uint64_t now = now_ms();

        if (plan_check_health(p->w, &sample, now) != HEALTH_CALL_LATE || liveness_is_traced(m, p))
            continue;
        if (sample.call_started_ms > p->w->late_ms)
            report_late(p, &s->calls[i], now - sample.call_started_ms);
        told_ms = sample.call_started_ms > told_ms ? sample.call_started_ms : told_ms;
        send_late(p, &s->calls[i]);
    }
    p->w->late_ms = told_ms;
}

void liveness_check(struct master *m, uint64_t now)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        const struct slot_call *call = NULL;

        if (p->w->phase != PROC_READY && !phase_is_retiring(p->w->phase))
            continue;
        enum health health = check_calls(m, p, &call);
        log_slow_calls(m, p, now);
        tell_late_calls(m, p);
        if (health != HEALTH_FINE && !liveness_is_traced(m, p))
            end_hung(m, p, call, health, now);
    }
}

/* Memory that the template has loaded is shared and not the worker's own. The kernel gives the size
 * of memory without a file cheaply, and no other. */
static void check_memory(struct master *m, struct proc *p)
{
    uint64_t max = p->settings->config.max_memory, size;
    char why[80];

    if (max == 0 || p->w->recycle || procfs_private_memory(p->w->pid, &size) < 0 ||
        size <= max + p->inherited_size)
        return;
    size -= p->inherited_size;
    (void)snprintf(why, sizeof(why), "max_memory (%llu MiB)", (unsigned long long)(size >> 20));
    procs_recycle(m, p, END_MAX_MEMORY, why);
}

void liveness_check_memory(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (p->w->phase == PROC_READY && !plan_is_admin(&m->plan, p->w))
            check_memory(m, p);
    }
}
