/* SPDX-License-Identifier: MIT
 *
 * See plan.h.
 */
#include "master/proc/plan.h"

#include <assert.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

enum {
    BOOT_BACKOFF_MS = 100, /* after the first failed boot; doubled by each further one */
    BOOT_BACKOFF_MAX_MS = 30000,
    CRASH_BACKOFF_MS = 10, /* for workers that die soon after READY, or are killed before it */
    CRASH_BACKOFF_MAX_MS = 500,
    CRASHES_FREE = 3,      /* that many in a row cause no delay */
    LIVED_LONG_MS = 10000, /* a worker READY for that long has not failed */
    PLACES_MIN = 64,
    PLACES_PER_WORKER = 4,
    ADMIN_PLACES = 2,  /* its own, and its replacement's */
    HEAR_MS = 250,     /* a heartbeat may be read this long after the next call has begun */
    BEATING_MS = 3000, /* an event loop that runs sends a heartbeat each second */
};

unsigned plan_places(unsigned workers)
{
    unsigned places = workers * PLACES_PER_WORKER;

    return (places > PLACES_MIN ? places : PLACES_MIN) + ADMIN_PLACES;
}

static bool is_alive(const struct worker_proc *w)
{
    return w->phase != PROC_EMPTY;
}

static bool is_serving(const struct worker_proc *w)
{
    return w->phase == PROC_READY;
}

/* The numbers that are wanted: the workers', then the admin process's. */
static unsigned wanted_count(const struct plan *p)
{
    return p->workers + p->has_admin;
}

static unsigned wanted_number(const struct plan *p, unsigned i)
{
    return i < p->workers ? i : plan_admin_number(p);
}

static bool is_wanted(const struct plan *p, unsigned number)
{
    return number < p->workers || (p->has_admin && number == plan_admin_number(p));
}

unsigned plan_most_workers(const struct plan *p)
{
    return (p->proc_count - ADMIN_PLACES) / 2;
}

static bool holds_number(const struct worker_proc *w)
{
    return phase_holds_number(w->phase);
}

/* True: of the wanted generation, and not to be replaced. */
static bool is_current(const struct plan *p, const struct worker_proc *w)
{
    return w->generation == p->generation && !w->recycle;
}

/* True: to be replaced at some time. (A canary is neither current nor old.) */
static bool is_old(const struct plan *p, const struct worker_proc *w)
{
    return !is_current(p, w) && w->generation != p->candidate;
}

static bool has_current(const struct plan *p, unsigned number,
                        bool (*is)(const struct worker_proc *))
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (is(w) && w->number == number && is_current(p, w))
            return true;
    }
    return false;
}

bool plan_has_canary(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        if (holds_number(&p->procs[i]) && p->procs[i].generation == p->candidate)
            return true;
    }
    return false;
}

static bool has_serving_old(const struct plan *p, unsigned number)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (is_serving(w) && w->number == number && is_old(p, w))
            return true;
    }
    return false;
}

static bool all_are_serving(const struct plan *p)
{
    for (unsigned number = 0; number < p->workers; number++) {
        if (!has_current(p, number, is_serving))
            return false;
    }
    return true;
}

bool plan_has_workers(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        if (is_alive(&p->procs[i]) && !plan_is_admin(p, &p->procs[i]))
            return true;
    }
    return false;
}

static bool is_to_retire(const struct plan *p, const struct worker_proc *w)
{
    if (!phase_may_retire(w->phase))
        return false;
    if (p->stopping)
        return !plan_is_admin(p, w) || !plan_has_workers(p);
    if (!is_wanted(p, w->number) && w->generation != p->candidate)
        return w->generation == p->generation || all_are_serving(p);
    return is_old(p, w) && (phase_is_booting(w->phase) || has_current(p, w->number, is_serving));
}

int plan_retire(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        if (is_to_retire(p, &p->procs[i]))
            return (int)i;
    }
    return PLAN_NONE;
}

/* Workers. */
static unsigned count_leaving(const struct plan *p)
{
    unsigned leaving = 0;

    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        leaving += phase_is_leaving(w->phase) && !plan_is_admin(p, w);
    }
    return leaving;
}

/* A reload retires every worker. It waits while more than plan.workers old ones are leaving, so
 * that there are never more than 2 x workers old processes. */
