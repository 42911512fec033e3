/* SPDX-License-Identifier: MIT
 *
 * proc/ is one worker process as plain data: its phase, what the master decides about it, and the
 * limits of what it may say. Nothing in it acts on another process.
 *
 * plan - the master's decisions: which worker to start, to retire, to kill. Functions of plain
 * structs and of the time: they do nothing, so they are tested without a process. The steps of
 * master_reconcile carry them out.
 */
#ifndef GCORN_MASTER_PROC_PLAN_H
#define GCORN_MASTER_PROC_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/proc/phase.h"

#define NO_DEADLINE UINT64_MAX

/* What is decided about one worker process, and what decisions look at. Its place in the table is
 * its slot's in the scoreboard; what the master holds of it (pipes and the like) is in the struct
 * proc of the same place. */
struct worker_proc {
    enum proc_phase phase;
    pid_t pid;            /* 0 while it is pending */
    unsigned number;      /* 0 to workers - 1, or plan_admin_number: what it is for; a replacement
                          * has the same */
    unsigned generation;  /* of settings and application */
    uint64_t deadline_ms; /* of the phase */
    uint64_t started_ms;  /* forked, or ordered */
    uint64_t ready_ms;    /* became READY; 0: not yet */
    uint64_t heard_ms;    /* last heartbeat */
    uint64_t crash_by_ms; /* crashed: it has this long before the signal ends it */
    uint64_t late_ms;     /* the same of calls that were told that they are late */
    uint64_t slow_ms;     /* slow calls that began by then are logged already */
    bool recycle;         /* has served enough: to be replaced as if its generation were old */
    bool told_to_drain;   /* its channel holds, or held, an order to accept no more connections */
    enum worker_end end;  /* why it was told to end, for the stats */
};

/* How often in a row the workers of one number failed, each kind of failure by itself: a worker
 * that crashes now and then must not slow down the boot of the next one. And when it may be tried
 * again.
 */
struct backoff {
    unsigned failures; /* boots that failed */
    unsigned crashes;  /* deaths soon after READY */
    unsigned kills;    /* by an operator or the kernel before READY */
    uint64_t not_before_ms;
};

struct plan {
    struct worker_proc *procs;
    unsigned proc_count;
    unsigned workers;    /* wanted */
    unsigned generation; /* wanted */
    unsigned candidate;  /* the generation that a canary tries; 0: none */
    struct backoff canary;
    bool has_admin; /* wanted: an admin process, too */
    bool stopping;
    struct backoff *backoffs; /* by number: proc_count of them, and the admin process's */
};

enum { PLAN_NONE = -1 };

/* The size of the table of processes for a master that starts with that many workers: their number
 * may double at a reload, or grow by TTIN, and a leaving worker keeps its place for a while; two
 * places are for the admin process. */
unsigned plan_places(unsigned workers);

/* The admin process has a number beyond those of all workers. It is supervised and replaced like a
 * worker, but not counted as one, and when the server stops it ends last, because it reports the
 * stop. */
static inline unsigned plan_admin_number(const struct plan *p)
{
    return p->proc_count;
}

static inline bool plan_is_admin(const struct plan *p, const struct worker_proc *w)
{
    return w->number == plan_admin_number(p);
}

/* How many workers the table has room for, each with its replacement. */
unsigned plan_most_workers(const struct plan *p);

/* The place of a process that must finish: one of an old generation or to be recycled, whose
 * replacement is READY; or one more than wanted. PLAN_NONE: no such process. */
int plan_retire(const struct plan *p);

/* The oldest retiring process that still waits for its idle connections, when there are more of
 * those than workers (as many as workers, when recycling waits for room): reloads in a row and
 * quick recycling must not pile up processes. Or PLAN_NONE. */
int plan_hurry(const struct plan *p);

/* A process to start: fills in number and generation. First all that are missing, at once, for
 * nothing serves in their place; then the canary; then replacements of processes that still serve,
 * one at a time, and of recycled ones only while fewer leave than serve. False: none now. */
bool plan_spawn(const struct plan *p, uint64_t now_ms, unsigned *number, unsigned *generation);

