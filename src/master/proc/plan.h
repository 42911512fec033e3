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
    uint64_t ready_ms;    /* said READY; 0 while it has not */
    uint64_t heard_ms;    /* last heartbeat */
    uint64_t crash_by_ms; /* crashed: it has this long before the signal ends it */
    uint64_t slow_ms;     /* slow_request has told of the calls that began by then */
    bool recycle;         /* has served enough: to be replaced as if its generation were old */
    bool told_to_drain;   /* its channel holds, or held, an order to accept no more connections */
    enum worker_end end;  /* why it was told to, for the stats */
};

/* How often in a row the workers of one number failed, each kind of failure by itself: a worker
 * that crashes now and then must not slow down the boot of the next one. And when it may be tried
 * again.
 */
struct backoff {
    unsigned failures; /* boots that failed */
    unsigned crashes;  /* deaths soon after READY */
    unsigned kills;    /* signals of a person or of the kernel before READY */
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

/* The admin process is a process like the workers, with a number of its own beyond all of theirs.
 * It is supervised and replaced as they are; it is no worker where workers are counted, and when
 * the server stops it is the last to go, because it says so. */
static inline unsigned plan_admin_number(const struct plan *p)
{
    return p->proc_count;
}

static inline bool plan_is_admin(const struct plan *p, const struct worker_proc *w)
{
    return w->number == plan_admin_number(p);
}

/* How many workers the table has room for: each, and the one that replaces it. */
unsigned plan_most_workers(const struct plan *p);

/* A process that is to finish: of an old generation or to be recycled, and replaced by one that is
 * READY; or one too many. Its place in the table, or PLAN_NONE. */
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

/* Does every number serve the wanted generation, and has all that is older been told to
 * finish? Then a reload is over. */
bool plan_has_rolled(const struct plan *p);

/* How many processes there are, the admin process included. */
unsigned plan_alive(const struct plan *p);

/* Is there a worker, in whatever phase? A canary that boots or serves? */
bool plan_has_workers(const struct plan *p);
bool plan_has_canary(const struct plan *p);

/* What a worker showed of itself, and what it is allowed. 0 in a limit: no limit. */
struct health_sample {
    uint64_t call_started_ms; /* of one of its calls; 0: none runs */
    uint64_t call_until_ms;   /* the application extended the call's deadline to this; 0: it did
                               * not */
    bool loop_is_apart;       /* calls run in threads: the event loop sends heartbeats meanwhile */
    uint64_t loop_ms;         /* when the event loop last ran between calls */
    uint64_t counted_from_ms; /* the master was away until then: nothing before it counts */
    uint64_t timeout_ms;
    uint64_t heartbeat_ms;
};

enum health {
    HEALTH_FINE,
    HEALTH_CALL_TOO_LONG,
    HEALTH_UNRESPONSIVE, /* no heartbeat came, and no call explains that */
};

/* Of a READY or retiring process. What its slot says does not suffice, as another process may have
 * written it: a call of the sync class is too long only when no heartbeat has come since it began,
 * and a loop is unresponsive only when neither the slot nor the pipe has told of it. In the other
 * class the slot's entry of a call has its own check (slot_call_started_ms). */
enum health plan_check_health(const struct worker_proc *proc, const struct health_sample *sample,
                              uint64_t now_ms);

/* Something happens to the process: changes its phase (phase.h), and sets the deadline of the new
 * one. False: the event changes nothing, nor does the deadline. This is the only way in which a
 * phase changes between a process' start and its end. */
bool plan_advance(struct worker_proc *w, enum proc_event event, uint64_t deadline_ms);

/* How a process came to its end, for the stats: by what the master has noted of it, and by its wait
 * status. */
enum worker_end plan_end(const struct worker_proc *w, int status);

/* What the log says about a process that has ended. */
enum last_report {
    REPORT_NOTHING, /* more than it has said already */
    REPORT_BOOT,    /* it did not come to serve, and why not */
    REPORT_END,     /* its status, and what it was doing */
};
enum last_report plan_last_report(const struct worker_proc *w);

/* Did the master end it for a call or a loop that hung? Did it die by its own fault? Both while it
 * dies. */
bool plan_timed_out(const struct worker_proc *w);
bool plan_crashed(const struct worker_proc *w);

/* A reload tries this generation; 0: it has failed. */
void plan_try_generation(struct plan *p, unsigned candidate);

/* The candidate counts from now on. What its predecessor's workers failed at is forgotten. */
void plan_take_candidate(struct plan *p, unsigned workers, bool has_admin);

/* A process frees its number by its own fault, or is about to: for how soon the next one of that
 * number starts. Before its phase changes. Nothing happens for one that leaves anyway. */
void plan_count_death(struct plan *p, const struct worker_proc *w, uint64_t now_ms);

/* A process of this number died by itself: was_ready_ms after READY (0: it never was). When may the
 * next one start? A worker that a request killed is replaced at once; one that does not boot is
 * tried ever more rarely. */
void plan_note_death(struct backoff *b, uint64_t was_ready_ms, uint64_t now_ms);

/* A process of this number was killed from outside before READY, which says nothing of its
 * application: the next one may start at once, unless that goes on and on (out of memory). */
void plan_note_kill(struct backoff *b, uint64_t now_ms);

/* When something is due next by itself: a deadline, the end of a backoff. NO_DEADLINE: nothing. */
uint64_t plan_wake_ms(const struct plan *p, uint64_t now_ms);

#endif
