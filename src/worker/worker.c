/* SPDX-License-Identifier: MIT
 *
 * See worker.h. The life of a worker, top down at the end of the file:
 *
 *   worker_run    become a worker (signals, user, title), load the application, say READY,
 *                 turn the loop until drained, leave
 *
 * and what the loop serves: acceptors (accept.c), connections (conn.c), one sweep for all their
 * timers, orders (commands.c), a heartbeat.
 */
#include "worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/owned.h"
#include "base/util.h"
#include "http/answer/body.h"
#include "system/process/loop.h"
#include "system/ipc/sd_notify.h"
#include "system/host/oom.h"
#include "system/code/pages.h"
#include "system/process/process.h"
#include "system/process/title.h"
#include "worker/accept/accept.h"
#include "worker/access_log_writer.h"
#include "worker/call/app_metrics.h"
#include "worker/call/call.h"
#include "worker/call/forked.h"
#include "worker/call/wake.h"
#include "worker/callback/app_threads.h"
#include "worker/callback/posts.h"
#include "worker/canary.h"
#include "worker/commands.h"
#include "worker/conn/conn.h"
#include "worker/conn/peer.h"
#include "worker/crash/crash.h"
#include "worker/crash/crash_file.h"
#include "worker/crash/late.h"
#include "worker/loop/clock.h"
#include "worker/loop/pools.h"
#include "worker/loop/run_queue.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/messages/messages.h"
#include "worker/notify_master.h"
#include "worker/trim.h"

enum {
    BODY_MEM_MAX = 64 * 1024,
    POSTS_MS = 1000, /* for posts that posts have made, after the last thread */
    LEAVE_MS = 1000, /* for gcorn_on_worker_exit, when threads have taken their time */
};

bool worker_is_drained(const struct worker *w)
{
    return w->draining && w->open_conns == 0 && accept_is_over(w);
}

static const char descriptors_lost[] = "the application has closed descriptors of the server, or "
                                       "has put other files in their place";

/* ---- booting ----------------------------------------------------------------------------- */

static void __attribute__((noreturn)) boot_failed(const struct worker *w, const char *why)
{
    (void)channel_send_up(w->args->channel.up_write, UP_BOOTFAIL, why); /* else the status tells */
    _exit(EXIT_APP);
}

/* The log keeps the master's time zone, although an application may change TZ. */
static void take_zone(const struct worker *w)
{
    if (w->args->builtin)
        process_take_zone();
    else
        zone_set(scoreboard_zone(w->args->scoreboard));
}

static uint64_t count_in_flight(const struct worker *w)
{
    uint64_t count = 0;

    for (size_t i = 0; i < w->table_used; i++)
        count += w->conns[i].h1.runs;
    return count;
}

/* Stores again what is not stored with each request: another process may have overwritten it. */
static void show_worker(const struct worker *w)
{
    w->slot->pid = (int32_t)w->pid;
    w->slot->generation = w->args->generation;
    w->slot->worker_number = w->args->number;
    w->slot->call_count = call_count(w);
    w->slot->connections_open = w->open_conns;
    w->slot->waiting = w->waiting_count;
    w->slot->counts.begun = slot_requests(&w->slot->counts) + count_in_flight(w);
}

static void on_heartbeat(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)loop;
    (void)revents;
    atomic_store_explicit(&w->slot->loop_ms, now_ms(), memory_order_relaxed);
    take_zone(w);
    worker_look_at_clock(w);
    accept_update(w); /* the slot says since when the worker has been full */
    show_worker(w);
    crash_check();
    trim_when_quiet(w);
    accept_check(w);
    if (commands_check(w))
        notify_alive(w);
}

static void on_pass_end(struct ev_loop *loop, struct ev_prepare *prepare, int revents)
{
    struct worker *w = prepare->data;

    (void)loop;
    (void)revents;
    access_log_writer_write(&w->access_log);
}

const char *worker_upload_dir(const struct config *cfg)
{
    const char *tmp = cfg->tmp_upload_dir ? cfg->tmp_upload_dir : getenv("TMPDIR");

    return tmp && *tmp != '\0' ? tmp : "/tmp";
}