/* A free place in the table, or PLAN_NONE. */
int plan_free_place(const struct plan *p);

/* True: every worker is READY with the wanted generation, and all older ones have been told to
 * finish. Then a reload is over. */
bool plan_has_rolled(const struct plan *p);

/* The number of processes, the admin process included. */
unsigned plan_alive(const struct plan *p);

/* The number of workers that serve, of any generation. */
unsigned plan_serving(const struct plan *p);

/* Is there a worker, in any phase? A canary that boots or serves? */
bool plan_has_workers(const struct plan *p);
bool plan_has_canary(const struct plan *p);

/* Measurements of a worker, and its limits. 0 in a limit: no limit. */
struct health_sample {
    uint64_t call_started_ms; /* of one of its calls; 0: none runs */
    uint64_t call_until_ms;   /* the application extended the call's deadline to this; 0: it did
                               * not */
    bool loop_is_apart;       /* calls run in threads: the event loop sends heartbeats meanwhile */
    uint64_t loop_ms;         /* when the event loop last ran between calls */
    uint64_t counted_from_ms; /* the master did not run until then: nothing earlier counts */
    uint64_t timeout_ms;
    uint64_t
        late_ms; /* a call that is over its time is told, and may last so much longer; 0: none is */
    uint64_t heartbeat_ms;
};

enum health {
    HEALTH_FINE,
    HEALTH_CALL_LATE, /* over its time, and to be told */
    HEALTH_CALL_TOO_LONG,
    HEALTH_UNRESPONSIVE, /* no heartbeat came, and no call explains that */
};

/* Judges a READY or retiring process. The slot alone is not trusted, because another process may
 * have written to it: a call of the sync class is too long only when no heartbeat has come since it
 * began, and a loop is unresponsive only when neither the slot nor the pipe shows a heartbeat. In
 * the other class the slot's entry of a call has its own check (slot_call_started_ms). */
enum health plan_check_health(const struct worker_proc *proc, const struct health_sample *sample,
                              uint64_t now_ms);

/* An event of the process: changes its phase (phase.h), and sets the deadline of the new phase.
 * False: the event changes neither. This function alone changes the phase between a process' start
 * and its end. */
bool plan_advance(struct worker_proc *w, enum proc_event event, uint64_t deadline_ms);

/* Why a process ended, for the stats: from the master's notes and the wait status. */
enum worker_end plan_end(const struct worker_proc *w, int status);

/* What the log says about a process that has ended. */
enum last_report {
    REPORT_NOTHING, /* the log has it already */
    REPORT_BOOT,    /* why its boot failed */
    REPORT_END,     /* its status, and the requests that it ran */
};
enum last_report plan_last_report(const struct worker_proc *w);

/* While it dies: did the master end it because a call or its loop hung? Did it crash? */
bool plan_timed_out(const struct worker_proc *w);
bool plan_crashed(const struct worker_proc *w);

/* A reload tries this generation; 0: it has failed. */
void plan_try_generation(struct plan *p, unsigned candidate);

/* The candidate is the current generation from now on. Failures of the older workers are
 * forgotten. */
void plan_take_candidate(struct plan *p, unsigned workers, bool has_admin);

/* Counts the failure of a process, which frees its number now or soon: it delays the next process
 * of that number. Call it before the phase changes. A process that is leaving anyway is not
 * counted. */
void plan_count_death(struct plan *p, const struct worker_proc *w, uint64_t now_ms);

/* A process of this number died by itself, was_ready_ms after READY (0: it never was). Sets when
 * the next one may start: a worker that crashed in a request is replaced at once; the delay grows
 * while boots fail. */
void plan_note_death(struct backoff *b, uint64_t was_ready_ms, uint64_t now_ms);

/* A process of this number was killed by another process or the kernel before READY, so its
 * application is not to blame: the next one may start at once, unless kills go on (out of
 * memory). */
void plan_note_kill(struct backoff *b, uint64_t now_ms);

/* The next time when something is due without an event: a deadline, the end of a backoff.
 * NO_DEADLINE: nothing. */
uint64_t plan_wake_ms(const struct plan *p, uint64_t now_ms);

#endif
