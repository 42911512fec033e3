/* SPDX-License-Identifier: MIT
 *
 * state - what the master knows and wants, in one struct that the files of this room share:
 *
 *   master.c   the loop, signals, stopping, start and end
 *   plan.c     the decisions, on plain structs
 *   procs.c    the worker processes: orders to them, judging them, their lives and deaths
 *   retire.c   telling them to finish, and knowing when they accept no more connections
 *   boots.c    when one does not come to serve
 *   spawn.c    forking one; template.c and preload.c, having one forked by a template process
 *   reload.c   a reload, from HUP to its outcome; generation.c, what one set of settings opens;
 *              start.c, what it starts from
 *   upgrade.c  being replaced by a new program; successor.c, being that one
 *
 * what becomes of a worker that misbehaves:
 *
 *   report.c   what the log says of it
 *   stack_log.c  its stacks in the log; dump.c, for who asks; helper.c, the process that takes them
 *   output.c   what it prints
 *
 * and what others are told:
 *
 *   control.c  operators, through the control socket; status.c, what they read; rates.c, its
 * rates stats_update.c    the admin process, through stats.c; snapshot.c and prometheus.c are on
 * its side systemd.c  the service manager; socket_activation.c, the sockets that it passes hooks.c
 * commands of the settings
 */
#ifndef GCORN_MASTER_STATE_H
#define GCORN_MASTER_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/operator/control.h"
#include "master/postmortem/dump.h"
#include "master/generation.h"
#include "master/upgrade/successor.h"
#include "master/postmortem/helper.h"
#include "master/hooks.h"
#include "master/telemetry/stats.h"
#include "master/plan.h"
#include "master/prepare.h"
#include "master/operator/rates.h"
#include "master/start.h"
#include "master/operator/status.h"
#include "master/upgrade/systemd.h"
#include "master/upgrade/upgrade.h"
#include "system/host/oom.h"
#include "system/file/pidfile.h"
#include "system/ipc/scoreboard.h"

struct master {
    const struct start *start;
    struct ev_loop *loop;
    struct plan plan;
    struct generation *current;
    struct generation *candidate; /* being tried by a reload; NULL: none */
    struct prepare prepare;       /* of the generation that is to be one */
    uint64_t prepare_by_ms;       /* its deadline */
    uint64_t reload_step_ms;      /* since when a reload is prepared, or its candidate tried */
    unsigned last_generation;
    bool reload_again;   /* a HUP came while one was under way, or an upgrade */
    bool has_served;     /* a worker was READY once */
    uint64_t stop_at_ms; /* the end of drain_delay; NO_DEADLINE: none runs */
    bool quick;          /* stopping without waiting for requests */
    int exit_status;

    uint64_t reloads_begun; /* since the start; each has its number */
    uint64_t reload_first;  /* the oldest of those that the next outcome is told for */
    uint64_t reload_committed;
    bool rolling; /* that one's workers are not all there yet, or old ones still accept */
    struct status_reload last_reload;

    struct control control;
    struct listener next_control; /* of the candidate */
    bool control_changes;         /* with the candidate, to that or to none */

    struct systemd systemd;

    struct hooks hooks;
    struct upgrade upgrade;     /* to the program that replaces this one */
    struct successor successor; /* of the one that this one replaces */

    struct helpers helpers;
    struct stack_log *stack_logs; /* under way, or waiting for a helper */
    struct dumps dumps;

    struct scoreboard *scoreboard;
    struct stats *stats;
    bool metrics_are_lost; /* and the log says so */
    struct oom oom;
    struct samples samples; /* of the workers, while somebody may ask */
    char **config_at_start; /* the values of its settings */
    struct pidfile pidfile;
    struct pidfile next_pidfile; /* of the candidate */
    bool pidfile_changes;        /* with the candidate, to that or to none */

    struct ev_signal signals[10];
    struct ev_timer tick; /* judging */
    struct ev_timer wake; /* the next deadline */
    struct ev_check awake;
    uint64_t started_ms;
    uint64_t awake_ms; /* when the loop last came to life */
    uint64_t judged_from_ms;
    uint64_t boot_by_ms;          /* starting a process may fail until then (boots.h) */
    uint64_t spawn_not_before_ms; /* starting a process failed */
    char spawn_why[160];          /* why it did; "": the last one was started */
    bool table_full;              /* and the log says so */
};

/* The settings that count. */
static inline const struct config *config_of(const struct master *m)
{
    return &m->current->config;
}

/* What the worker in this place of the table says of itself: untrusted input. */
static inline struct slot *master_slot(const struct master *m, const struct worker_proc *w)
{
    return scoreboard_slot(m->scoreboard, (unsigned)(w - m->plan.procs));
}

/* Now, or after drain_delay. */
static inline bool master_is_stopping(const struct master *m)
{
    return m->plan.stopping || m->stop_at_ms != NO_DEADLINE;
}

/* master.c: makes the processes match what is wanted; tells whether a client waits to be accepted,
 * or has ever been; stops, quickly or when requests are answered, with this exit status. */
void master_reconcile(struct master *m);
bool master_has_clients(const struct master *m);
void master_stop(struct master *m, bool quick, int status);

#endif