static void init_http(struct worker *w)
{
    const struct config *cfg = w->config;

    w->uploads.max = cfg->tmp_upload_max;
    buffer_pool_init(&w->bodies, (size_t)cfg->body_memory);
    w->http = (struct http_context){
        .limits = {.head = {.line_max = cfg->limit_request_line,
                            .field_max = cfg->limit_request_field_size,
                            .fields_max = (size_t)cfg->limit_request_fields,
                            .head_max = cfg->limit_request_head},
                   .body_max = cfg->limit_request_body,
                   .takes_no_body = w->args->builtin != NULL,
                   .chunk_ext_max = cfg->limit_chunk_extensions,
                   .body_place = {.mem_max = BODY_MEM_MAX,
                                  .pool = cfg->body_memory > 0 ? &w->bodies : NULL,
                                  .dir = worker_upload_dir(cfg)},
                   .body_budget = &w->uploads},
        .multithread = config_threads(cfg) > 0 && !w->args->builtin,
        .multiprocess = cfg->workers > 1,
        .handler = w->args->symbol,
        .id_field = cfg->request_id_response ? cfg->request_id_header : NULL,
    };
    peer_rules_init(&w->peers, &w->http.forwarded, cfg);
    if (getrandom(&w->http.id_seed, sizeof(w->http.id_seed), GRND_NONBLOCK) < 0)
        w->http.id_seed = now_ns() ^ (uint64_t)w->pid << 32; /* early in the system's life */
}

/* Each worker has another number, so that they do not all end at once. */
static void init_recycling(struct worker *w)
{
    const struct config *cfg = w->config;

    if (cfg->max_requests > 0)
        w->recycle_at = (uint64_t)cfg->max_requests +
                        w->http.id_seed % ((uint64_t)cfg->max_requests_jitter + 1);
}

static void init_watchers(struct worker *w)
{
    accept_init(w);
    commands_init(w);
    ev_timer_init(&w->heartbeat, on_heartbeat, 1, 1);
    wake_init(w);
    ev_prepare_init(&w->pass_end, on_pass_end);
    run_queue_init(w);
    w->heartbeat.data = w->pass_end.data = w;
}

static void start_watchers(struct worker *w)
{
    commands_start(w);
    ev_timer_start(w->loop, &w->heartbeat);
    ev_async_start(w->loop, &w->waker.turn);
    ev_check_start(w->loop, &w->pass_begin);
    if (w->args->access_fd >= 0)
        ev_prepare_start(w->loop, &w->pass_end);
    accept_update(w);
    loop_register(w->loop);
    if (!ev_is_active(&w->commands) || !accept_is_watched(w))
        boot_failed(w,
                    "its sockets cannot be watched: the application has closed them, or epoll_ctl "
                    "fails (the limit of watches, fs.epoll.max_user_watches?)");
}

static void set_environment(const struct config *cfg)
{
    sd_notify_clear_environment();
    for (size_t i = 0; i < cfg->raw_env.count; i++)
        (void)putenv(xstrdup(cfg->raw_env.items[i])); /* checked: it has a '=' */
}

int worker_prepare(const struct worker_args *args, struct error *err)
{
    const char *name = args->config->proc_name ? args->config->proc_name : args->config->wsgi_app;

    title_set("gcorn: %s [%s]", args->role, name);
    if (!args->builtin && !args->preloaded)
        oom_volunteer();
    if (privileges_take(args->privileges, args->config->allow_setuid, err) < 0)
        return -1;
    if (!args->preloaded) /* else the application may have handlers of its own by now */
        commands_leave_signals_to_master();
    /* Not SIGKILL: a worker whose loop runs sees the end of its channel and finishes the requests
     * it has, which KILL would break off at once. The signal is for the others: one that boots dies
     * of it, one stuck in a call runs its handler. */
    process_die_with_parent(args->master_pid, SIGTERM);
    process_allow_tracing(args->master_pid);
    if (!args->preloaded)
        set_environment(args->config);
    return 0;
}

static struct fd_mark *mark_sockets(const struct worker_args *args)
{
    struct fd_mark *marks = xcalloc(args->listener_count, sizeof(*marks));

