/* SPDX-License-Identifier: MIT
 *
 * plan - the master's decisions: which worker to start, to retire, to kill. Functions of plain
 * structs and of the time: they do nothing, so they are tested without a process. Carrying them out
 * is procs.c's.
 */
#ifndef GCORN_MASTER_PLAN_H
#define GCORN_MASTER_PLAN_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/telemetry/stats.h"
#include "master/message_limits.h"
#include "system/ipc/channel.h"

struct generation;
struct master;
struct output;
struct template;

enum proc_phase {
    PROC_EMPTY,    /* no process */
    PROC_BOOTING,  /* forked, has not said READY; killed past its deadline */
    PROC_READY,    /* serves */
    PROC_RETIRING, /* told to finish; killed past its deadline */
    PROC_KILLING,  /* sent a fatal signal; SIGKILL past its deadline, which then is none */
};

#define NO_DEADLINE UINT64_MAX

/* One worker process, as the master knows it. Its place in the table is its slot's in the
 * scoreboard. */
struct worker_proc {
    enum proc_phase phase;
    pid_t pid;
    unsigned number;     /* 0 to workers - 1, or plan_admin_number: what it is for; a replacement
                          * has the same */
    unsigned generation; /* of settings and application */
    uint64_t deadline_ms;
    uint64_t started_ms;  /* forked */
    uint64_t ready_ms;    /* said READY; 0 while it has not */
    uint64_t heard_ms;    /* last heartbeat */
    bool failed_boot;     /* said why it cannot boot */
    bool crashed;         /* dies of a signal or exit(); its death has been noted */
    uint64_t crash_by_ms; /* and has so long for what it does before the signal ends it */
    bool reported;        /* the log says all about its end */
    bool timed_out;       /* was condemned for a call that took too long */
    bool is_oom;          /* the kernel killed it, out of memory */
    bool spared;          /* and has threads that may finish theirs, until its deadline */
    bool is_late;         /* it boots, and has not been ready in time: its stacks are being taken */
    bool explained;       /* and its stacks are in the log, or are given up */
    bool aborted;         /* and sent SIGABRT */
    bool traced;          /* it would be condemned, but a debugger holds it; said once */
    uint64_t slow_ms;     /* of its calls, slow_request has told of those that began by then */
    bool recycle;         /* has served enough: to be replaced as if its generation were old */
    bool told_to_drain;   /* its channel holds, or held, an order to accept no more connections */
    bool hurried;         /* retiring, and told to close its idle connections soon */

    /* What carrying out takes; no decision looks at it. */
    enum worker_end end; /* why it was told to, for the stats */
    struct generation *settings;
    struct template *template; /* that is to bear it, and pid is 0; NULL once it is born */
    uint64_t serial;           /* of the order for that */
    uint64_t inherited_size;   /* bytes that it shared with its template when it was born */
    struct channel channel;
    struct speech speech;
    struct ev_io up;
    struct output *output; /* what the application prints; NULL: that is not captured */
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

/* How many places the table of a master has that starts with so many workers: they may double at a
 * reload, or grow by TTIN, and those that leave keep theirs for a while; two are the admin
 * process's. */
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
struct signs {
    uint64_t call_started_ms; /* of one of its calls; 0: none runs */
    uint64_t call_until_ms;   /* it asked to last so long; 0: it did not */
    bool loop_is_apart;       /* calls run in threads of their own: the loop beats meanwhile */
    uint64_t loop_ms;         /* last sign of life between calls */
    uint64_t judged_from_ms;  /* the master was away until then: nothing before it counts */
    uint64_t timeout_ms;
    uint64_t heartbeat_ms;
};

enum verdict {
    VERDICT_FINE,
    VERDICT_CALL_TOO_LONG,
    VERDICT_SILENT, /* no heartbeat came, and no call is an excuse for that */
};

/* Of a READY or RETIRING process. What its slot says does not suffice, as another process may have
 * written it: a call of the sync class is too long only when no heartbeat has come since it began,
 * and a loop is silent only when neither the slot nor the pipe has told of it. In the other class
 * the slot's entry of a call has its own check (slot_call_started_ms). */
enum verdict plan_judge(const struct worker_proc *proc, const struct signs *signs, uint64_t now_ms);

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
