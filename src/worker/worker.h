/* SPDX-License-Identifier: MIT
 *
 * worker - a process that serves connections: one libev loop around synchronous calls of the
 * application. It reads and writes as clients allow and calls only when a request is complete, so
 * no slow client ever holds it; what holds it is a call, and nothing but a call.
 */
#ifndef GCORN_WORKER_WORKER_H
#define GCORN_WORKER_WORKER_H

#include <ev.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strbuf.h"
#include "http/environ.h"
#include "settings/config.h"
#include "system/ipc/channel.h"
#include "system/net/listener.h"
#include "system/process/privileges.h"
#include "system/ipc/scoreboard.h"
#include "system/code/image.h"
#include "worker/accept/accept.h"
#include "worker/access_log_writer.h"
#include "worker/call/app.h"
#include "worker/conn/conn.h"
#include "worker/conn/fair_close.h"
#include "worker/conn/peer.h"
#include "worker/conn/admission.h"
#include "worker/call/call_pool.h"
#include "worker/notify_master.h"
#include "worker/loop/timers.h"
#include "worker/call/wake.h"

/* What the master gives a worker; all borrowed, and unchanged while the process lives. */
struct worker_args {
    const char *role; /* "worker", for ps and the log */
    const struct config *config;
    const struct privileges *privileges;
    const struct image *image; /* of the application */
    const char *symbol;
    const struct app *preloaded; /* the application, loaded by worker_preload; else NULL */
    gcorn_app *builtin;          /* what runs instead of an application from an image; else NULL */
    struct listener *const *listeners;
    size_t listener_count;
    struct channel channel; /* its own ends */
    struct slot *slot;
    struct commons *commons;       /* of all workers */
    struct scoreboard *scoreboard; /* with the siblings' slots; NULL: it has none */
    unsigned number;               /* gcorn_slot() */
    unsigned generation;
    bool is_proven;         /* another worker of the generation has been ready */
    int access_fd;          /* -1: no access log */
    const char *check_path; /* of a canary: to be asked for before it is ready; else NULL */
    pid_t master_pid;
};

enum { WORKER_IN_SIZE = 64 * 1024, WORKER_SPARE_ENVIRONS = 8 };

struct worker {
    const struct worker_args *args;
    const struct config *config;
    pid_t pid;
    struct ev_loop *loop;
    struct slot *slot;
    struct app app;
    struct http_context http;
    struct peer_rules peers;
    struct spool_budget uploads; /* tmp_upload_max */
    uint64_t upload_said_ms;     /* when one that could not be kept was last logged */

    struct acceptor *acceptors;
    bool accepting;
    bool accept_skipped; /* the last wake-up of an acceptor gave way to waiting connections */
    struct ev_timer accept_pause;
    struct ev_timer accept_busy; /* since every thread of the pool was busy */
    size_t pause_limit;          /* it ends when there are no more connections than this */
    uint64_t accept_said_ms;     /* when a failure was last logged */
    uint64_t accept_failed_ns;   /* when there was one for want of something */

    struct conn *conns; /* the table: a mapping of its own, max_conns long */
    size_t max_conns;
    size_t table_used; /* conns ever used: [0, table_used) */
    size_t open_conns;
    size_t peak_conns;      /* most that were open at once since memory was trimmed */
    uint64_t beat_requests; /* request_count at the last heartbeat */
    struct conn *free_conns;
    struct room room;
    struct exchange *exchanges; /* the same of what is lent to them */
    size_t exchanges_used;
    struct exchange *free_exchanges;
    struct conn *queue, **queue_end;
    struct ev_prepare queue_turn;
    struct ev_idle queue_waits; /* the loop does not sleep while it is active */

    struct timers timers;
    struct ev_timer timer_sweep;
    uint64_t sweep_at_ms; /* client time; UINT64_MAX: not armed */

    uint64_t now_ns;  /* as of the last look at the clock */
    uint64_t pass_ns; /* when this pass of the loop began; 0: its first callback is yet to come */
    uint64_t last_pass_ns; /* how long the one before took */
    uint64_t waited_ns;    /* how long what this pass found may have waited for it */
    bool is_busy;          /* the loop did not sleep before this pass */
    uint64_t calls_ns;     /* spent in application code so far: client time stands still in it */
    uint64_t request_count;
    uint64_t run_count; /* answered by the application, for max_requests */
    uint64_t queue_ns;  /* how long the last one had queued that the kernel was asked about */
    uint64_t queue_asked_ns;
    struct fair fair;
    uint64_t last_call_ns; /* how long the last call took */

    struct waker waker;
    uint64_t waiting_count; /* connections whose answer waits for the application */

    struct conn *serving; /* while a call for a request runs: whose */
    struct pool *pool;    /* calls run in its threads; NULL: on the loop's (the sync class) */

    char *in;          /* WORKER_IN_SIZE bytes that every read goes to */
    struct strbuf out; /* lent to the connection that is being served */
    struct gcorn_environ *spare[WORKER_SPARE_ENVIRONS];
    size_t spare_count;

    volatile sig_atomic_t is_sending;  /* fatal signals that were sent wait while it is true */
    volatile sig_atomic_t held_signal; /* one that does; 0: none */

    struct accesslines access_lines;
    int crash_dir_fd; /* of crash_dir, for replay_save; -1: none */