    for (size_t i = 0; i < args->listener_count; i++)
        fd_mark(args->listeners[i]->fd, &marks[i]);
    return marks;
}

static bool has_sockets(const struct worker_args *args, const struct fd_mark *marks)
{
    bool has_all = true;

    for (size_t i = 0; i < args->listener_count; i++)
        has_all = has_all && fd_is(args->listeners[i]->fd, &marks[i]);
    return has_all;
}

int worker_preload(const struct worker_args *args, struct app *app, struct error *err)
{
    log_info("Preloading the application with pid: %d", (int)getpid());
    forked_watch(args);
    struct fd_mark *marks = mark_sockets(args);
    int result = app_load(app, args->image, args->symbol, err);
    if (result == 0)
        result = app_run_on_load(app, err);
    forked_check();
    owned_fill_standard(); /* a constructor may have closed them */
    if (result == 0 && !has_sockets(args, marks))
        result = error_set(err, EXIT_APP, "%s", descriptors_lost);
    free(marks);
    return result;
}

void worker_call_on_fork(const struct app *app, enum gcorn_fork when)
{
    if (app->on_fork)
        app->on_fork(when);
    forked_check();
}

/* The application that the template has loaded. */
static void take_preloaded(struct worker *w)
{
    w->app = *w->args->preloaded;
    app_forked(w->args->image);
    atomic_store(&w->slot->boot_step, BOOT_FORK);
    worker_call_on_fork(&w->app, GCORN_FORK_CHILD);
}

static int load_own(struct worker *w, struct error *err)
{
    atomic_store(&w->slot->boot_step, BOOT_LOAD);
    if (app_load(&w->app, w->args->image, w->args->symbol, err) < 0)
        return -1;
    atomic_store(&w->slot->boot_step, BOOT_ON_LOAD);
    return app_run_on_load(&w->app, err);
}

static void load_app(struct worker *w)
{
    struct error err;

    if (w->args->builtin) {
        w->app = (struct app){.handler = w->args->builtin};
        return;
    }
    int result = 0;
    if (w->args->preloaded)
        take_preloaded(w);
    else
        result = load_own(w, &err);
    forked_check();
    if (result < 0)
        boot_failed(w, err.text);
    atomic_store(&w->slot->boot_step, BOOT_INIT);
    if (w->app.on_worker_init)
        result = w->app.on_worker_init();
    forked_check();
    if (result < 0)
        boot_failed(w, "gcorn_on_worker_init of the application failed");
    owned_fill_standard();
}

static void check_canary(struct worker *w)
{
    struct error err;

    if (!w->args->check_path)
        return;
    atomic_store(&w->slot->boot_step, BOOT_CHECK);
    if (canary_check(w, w->args->check_path, &err) < 0)
        boot_failed(w, err.text);
}

/* An application may close every descriptor that it does not know, as daemons do, and with them the
 * server's. */
static void check_descriptors(struct worker *w)
{
    if (!commands_check(w)) /* the master cannot be told */
        fatal("Worker (pid:%d) failed to boot: %s", (int)w->pid, descriptors_lost);
    if (!forked_has_loop() || !accept_has_sockets(w))
        boot_failed(w, descriptors_lost);
}

/* Makes the worker of this process. */
static struct worker *new_worker(const struct worker_args *args)
{
    struct worker *w = xcalloc(1, sizeof(*w));

    worker_set_this(w);
    w->pid = getpid();
    w->args = args;
    w->config = args->config;
    w->answers_close = w->config->keepalive_ms == 0;
    w->slot = args->slot;
    w->slot->call_count = 1;
    w->crash_dir_fd = -1;
    w->fair.hints = args->hints;
    w->fair.enabled = w->config->fair_close && w->config->workers > 1; /* a sibling to go to */
    metrics_init(w->slot);
    return w;
}

struct worker *worker_new_alone(const struct worker_args *args)
{
    struct worker *w = new_worker(args);
    struct error ignored;

    commands_disregard(SIGPIPE);
    set_environment(w->config);
    w->loop = loop_new(&ignored); /* runs while the request waits */
    if (!w->loop)
        return NULL;
    posts_init(w);
    app_threads_init(w);
    init_http(w);
    return w;
}

