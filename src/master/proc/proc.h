/* SPDX-License-Identifier: MIT
 *
 * proc - the master's data of a worker process: its pipes, its settings, and the events noted about
 * it. The decisions about it are in the struct worker_proc of the same place in the plan.
 *
 * An event handler only notes (struct noted); procs_act and the other steps of a pass of the master
 * act on that.
 */
#ifndef GCORN_MASTER_PROC_PROC_H
#define GCORN_MASTER_PROC_PROC_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/proc/message_limits.h"
#include "master/proc/plan.h"
#include "system/ipc/channel.h"
#include "system/ipc/scoreboard.h"

struct generation;
struct output;
struct template;

/* The messages and events of a process since the last pass. */
struct noted {
    bool is_ready, is_dying, is_answered; /* UP_READY, UP_DYING, UP_CRASHED */
    char *boot_failure;                   /* owned; why it does not boot; NULL: not reported */
    char *wish;                           /* owned; why it asks to be replaced; NULL: it does not */
    const char *misdeed;                  /* why it must be killed; NULL: it need not */
    pid_t pid;                            /* its template has forked it; 0: not yet */
    bool has_stacks;                      /* its stacks are in the log, or given up */
};

struct proc {
    struct worker_proc *w;       /* its place in the plan */
    struct generation *settings; /* a reference */
    struct template *template;   /* will fork it; NULL: forked */
    uint64_t serial;             /* of the order to fork it */
    uint64_t inherited_size;     /* bytes that it shared with its template when it was forked */
    struct channel channel;
    struct speech speech;
    struct ev_io up;        /* its messages */
    bool takes_late_signal; /* as its UP_READY said; its slot may hold anything */
    struct output *output;  /* of the application; NULL: not captured */
    pid_t tracer;           /* the debugger that traces it, already logged; 0: none */
    uint64_t stack_log;     /* the stacks that it waits for (stack_log.h); 0: none */
    struct noted noted;
};

/* All of them, in the places of the plan and of the scoreboard. */
struct procs {
    struct ev_loop *loop;
    struct plan *plan;
    struct scoreboard *scoreboard;
    struct proc *list; /* owned; plan->proc_count */
    bool has_news;     /* something was noted */
};

/* Every process; the body may clear its place. */
#define for_each_proc(p, procs)                                                                    \
    for ((p) = (procs)->list; (p) < (procs)->list + (procs)->plan->proc_count; (p)++)              \
        if ((p)->w->phase != PROC_EMPTY)

/* plan and scoreboard are borrowed, and have their sizes already. */
void procs_init(struct procs *procs, struct plan *plan, struct scoreboard *scoreboard);
void procs_release(struct procs *procs);

/* The process with this pid; NULL: not found. */
struct proc *procs_find(const struct procs *procs, pid_t pid);

/* The slot of the process: untrusted input. */
struct slot *proc_slot(const struct procs *procs, const struct proc *p);

/* For the log: Worker, or Admin process. */
const char *proc_name(const struct procs *procs, const struct proc *p);

/* How many entries of calls it has in its slot: from its settings, not from the slot. */
unsigned proc_calls(const struct proc *p);

/* A process is there, or ordered from a template (its pid is 0): fills its place. settings is
 * referenced, channel and output (NULL: none) are taken. */
void proc_fill(struct proc *p, const struct worker_proc *w, struct generation *settings,
               const struct channel *channel, struct output *output);

/* Reads its messages from now on, once it has a pid. */
void proc_watch(struct procs *procs, struct proc *p);

/* Reads at most that many messages of the process and notes them. */
void proc_read(struct procs *procs, struct proc *p, int most);

/* Sends an order that carries no descriptor. False: the channel did not take it. */
bool proc_order(const struct proc *p, enum down_type type, uint64_t idle_ms);

/* The process has ended, or was never forked: closes the master's side of it, except the output,
 * and empties its place. */
void proc_clear(struct procs *procs, struct proc *p);

#endif
