/* SPDX-License-Identifier: MIT
 *
 * phase - the life of a worker process as a table: in which phase it is, and which phase follows
 * when something happens to it. Plain data; nothing here acts.
 *
 *   ordered from a template   PENDING -> BOOTING, or RECALLED -> RETIRING
 *   booting                   BOOTING -> READY; LATE, BOOT_FAILED or BOOT_CRASHED on the way out
 *   serving                   READY -> RETIRING -> HURRIED
 *   hung                      EXPLAINING, or FINISHING while it has other calls -> ABORTED
 *   dying by itself           CRASHED
 *   ended by the master       KILLED
 *
 * Each phase but READY and KILLED has a deadline, and each change of phase sets it.
 */
#ifndef GCORN_MASTER_PROC_PHASE_H
#define GCORN_MASTER_PROC_PHASE_H

#include <stdbool.h>

enum proc_phase {
    PROC_EMPTY,        /* no process */
    PROC_PENDING,      /* ordered from a template, which has not forked it yet */
    PROC_RECALLED,     /* the same, and told to finish as soon as it is forked */
    PROC_BOOTING,      /* not READY yet */
    PROC_LATE,         /* the same past its deadline: its stacks are being taken */
    PROC_BOOT_FAILED,  /* has reported why it does not serve, and exits */
    PROC_BOOT_CRASHED, /* dies of a signal or exit() before READY */
    PROC_READY,        /* serves */
    PROC_RETIRING,     /* told to finish */
    PROC_HURRIED,      /* the same, and to wait for idle connections no longer */
    PROC_EXPLAINING,   /* hung: its stacks are being taken */
    PROC_FINISHING,    /* hung in one call, and has others that it can finish */
    PROC_ABORTED,      /* hung, and sent SIGABRT: it answers its clients */
    PROC_CRASHED,      /* dies of a signal or exit(): it answers its clients */
    PROC_KILLED,       /* sent SIGKILL by the master */
    PROC_PHASES,
};

/* What happens to a process. */
enum proc_event {
    PROC_IS_FORKED,       /* by its template */
    PROC_IS_READY,        /* the worker's message */
    PROC_FAILS_TO_BOOT,   /* the worker's message */
    PROC_IS_DYING,        /* the worker's message */
    PROC_IS_RETIRED,      /* the master tells it to finish, perhaps again */
    PROC_IS_HURRIED,      /* the master tells it not to wait for idle connections */
    PROC_IS_HUNG,         /* its loop or a call hangs, and no other call runs */
    PROC_IS_PARTLY_HUNG,  /* a call hangs, and others run */
    PROC_IS_EXPLAINED,    /* its stacks are in the log, and it has nothing left to finish */
    PROC_DEADLINE_PASSES, /* the deadline of its phase */
    PROC_IS_KILLED,       /* the master ends it at once */
    PROC_EVENTS,
};

/* Why a worker ended. */
enum worker_end {
    END_UNASKED, /* the master did not tell it to; its status says why */
    END_WITH_SERVER,
    END_NOT_WANTED, /* fewer workers are wanted */
    END_BOOT,       /* its boot failed */
    END_CRASH,      /* a fatal signal, or a malformed message to the master */
    END_EXIT,
    END_KILLED, /* SIGKILL from another process */
    END_OOM,    /* SIGKILL from the kernel: out of memory */
    END_TIMEOUT,
    END_SILENT,
    END_MAX_REQUESTS,
    END_MAX_MEMORY,
    END_SIGTERM, /* from another process */
    END_RELOAD,
    WORKER_ENDS,
};
enum { END_FIRST_RESTART = END_BOOT }; /* from here on: a worker that is replaced */

/* Returns the next phase; the same one when the event changes nothing. Asserts that the event can
 * happen in this phase: only the master's own acts can violate that, a process's messages
 * cannot. */
enum proc_phase phase_after(enum proc_phase phase, enum proc_event event);

/* True: the event can happen in this phase. */
bool phase_allows(enum proc_phase phase, enum proc_event event);

/* Ordered from a template, without a pid yet? */
bool phase_is_pending(enum proc_phase phase);

/* Does it hold its number, so that no other process is started for it? */
bool phase_holds_number(enum proc_phase phase);

/* Serves, or will serve after its boot? Then it can be told to finish. */
bool phase_may_retire(enum proc_phase phase);

/* Not READY yet, or will never be? */
bool phase_is_booting(enum proc_phase phase);

/* Leaving, and not counted as a worker any more? */
bool phase_is_leaving(enum proc_phase phase);

/* Told to finish, and doing so? */
bool phase_is_retiring(enum proc_phase phase);

/* Accepts no connection any more, because it dies or its boot failed? */
bool phase_is_dying(enum proc_phase phase);

/* Dies of a signal or exit(), and has reported it? */
bool phase_has_crashed(enum proc_phase phase);

/* For operators: booting, ready, retiring, killing or empty. */
const char *phase_name(enum proc_phase phase);

#endif
