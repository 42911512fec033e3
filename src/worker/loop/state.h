/* SPDX-License-Identifier: MIT
 *
 * state - what a worker is made of: struct worker, and what the master gives it. Each member
 * belongs to one file, which alone writes it; the others read it here.
 */
#ifndef GCORN_WORKER_LOOP_STATE_H
#define GCORN_WORKER_LOOP_STATE_H

#include <ev.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buffer_pool.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "http/environ.h"
#include "settings/config.h"
#include "system/ipc/channel.h"
#include "system/net/listener.h"
#include "system/process/privileges.h"
#include "system/ipc/scoreboard.h"
#include "system/code/image.h"
#include "worker/access_log_writer.h"
#include "worker/call/app.h"
#include "worker/conn/fair_close.h"
#include "worker/conn/peer.h"
#include "worker/conn/admission.h"
#include "worker/call/call.h"
#include "worker/notify_master.h"
#include "worker/loop/timers.h"
#include "worker/loop/types.h"
#include "worker/call/wake.h"

struct acceptor;
struct app_threads;
struct app_timers;
struct callback_name;
struct message_bus;
struct messages;
struct named_memory;
struct pool;
struct posts;

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
    struct shared_hints *hints;         /* of all workers */
    struct scoreboard *scoreboard;      /* with the siblings' slots; NULL: it has none */
    struct message_bus *bus;            /* of gcorn_publish; NULL, or its fd -1: none */
    struct named_memory *shared_memory; /* of gcorn_shared; NULL, or its fd -1: none */
    unsigned number;                    /* gcorn_worker_number() */
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
    struct buffer_pool bodies;   /* body_memory */
    uint64_t upload_logged_ms;   /* when one that could not be kept was last logged */

    struct acceptor *acceptors;
    bool accepting;
    bool accept_skipped; /* the last wake-up of an acceptor gave way to waiting connections */
    struct ev_timer accept_pause;
    struct ev_timer accept_busy; /* since every thread of the pool was busy */
    size_t pause_limit;          /* it ends when there are no more connections than this */
    uint64_t accept_logged_ms;   /* when a failure was last logged */
    uint64_t accept_failed_ns;   /* when there was one for want of something */

    struct conn *conns; /* the table: a mapping of its own, max_conns long */
    size_t max_conns;
    size_t table_used; /* conns ever used: [0, table_used) */
    size_t open_conns;
    size_t peak_conns;           /* most that were open at once since memory was trimmed */
    uint64_t beat_requests;      /* request_count at the last heartbeat */
    struct stream *free_streams; /* of conns that are CONN_FREE */
    struct admission admission;
    struct exchange *exchanges; /* the same of what is lent to them */
    size_t exchanges_used;
    struct exchange *free_exchanges;
    struct stream *queue, **queue_end;
    struct ev_prepare queue_turn;
    struct ev_idle queue_waits; /* the loop does not sleep while it is active */

    struct timers timers;
    struct ev_timer timer_sweep;
    uint64_t sweep_at_ms; /* client time; UINT64_MAX: not armed */

    uint64_t now_ns;  /* as of the last look at the clock */
    uint64_t pass_ns; /* when this pass of the loop began; 0: its first callback is yet to come */
    uint64_t last_pass_ns; /* how long the one before took */
    uint64_t waited_ns;    /* how long what this pass found may have waited for it */
    bool may_have_queued;  /* connections of this pass may have waited to be accepted */
    uint64_t calls_ns;     /* spent in application code so far: client time stands still in it */
    uint64_t request_count;
    uint64_t run_count; /* answered by the application, for max_requests */
    uint64_t queue_ns;  /* how long the last one had queued that the kernel was asked about */
    uint64_t queue_asked_ns;
    struct fair_close fair;
    uint64_t last_call_ns; /* how long the last call took */

    struct waker waker;
    uint64_t waiting_count; /* connections whose answer waits for the application */

    struct stream *serving;       /* while a call for a request runs: whose */
    const struct call_ops *calls; /* the class of workers; NULL: calls run on the loop's thread */
    struct pool *pool;            /* what the class gthread has */
    struct messages *messages;    /* what messages/ has; NULL: no bus */
    uint32_t state_before;        /* the slot's, while a callback runs (callback/callback.h) */
    bool callback_is_nested;      /* it runs within the call of a request, which stays shown */
    struct callback_name *callback_names; /* of functions that the loop has called; may be NULL */
    struct app_timers *app_timers;        /* NULL: the application has had none */
    struct app_threads *app_threads;
    struct posts *posts;

    char *in;          /* WORKER_IN_SIZE bytes that every read goes to */
    struct strbuf out; /* lent to the connection that is being served */
    struct gcorn_environ *spare[WORKER_SPARE_ENVIRONS];
    size_t spare_count;

    volatile sig_atomic_t is_sending;  /* fatal signals that were sent wait while it is true */
    volatile sig_atomic_t held_signal; /* one that does; 0: none */

    struct access_log_writer access_log;
    int crash_dir_fd; /* of crash_dir, for crash_file_save; -1: none */

    struct ev_io commands;
    struct fd_mark down_mark, up_mark; /* of the channel's ends */
    struct ev_timer heartbeat;
    struct ev_prepare pass_end;
    struct ev_check pass_begin;
    struct ev_async told_to_stop; /* by a signal */
    struct notify notify;
    bool takes_late_signal;        /* gcorn_on_call_late is there; the master is told */
    _Atomic bool draining;         /* takes nothing new */
    bool answers_close;            /* every answer says Connection: close */
    bool quit_is_due;              /* the order came while a call waited for its client */
    uint64_t drain_over_ms;        /* since it drains: when calls that push must end */
    _Atomic uint64_t pushed_bytes; /* see call/push.c */
    struct ev_timer drain;
    struct ev_timer linger_over; /* while it drains */
    uint64_t leave_by_ms; /* when it should have left, as far as it knows; 0: not told to leave */
    uint64_t recycle_at;  /* asks to be replaced after that many requests; 0: never, or done */
};

/* This process's worker; NULL in a process that is not a worker: with --check-config, in the
 * master, and in children that the application has forked. Any thread, and signal handlers. */
struct worker *worker_this(void);

/* It is w from now on; NULL: this process is no worker. */
void worker_set_this(struct worker *w);

#endif
