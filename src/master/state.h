/* SPDX-License-Identifier: MIT
 *
 * state - what the master knows and wants, in one struct that the files directly in this folder
 * share:
 *
 *   master.c     the loop and its pass, signals, start and end; requests.c, the control socket's
 *   plan.c       the decisions, on plain structs; phase.c, the life of a worker process
 *   proc.c       a worker process, and what is noted of it
 *   takeover.c   an upgrade, seen from the old and from the new master
 *   reap.c, procs.c, liveness.c, retire.c, boots.c, crashes.c
 *                the steps that act on the lives of worker processes
 *   spawn.c      forking one; preload.c, those that a template forks
 *   messages.c   the memory by which workers reach each other
 *   reload.c     a reload, from HUP to its outcome; generation.c, what one set of settings opens;
 *                start.c, what it starts from
 *
 * An event handler writes what it has heard into this struct, or into a struct proc, and sets
 * is_due; master_reconcile alone acts.
 */
#ifndef GCORN_MASTER_STATE_H
#define GCORN_MASTER_STATE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

#include "master/operator/control.h"
#include "master/postmortem/dump.h"
#include "master/generation/generation.h"
#include "master/upgrade/successor.h"
#include "master/postmortem/helper.h"
#include "master/postmortem/stack_log.h"
#include "master/hooks.h"
#include "master/telemetry/stats.h"
#include "master/prepare/prepare.h"
#include "master/proc/proc.h"
#include "master/operator/rates.h"
#include "master/generation/start.h"
#include "master/operator/status.h"
#include "master/upgrade/systemd.h"
#include "master/upgrade/upgrade.h"
#include "system/host/oom.h"
#include "system/file/pidfile.h"
#include "system/ipc/scoreboard.h"
#include "system/messages/message_bus.h"
#include "system/messages/named_memory.h"

enum stop_wish {
    STOP_NOT,
    STOP_GRACEFULLY, /* after drain_delay */
    STOP_AT_ONCE,    /* when requests are answered */
    STOP_QUICKLY,    /* without waiting for requests */
};

struct master {
    const struct start *start;
    struct ev_loop *loop;
    struct plan plan;
    struct procs procs;

    /* noted by event handlers and by earlier steps, for the steps of master_reconcile */
    bool is_due;          /* something was noted */
    bool tick_is_due;     /* the tick came */
    bool child_has_ended; /* SIGCHLD came */
    enum stop_wish stop_wish;
    int stop_status;
    bool reload_requested;   /* a HUP came */
    bool candidate_is_ready; /* its canary is READY */
    char *candidate_failure; /* owned; why the reload fails; NULL: it does not */
    char *roll_failure;      /* owned; the same after its candidate has become current */
    bool reopen_requested;   /* USR1 came */
    bool upgrade_requested;  /* USR2 came */
    bool retire_requested;   /* WINCH came */
    unsigned workers_before; /* other workers are wanted; 0: as many as before */

    struct generation *current;
    struct generation *candidate; /* being tried by a reload; NULL: none */
    struct prepare prepare;       /* of the generation that is to be one */
    struct file_notice notice;    /* in that process: of socket files that it makes */
    uint64_t prepare_by_ms;       /* its deadline */
    uint64_t reload_step_ms;      /* since when a reload is prepared, or its candidate tried */
    unsigned last_generation;
    bool has_served;     /* a worker was READY once */
    uint64_t stop_at_ms; /* the end of drain_delay; NO_DEADLINE: none runs */
    bool quick;          /* stopping without waiting for requests */
    int exit_status;

    uint64_t reloads_begun; /* since the start; each has its number */
    uint64_t reload_first;  /* the oldest that the next outcome answers */
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
    struct stack_logs stack_logs;
    struct dumps dumps;

    struct scoreboard *scoreboard;
    struct message_bus bus;
    struct named_memory shared_memory;
    struct stats *stats;
    bool metrics_are_lost; /* logged */
    struct oom oom;
    struct samples samples; /* of the workers, while there is a control socket */
    char **config_at_start; /* the values of its settings */
    struct pidfile pidfile;
    struct pidfile next_pidfile; /* of the candidate */
    bool pidfile_changes;        /* with the candidate, to that or to none */

    struct ev_signal signals[10];
    struct ev_timer tick;        /* checking health, and what else comes once a second */
    struct ev_timer wake;        /* the next deadline */
    struct ev_check awake;       /* before the handlers: did the master not run for long? */
    struct ev_prepare reconcile; /* after the handlers */
    uint64_t started_ms;
    uint64_t awake_ms;            /* when the loop last woke up */
    uint64_t counted_from_ms;     /* nothing earlier counts: the master did not run */
    uint64_t boot_by_ms;          /* starting a process may fail until then (boots.h) */
    uint64_t spawn_not_before_ms; /* starting a process failed */
    char spawn_why[160];          /* why it did; "": the last one was started */
    bool table_full;              /* logged */
};

/* The current settings. */
static inline const struct config *config_of(const struct master *m)
{
    return &m->current->config;
}

/* Now, or after drain_delay. */
static inline bool master_is_stopping(const struct master *m)
{
    return m->plan.stopping || m->stop_at_ms != NO_DEADLINE;
}

/* Notes that the server must stop, and with which exit status. The stronger request counts, and of
 * two equal ones the first. */
static inline void master_note_stop(struct master *m, enum stop_wish wish, int status)
{
    if (wish > m->stop_wish) {
        m->stop_wish = wish;
        m->stop_status = status;
    }
    m->is_due = true;
}

#endif