/* A worker that replaces one that crashed removes old files here, so a crash loop does not fill the
 * disk. When the directory has gone since the start, workers are still replaced. */
static void open_crash_dir(struct worker *w)
{
    struct error err;

    if (!w->config->crash_dir)
        return;
    w->crash_dir_fd = crash_file_dir_open(w->config->crash_dir, &err);
    if (w->crash_dir_fd < 0 && !w->args->is_proven)
        boot_failed(w, err.text);
    if (w->crash_dir_fd < 0) {
        log_errorx("Worker (pid:%d): %s; it keeps no requests of crashes", (int)w->pid, err.text);
        return;
    }
    if (w->config->crash_keep > 0 &&
        crash_file_dir_trim(w->crash_dir_fd, (unsigned)w->config->crash_keep) < 0)
        log_warn("crash_dir: cannot list %s, so old files are not removed", w->config->crash_dir);
}

/* Ends the answers that are under way. The application hears of it: bodies are closed, deferred
 * functions run. */
static void drop_conns(struct worker *w)
{
    for (size_t i = 0; i < w->table_used; i++) {
        struct conn *c = &w->conns[i];

        if (c->state != CONN_FREE && stream_has_begun(&c->h1)) {
            c->h1.env->response.ended = "stopped";
            conn_drop(c);
        }
    }
}

/* Before the master kills the worker, with an eighth of the time, at most a second, for what follows. */
static uint64_t threads_until_ms(const struct worker *w)
{
    uint64_t now = now_ms(), left = w->leave_by_ms > now ? w->leave_by_ms - now : 0;

    return now + left - (left < LEAVE_MS * 8 ? left / 8 : LEAVE_MS);
}

bool worker_end_threads(struct worker *w)
{
    app_threads_stop(w);
    atomic_store(&w->slot->loop_ms, SLOT_LOOP_OVER);
    bool have_ended = app_threads_join(w, threads_until_ms(w));
    uint64_t until_ms = threads_until_ms(w), soon_ms = now_ms() + POSTS_MS;
    posts_close(w, until_ms < soon_ms ? until_ms : soon_ms);
    return have_ended;
}

void worker_leave(struct worker *w)
{
    call_stop(w);
    drop_conns(w);
    bool have_ended = worker_end_threads(w);
    crash_expect_exit();
    access_log_writer_end(&w->access_log);
    if (w->app.on_worker_exit)
        w->app.on_worker_exit();
    forked_check();
    log_info("Worker exiting (pid: %d)", (int)w->pid);
    if (!have_ended)
        _exit(EXIT_STOPPED); /* atexit functions would end what a thread still uses */
    exit(EXIT_STOPPED); /* with the application's atexit functions: it is in this process only */
}

void worker_run(const struct worker_args *args)
{
    struct worker *w = new_worker(args);
    struct error err;

    if (worker_prepare(args, &err) < 0)
        boot_failed(w, err.text);
    log_info("Booting %s with pid: %d", args->role, (int)w->pid);
    w->loop = forked_new_loop(&err);
    if (!w->loop)
        boot_failed(w, err.text);
    if (access_log_writer_init(&w->access_log, w->slot, w->config->access_log_format,
                               args->access_fd, &err) < 0)
        boot_failed(w, err.text);
    open_crash_dir(w);
    init_http(w);
    init_recycling(w);
    clock_init(w);
    pools_init(w);
    init_watchers(w);
    posts_init(w);
    app_threads_init(w);
    messages_init(w);
    worker_look_at_clock(w);
    forked_init(w);
    crash_init(w);
    load_app(w);
    crash_go_in_front();
    late_init(w);
    check_canary(w);
    check_descriptors(w);
    atomic_store(&w->slot->boot_step, BOOT_OTHER);
    body_note_stack(__builtin_frame_address(0));
    call_open(w);
    start_watchers(w);
    w->slot->state = SLOT_IDLE;
    commands_catch_term(); /* last: the master may send anything once TERM is caught */
    notify_ready(w);
    pages_drop_clean();
    (void)ev_run(w->loop, 0);
    crash_end_recovered();
    worker_leave(w);
}