static bool has_room_for_reload(const struct plan *p)
{
    return count_leaving(p) <= p->workers;
}

/* While workers are recycled, fewer than plan.workers are leaving at any time: a worker that is to
 * be replaced goes on serving until one of these has ended. */
static bool has_room_for_recycling(const struct plan *p)
{
    return count_leaving(p) < p->workers;
}

static bool is_to_be_recycled(const struct plan *p, const struct worker_proc *w)
{
    return is_serving(w) && w->recycle && w->generation == p->generation && w->number < p->workers;
}

/* Does the worker of this number wait for its replacement, by recycling and not by a reload? */
static bool recycles(const struct plan *p, unsigned number)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        if (p->procs[i].number == number && is_to_be_recycled(p, &p->procs[i]))
            return true;
    }
    return false;
}

int plan_hurry(const struct plan *p)
{
    unsigned waiting = 0, may_wait = p->workers;
    int oldest = PLAN_NONE;

    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (may_wait == p->workers && is_to_be_recycled(p, w) && !has_room_for_recycling(p))
            may_wait--;
        if (w->phase != PROC_RETIRING || plan_is_admin(p, w))
            continue;
        waiting++;
        if (oldest == PLAN_NONE || w->started_ms < p->procs[oldest].started_ms)
            oldest = (int)i;
    }
    return waiting > may_wait ? oldest : PLAN_NONE;
}

/* Is a replacement booting for a worker that still serves? */
static bool is_rolling(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (phase_is_booting(w->phase) && is_current(p, w) && has_serving_old(p, w->number))
            return true;
    }
    return false;
}

/* True: wanted, has no process, and its backoff is over. */
static bool is_due(const struct plan *p, unsigned number, uint64_t now_ms)
{
    return !has_current(p, number, holds_number) && now_ms >= p->backoffs[number].not_before_ms;
}

static bool canary_is_due(const struct plan *p, uint64_t now_ms)
{
    return p->candidate != 0 && !plan_has_canary(p) && now_ms >= p->canary.not_before_ms &&
           has_room_for_reload(p) && !is_rolling(p);
}

/* True: the old process of this number, which still serves, may be replaced now. One at a time; a
 * reload that is under way replaces it anyway. */
static bool may_replace(const struct plan *p, unsigned number)
{
    return p->candidate == 0 && !is_rolling(p) &&
           (!recycles(p, number) || has_room_for_recycling(p));
}

bool plan_spawn(const struct plan *p, uint64_t now_ms, unsigned *number, unsigned *generation)
{
    int replaced = PLAN_NONE;

    assert(p->candidate == 0 || p->candidate > p->generation);
    if (p->stopping)
        return false;
    *generation = p->generation;
    for (unsigned i = 0; i < wanted_count(p); i++) {
        *number = wanted_number(p, i);
        if (!is_due(p, *number, now_ms))
            continue;
        if (!has_serving_old(p, *number))
            return true;
        if (replaced == PLAN_NONE && may_replace(p, *number))
            replaced = (int)*number;
    }
    if (canary_is_due(p, now_ms)) {
        *number = 0;
        *generation = p->candidate;
        return true;
    }
    *number = (unsigned)replaced;
    return replaced != PLAN_NONE;
}

int plan_free_place(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        if (!is_alive(&p->procs[i]))
            return (int)i;
    }
    return PLAN_NONE;
}

bool plan_has_rolled(const struct plan *p)
{
    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (phase_may_retire(w->phase) && w->generation != p->generation &&
            w->generation != p->candidate)
            return false;
    }
    for (unsigned wanted = 0; wanted < wanted_count(p); wanted++) {
        unsigned number = wanted_number(p, wanted), i = 0;

        while (i < p->proc_count && !(is_serving(&p->procs[i]) && p->procs[i].number == number &&
                                      p->procs[i].generation == p->generation))
            i++;
        if (i == p->proc_count)
            return false;
    }
    return true;
}

unsigned plan_alive(const struct plan *p)
{
    unsigned alive = 0;

    for (unsigned i = 0; i < p->proc_count; i++)
        alive += is_alive(&p->procs[i]);
    return alive;
}