    struct ev_io orders;
    struct fd_mark orders_mark, tell_mark; /* of the channel's ends */
    struct ev_timer heartbeat;
    struct ev_prepare pass_end;
    struct ev_check pass_begin;
    struct ev_async told_to_stop; /* by a signal */
    struct tell tell;
    _Atomic bool draining; /* takes nothing new */
    bool answers_close;    /* every answer says Connection: close */
    struct ev_timer drain;
    struct ev_timer linger_over; /* while it drains */
    uint64_t recycle_at; /* asks to be replaced after so many requests; 0: never, or it has */
};

/* Where long request bodies are kept: the setting, $TMPDIR or /tmp. Borrowed. */
const char *worker_upload_dir(const struct config *cfg);

/* Never returns. The process is the master's child, fresh from fork, signals blocked. */
void worker_run(const struct worker_args *args) __attribute__((noreturn));

/* Makes this process what a worker is to the system: user, signals, environment. 0, or -1 with
 * err: then it must exit. */
int worker_prepare(const struct worker_args *args, struct error *err);

/* For workers that are forked later, with app in their args.preloaded: loads the application, after
 * worker_prepare. Of args it takes what is the same for all of them. 0, or -1 with err: then it
 * must exit. */
int worker_preload(const struct worker_args *args, struct app *app, struct error *err);

/* A worker in the process of whoever asks, with no sockets, no master and no signals of its own:
 * what takes an environ and calls the application works. NULL when there is no event loop. For
 * replay.c; once in a process. */
struct worker *worker_new_alone(const struct worker_args *args);

/* ---- for conn.c -------------------------------------------------------------------------- */

/* This process's worker; NULL where there is none (--check-config, children of the application). */
struct worker *worker_this(void);

/* In a child that the application has forked: it is no worker. */
void worker_forget(void);

/* Brackets every stay in application code; they do not nest. c is the connection whose request is
 * served, NULL when it is over, or has none. worker_call_end returns how long it
 * took, in nanoseconds. */
void worker_call_begin(struct worker *w, struct conn *c, const struct gcorn_environ *env);
uint64_t worker_call_end(struct worker *w);

/* Shows in the slot what a thread runs from now on; for which connection's answer: c, or NULL. */
void worker_show_call(struct slot_call *call, const struct conn *c, const struct gcorn_environ *env,
                      uint64_t started_ms);

/* For an answer that waits in a worker alone, or one that is not ready yet: turns the loop once, at
 * most for a moment. Then the application is asked again. */
void worker_turn_alone(struct worker *w);

/* Takes the time: at the start of every callback. */
void worker_look_at_clock(struct worker *w);

/* The longest that a connection which is read now can have waited for calls to end. */
uint64_t worker_waited_ns(const struct worker *w);

/* Milliseconds of client time (timers.h). */
static inline uint64_t worker_client_ms(const struct worker *w)
{
    return (w->now_ns - w->calls_ns) / 1000000;
}

/* A fresh environ, and back. */
struct gcorn_environ *worker_take_environ(struct worker *w, const struct http_peer *peer);
void worker_give_environ(struct worker *w, struct gcorn_environ *env);

/* What giving one back consists of, for a pool: does ending it run the application's code? Counts
 * it for max_requests; runs that code, in any thread; takes it, ended. */
bool worker_environ_has_code(const struct worker *w, const struct gcorn_environ *env);
void worker_count_environ(struct worker *w, const struct gcorn_environ *env);
void worker_end_environ(const struct worker *w, struct gcorn_environ *env);
void worker_keep_environ(struct worker *w, struct gcorn_environ *env);

/* A conn in CONN_FREE, NULL when there are max_conns; and back. */
struct conn *worker_take_conn(struct worker *w);
void worker_give_conn(struct worker *w, struct conn *c);

/* An exchange with nothing in it, one for each connection; it is given back so. */
static inline struct exchange *worker_lend_exchange(struct worker *w)
{
    struct exchange *x = w->free_exchanges;

    if (x)
        w->free_exchanges = x->next;
    else
        x = &w->exchanges[w->exchanges_used++];
    x->is_lent = true;
    return x;
}

static inline void worker_give_exchange(struct worker *w, struct exchange *x)
{
    x->is_lent = false;
    x->next = w->free_exchanges;
    w->free_exchanges = x;
}

/* Sets the connection's timer, and sees to it that the sweep comes in time. */
void worker_set_timer(struct worker *w, struct conn *c, enum timer_kind kind);

/* Ends the process, whatever is under way. */
void worker_leave(struct worker *w) __attribute__((noreturn));

/* Nothing is left to do, nor to come. */
bool worker_is_drained(const struct worker *w);

/* Puts the connection at the end of the queue of those that can go on at once and wait for their
 * turn. */
void worker_queue_conn(struct worker *w, struct conn *c);

/* Has this pass of the loop spent so long in calls that others should have their turn? */
bool worker_pass_is_long(const struct worker *w);

/* A complete request has got into the application's hands, having waited so long. */
void worker_note_run(struct worker *w, uint64_t queued_ns);

/* A request is complete, or is refused or cut before it is: it counts from now on. */
static inline void worker_note_begun(struct worker *w)
{
    w->slot->counts.begun++;
}

/* It has ended, whole or not: counts it, and adds its line to the access log. */
void worker_note_answer(struct worker *w, struct gcorn_environ *env, uint64_t duration_ns);

#endif