unsigned plan_serving(const struct plan *p)
{
    unsigned serving = 0;

    for (unsigned i = 0; i < p->proc_count; i++)
        serving += is_serving(&p->procs[i]) && !plan_is_admin(p, &p->procs[i]);
    return serving;
}

static uint64_t latest(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* True: the loop has run since the call began, so the slot's entry of the call is false: another
 * process has overwritten it. A heartbeat counts only some time after it was sent, and the last
 * one, if the master read it late, only for a short time. */
static bool has_beaten_since(const struct worker_proc *proc, uint64_t started_ms, uint64_t now_ms)
{
    return proc->heard_ms > started_ms + HEAR_MS &&
           (proc->heard_ms > now_ms || now_ms - proc->heard_ms <= BEATING_MS);
}

/* more_ms: beyond all its limits. */
static bool call_is_too_long(const struct worker_proc *proc, const struct health_sample *sample,
                             uint64_t now_ms, uint64_t more_ms)
{
    uint64_t since = latest(sample->call_started_ms, sample->counted_from_ms) + more_ms;
    uint64_t until = sample->call_until_ms;

    /* more than gcorn_extend_deadline allows: the slot is damaged */
    if (until != 0 && until + more_ms > now_ms && until <= now_ms + UINT32_MAX)
        return false;
    if (!sample->loop_is_apart && has_beaten_since(proc, sample->call_started_ms, now_ms))
        return false;
    return sample->timeout_ms > 0 && now_ms > since && now_ms - since > sample->timeout_ms;
}

enum health plan_check_health(const struct worker_proc *proc, const struct health_sample *sample,
                              uint64_t now_ms)
{
    if (sample->call_started_ms != 0 && call_is_too_long(proc, sample, now_ms, 0))
        return call_is_too_long(proc, sample, now_ms, sample->late_ms) ? HEALTH_CALL_TOO_LONG
                                                                       : HEALTH_CALL_LATE;
    if (sample->call_started_ms != 0 && !sample->loop_is_apart)
        return HEALTH_FINE;
    uint64_t heard = latest(latest(proc->heard_ms, sample->loop_ms), sample->counted_from_ms);
    return sample->heartbeat_ms > 0 && now_ms > heard && now_ms - heard > sample->heartbeat_ms
               ? HEALTH_UNRESPONSIVE
               : HEALTH_FINE;
}

bool plan_advance(struct worker_proc *w, enum proc_event event, uint64_t deadline_ms)
{
    enum proc_phase phase = phase_after(w->phase, event);

    if (phase == w->phase)
        return false;
    assert(deadline_ms != NO_DEADLINE || phase == PROC_READY || phase == PROC_KILLED);
    w->phase = phase;
    w->deadline_ms = deadline_ms;
    return true;
}

/* ---- ends -------------------------------------------------------------------------------- */

bool plan_timed_out(const struct worker_proc *w)
{
    bool was_hung = w->end == END_TIMEOUT || w->end == END_SILENT;

    return w->phase == PROC_EXPLAINING || w->phase == PROC_FINISHING || w->phase == PROC_ABORTED ||
           (w->phase == PROC_KILLED && was_hung);
}

bool plan_crashed(const struct worker_proc *w)
{
    return phase_has_crashed(w->phase) || (w->phase == PROC_KILLED && w->end == END_CRASH);
}

/* True: its boot failed, by its own report or because it died before. */
static bool has_failed_to_boot(const struct worker_proc *w)
{
    return w->phase == PROC_BOOT_FAILED ||
           (w->ready_ms == 0 && (w->phase == PROC_KILLED || w->end == END_UNASKED));
}

static enum worker_end end_by_signal(const struct worker_proc *w, int number)
{
    if (number == SIGKILL)
        return END_KILLED;
    return w->end == END_KILLED ? END_SIGTERM : END_CRASH; /* in its boot */
}

enum worker_end plan_end(const struct worker_proc *w, int status)
{
    bool by_master = w->phase == PROC_EXPLAINING || w->phase == PROC_FINISHING ||
                     w->phase == PROC_ABORTED || w->phase == PROC_KILLED;

    assert(w->phase != PROC_EMPTY);
    if (w->end == END_OOM)
        return END_OOM;
    if (has_failed_to_boot(w))
        return w->end == END_WITH_SERVER ? END_WITH_SERVER : END_BOOT;
    if (plan_crashed(w))
        return WIFSIGNALED(status) ? END_CRASH : END_EXIT;
    if (WIFSIGNALED(status) && !by_master)
        return end_by_signal(w, WTERMSIG(status));
    return w->end != END_UNASKED ? w->end : END_EXIT;
}

enum last_report plan_last_report(const struct worker_proc *w)
{
    switch (w->phase) {
    case PROC_BOOTING:
    case PROC_LATE:
    case PROC_BOOT_CRASHED: return REPORT_BOOT;
    case PROC_KILLED: return w->ready_ms == 0 || w->end == END_CRASH ? REPORT_NOTHING : REPORT_END;
    case PROC_READY:
    case PROC_RETIRING:
    case PROC_HURRIED:
    case PROC_EXPLAINING:
    case PROC_FINISHING:
    case PROC_ABORTED: return REPORT_END;
    default: return REPORT_NOTHING;
    }
}

/* ---- a reload ---------------------------------------------------------------------------- */

void plan_try_generation(struct plan *p, unsigned candidate)
{
    assert(candidate == 0 || candidate > p->generation);
    p->candidate = candidate;
    p->canary = (struct backoff){0};
}

void plan_take_candidate(struct plan *p, unsigned workers, bool has_admin)
{
    assert(p->candidate > p->generation);
    p->generation = p->candidate;
    p->candidate = 0;
    p->workers = workers;
    p->has_admin = has_admin;
    memset(p->backoffs, 0, (p->proc_count + 1) * sizeof(*p->backoffs));
}

/* ---- back-off ---------------------------------------------------------------------------- */

void plan_count_death(struct plan *p, const struct worker_proc *w, uint64_t now_ms)
{
    if (!phase_holds_number(w->phase) || w->generation != p->generation)
        return;
    assert(w->number <= p->proc_count);
    plan_note_death(&p->backoffs[w->number], w->ready_ms > 0 ? now_ms - w->ready_ms + 1 : 0,
                    now_ms);
}

/* first_ms, doubled failures - 1 times, at most max_ms. */
static uint64_t doubled(uint64_t first_ms, unsigned failures, uint64_t max_ms)
{
    uint64_t delay = first_ms;

    assert(failures > 0);

    while (--failures > 0 && delay < max_ms)
        delay *= 2;
    return delay < max_ms ? delay : max_ms;
}

static void back_off_crash(struct backoff *b, unsigned count, uint64_t now_ms)
{
    if (count > CRASHES_FREE)
        b->not_before_ms =
            now_ms + doubled(CRASH_BACKOFF_MS, count - CRASHES_FREE, CRASH_BACKOFF_MAX_MS);
}

void plan_note_death(struct backoff *b, uint64_t was_ready_ms, uint64_t now_ms)
{
    if (was_ready_ms >= LIVED_LONG_MS) {
        *b = (struct backoff){0};
    } else if (was_ready_ms == 0) {
        b->failures++;
        b->not_before_ms = now_ms + doubled(BOOT_BACKOFF_MS, b->failures, BOOT_BACKOFF_MAX_MS);
    } else {
        b->failures = b->kills = 0; /* it has booted */
        back_off_crash(b, ++b->crashes, now_ms);
    }
}

void plan_note_kill(struct backoff *b, uint64_t now_ms)
{
    back_off_crash(b, ++b->kills, now_ms);
}

uint64_t plan_wake_ms(const struct plan *p, uint64_t now_ms)
{
    uint64_t wake = NO_DEADLINE;

    for (unsigned i = 0; i < p->proc_count; i++) {
        const struct worker_proc *w = &p->procs[i];

        if (is_alive(w) && w->deadline_ms < wake)
            wake = w->deadline_ms;
    }
    for (unsigned i = 0; i < wanted_count(p) && !p->stopping; i++) {
        unsigned n = wanted_number(p, i);
        uint64_t at = p->backoffs[n].not_before_ms;

        if (at > now_ms && at < wake && !has_current(p, n, holds_number))
            wake = at;
    }
    if (p->candidate != 0 && p->canary.not_before_ms > now_ms && p->canary.not_before_ms < wake)
        wake = p->canary.not_before_ms;
    return wake;
}
