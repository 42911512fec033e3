/* SPDX-License-Identifier: MIT
 *
 * See master.h. One event loop. Handlers of signals, pipes and timers only note events; at the end
 * of each iteration of the loop one pass (master_reconcile) acts on them:
 *
 *   reap children -> what workers and templates said -> the tick: health -> deadlines -> what the
 *   other master said -> stop -> outcome of the reload -> begin a reload -> other requests ->
 *   retire -> spawn -> tell
 *
 * The decisions are plan.c's. There is no waiting anywhere else: stopping and reloading are states,
 * with deadlines.
 */
#include "master/master.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/compat.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/workers/preload.h"
#include "master/stats_update.h"
#include "master/workers/boots.h"
#include "master/check/check.h"
#include "master/postmortem/stack_log.h"
#include "master/fatal.h"
#include "master/generation/listeners.h"
#include "master/generation/open_aside.h"
#include "master/workers/liveness.h"
#include "master/generation/logs.h"
#include "master/workers/procs.h"
#include "master/workers/reap.h"
#include "master/reload.h"
#include "master/requests.h"
#include "master/workers/retire.h"
#include "master/state.h"
#include "master/messages.h"
#include "master/stop.h"
#include "master/takeover.h"
#include "system/process/loop.h"
#include "settings/setting.h"
#include "system/process/daemon.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/ipc/scoreboard.h"

enum {
    TICK_MS = 1000, /* until reload_set_tick knows better */
    BIND_TRIES = 5, /* of a start, at addresses that are in use */
    BIND_AGAIN_MS = 1000,
    LATE_MS = 2000, /* after such a gap the master itself was stopped, not the workers */
};

/* ---- the loop ---------------------------------------------------------------------------- */

static void arm_wake(struct master *m, uint64_t now)
{
    uint64_t at = plan_wake_ms(&m->plan, now);

    if (m->spawn_not_before_ms > now && m->spawn_not_before_ms < at)
        at = m->spawn_not_before_ms;
    if (m->stop_at_ms < at)
        at = m->stop_at_ms;
    if (reload_wake_ms(m) < at)
        at = reload_wake_ms(m);
    if (m->is_due) /* a later step has noted something for an earlier one */
        at = now;
    ev_timer_stop(m->loop, &m->wake);
    if (at == NO_DEADLINE)
        return;
    ev_now_update(m->loop);
    ev_timer_set(&m->wake, at > now ? (double)(at - now) / 1000 : 0, 0);
    ev_timer_start(m->loop, &m->wake);
}

static void tend_logs(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current)
        logs_tend(g);
}

/* Summer time begins and ends while the server runs. Workers get the time zone of logs from the
 * master: an application that changes TZ must not change it. */
static void take_zone(struct master *m)
{
    process_take_zone();
    scoreboard_set_zone(m->scoreboard, zone_offset_s());
}

/* Runs the hook nworkers_changed when the number of wanted workers has changed. */
static void run_nworkers_changed(struct master *m)
{
    char workers[64], before[64];
    const char *const facts[] = {workers, before, NULL};
    unsigned former = m->workers_before;

    m->workers_before = 0;
    if (former == 0 || former == m->plan.workers)
        return;
    (void)snprintf(workers, sizeof(workers), "GCORN_HOOK_WORKERS=%u", m->plan.workers);
    (void)snprintf(before, sizeof(before), "GCORN_HOOK_WORKERS_BEFORE=%u", former);
    hooks_run(&m->hooks, "nworkers_changed", config_of(m)->nworkers_changed, facts);
}

static struct systemd_facts systemd_facts(const struct master *m)
{
    const struct status_reload *last = &m->last_reload;

    return (struct systemd_facts){
        .state = stats_update_state(m),
        .serving = plan_serving(&m->plan),
        .workers = m->plan.workers,
        .generation = m->current->id,
        .reloads_begun = m->reloads_begun,
        .reload_failure = last->at != 0 && !last->ok ? last->why : NULL,
        .is_promoted = m->successor.is_promoted,
    };
}

/* The end of a pass: sends answers and states. */
static void tell(struct master *m)
{
    if (m->plan.stopping) {
        preload_stop(m);
        stop_listening(m);
    }
    run_nworkers_changed(m);
    takeover_tell(m);
    stats_update(m);
    const struct systemd_facts facts = systemd_facts(m);
    systemd_tell(&m->systemd, &facts);
}

static void retire_and_spawn(struct master *m, uint64_t now)
{
    unsigned number, generation;
    int place;

    while ((place = plan_retire(&m->plan)) != PLAN_NONE)
        proc_retire(m, &m->procs.list[place]);
    while ((place = plan_hurry(&m->plan)) != PLAN_NONE)
        proc_hurry(&m->procs.list[place]);
    while (now >= m->spawn_not_before_ms && plan_spawn(&m->plan, now, &number, &generation)) {
        if (!boots_start(m, number, generation))
            break;
    }
    boots_give_up(m, now);
}

/* The work of a tick. Timers run before pipes, so the workers' messages are read first. */
static void tick(struct master *m, uint64_t now)
{
    if (!m->tick_is_due)
        return;
    m->tick_is_due = false;
    procs_read_all(m);
    procs_act(m, now);
    liveness_check(m, now);
    liveness_check_memory(m);
    take_zone(m);
    stats_beat(m->stats, now);
    oom_tick(&m->oom, now);
    if (control_path(&m->control))
        samples_take(&m->samples, &m->plan, m->scoreboard, now);
    tend_logs(m);
    stats_update_listeners(m);
    const struct systemd_facts facts = systemd_facts(m);
    systemd_tick(&m->systemd, &facts, now);
}

static bool is_over(const struct master *m)
{
    return m->plan.stopping && plan_alive(&m->plan) == 0 && !upgrade_is_pending(&m->upgrade) &&
           !systemd_owes_successor(&m->systemd, now_ms()); /* the next tick tries again */
}

/* One pass: makes the processes match the plan and the noted events. All actions happen here, in
 * this order. */
static void master_reconcile(struct master *m)
{
    uint64_t now = now_ms();

    m->is_due = m->procs.has_news = m->upgrade.has_news = m->successor.has_news = false;
    reap_children(m, now);
    preload_read(m);
    procs_act(m, now);
    tick(m, now);
    procs_end_late(m, now);
    takeover_act(m);
    stop_decide(m, now);
    reload_decide(m, now);
    reload_begin(m);
    requests_act(m);
    retire_and_spawn(m, now);
    takeover_proceed(m);
    tell(m);
    if (is_over(m))
        ev_break(m->loop, EVBREAK_ALL);
    arm_wake(m, now); /* a later clock would miss a backoff that ends now */
}

/* Runs after the handlers of this iteration, which have noted their events. */
static void on_prepare(struct ev_loop *loop, struct ev_prepare *prepare, int revents)
{
    struct master *m = prepare->data;

    (void)loop;
    (void)revents;
    if (m->is_due || m->procs.has_news || m->upgrade.has_news || m->successor.has_news)
        master_reconcile(m);
}

static void on_wake(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct master *m = timer->data;

    (void)loop;
    (void)revents;
    m->is_due = true;
}

/* Runs before the handlers of each iteration, at least once a second because of the tick. A master
 * that was stopped (or its machine suspended) would find all workers unresponsive and all deadlines
 * past: that time is not counted. */
static void on_awake(struct ev_loop *loop, struct ev_check *check, int revents)
{
    struct master *m = check->data;
    uint64_t now = now_ms(), late_ms = now - m->awake_ms;

    (void)loop;
    (void)revents;
    m->awake_ms = now;
    if (late_ms <= LATE_MS)
        return;
    m->counted_from_ms = now;
    m->boot_by_ms += late_ms;
    m->reload_step_ms += late_ms;
    m->prepare_by_ms += late_ms;
    if (m->stop_at_ms != NO_DEADLINE)
        m->stop_at_ms += late_ms;
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase != PROC_EMPTY && w->deadline_ms != NO_DEADLINE)
            w->deadline_ms += late_ms;
    }
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct master *m = timer->data;

    (void)loop;
    (void)revents;
    m->tick_is_due = m->is_due = true;
}

/* "hup", as gunicorn writes it. */
static void log_signal(int number)
{
    const char *upper = sigabbrev_np(number);
    char name[16];
    size_t i = 0;

    for (; upper && upper[i] != '\0' && i < sizeof(name) - 1; i++)
        name[i] = (char)tolower((unsigned char)upper[i]);
    name[i] = '\0';
    log_info("Handling signal: %s", name);
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int revents)
{
    struct master *m = watcher->data;

    (void)loop;
    (void)revents;
    m->is_due = true;
    if (watcher->signum != SIGCHLD)
        log_signal(watcher->signum);
    switch (watcher->signum) {
    case SIGCHLD: m->child_has_ended = true; break;
    case SIGTERM: master_note_stop(m, STOP_GRACEFULLY, EXIT_STOPPED); break;
    case SIGINT:
    case SIGQUIT: master_note_stop(m, STOP_QUICKLY, EXIT_STOPPED); break;
    case SIGHUP: requests_hang_up(m); break;
    case SIGUSR2: m->upgrade_requested = true; break;
    case SIGWINCH: m->retire_requested = true; break;
    case SIGUSR1: m->reopen_requested = true; break;
    case SIGTTIN: requests_change_workers(m, 1); break;
    case SIGTTOU: requests_change_workers(m, -1); break;
    default: break;
    }
}

/* ---- start and end ----------------------------------------------------------------------- */

static void start_watchers(struct master *m)
{
    static const int numbers[] = {SIGCHLD, SIGTERM, SIGINT,  SIGQUIT, SIGHUP,
                                  SIGUSR1, SIGUSR2, SIGTTIN, SIGTTOU, SIGWINCH};

    _Static_assert(ARRAY_LEN(numbers) == ARRAY_LEN(((struct master *)0)->signals), "one each");
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        ev_signal_init(&m->signals[i], on_signal, numbers[i]);
        m->signals[i].data = m;
        ev_signal_start(m->loop, &m->signals[i]);
    }
    /* a log without a reader, or at the limit of its size, must not end the master */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    ev_init(&m->tick, on_tick);
    ev_init(&m->wake, on_wake);
    ev_check_init(&m->awake, on_awake);
    ev_set_priority(&m->awake, EV_MAXPRI);
    ev_prepare_init(&m->reconcile, on_prepare);
    m->reconcile.data = m;
    ev_prepare_start(m->loop, &m->reconcile);
    m->tick.data = m->wake.data = m->awake.data = m;
    m->awake_ms = now_ms();
    ev_check_start(m->loop, &m->awake);
    take_zone(m); /* before the first worker needs it */
    reload_set_tick(m);
}

static int init_tables(struct master *m, struct error *err)
{
    m->scoreboard = scoreboard_new(plan_places((unsigned)config_of(m)->workers), err);
    unsigned slots = m->scoreboard ? scoreboard_count(m->scoreboard) : 0;
    m->stats = m->scoreboard ? stats_new(slots, err) : NULL;
    if (!m->stats)
        return -1;
    messages_open(m, slots);
    if (!scoreboard_is_sealed(m->scoreboard) || !stats_is_sealed(m->stats))
        log_warnx("Shared memory cannot be sealed against writing: Linux is older than 5.1, or "
                  "memfd_create is forbidden; gcorn goes on without the seal");
    m->plan.proc_count = slots;
    m->plan.procs = xcalloc(slots, sizeof(*m->plan.procs));
    m->plan.backoffs = xcalloc(slots + 1, sizeof(*m->plan.backoffs));
    samples_init(&m->samples, slots);
    oom_init(&m->oom, "", now_ms());
    m->loop = loop_new(err);
    if (!m->loop)
        return -1;
    procs_init(&m->procs, &m->plan, m->scoreboard);
    m->procs.loop = m->loop;
    control_init(&m->control, m->loop, &requests_control_ops, m);
    helpers_init(&m->helpers, m->loop);
    m->stack_logs = (struct stack_logs){.helpers = &m->helpers, .procs = &m->procs};
    m->dumps = (struct dumps){
        .stack_logs = &m->stack_logs, .done = requests_dump_done, .arg = &m->control};
    upgrade_init(&m->upgrade, m->loop);
    prepare_init(&m->prepare, m->loop, reload_prepare, m);
    return 0;
}

static void set_of_stops(sigset_t *stops)
{
    (void)sigemptyset(stops);
    (void)sigaddset(stops, SIGTERM);
    (void)sigaddset(stops, SIGINT);
    (void)sigaddset(stops, SIGQUIT);
}

/* True: a signal to stop comes within ms. The signals are still blocked. */
static bool is_told_to_stop(unsigned ms, struct error *err)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    sigset_t stops;
    int number;

    set_of_stops(&stops);
    while ((number = sigtimedwait(&stops, NULL, &time)) < 0 && errno == EINTR)
        continue;
    if (number < 0)
        return false;
    log_signal(number);
    (void)error_set(err, EXIT_STOPPED, "Stopped before it served");
    return true;
}

/* Waits until fd can be read, or a signal to stop comes: -1 with err. If the kernel has no
 * descriptor for signals, they wait until fd can be read. */
static int wait_unless_told_to_stop(void *unused, int fd, struct error *err)
{
    struct pollfd either[] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};
    sigset_t stops;

    (void)unused;
    set_of_stops(&stops);
    either[1].fd = signalfd(-1, &stops, SFD_CLOEXEC);
    while (poll(either, ARRAY_LEN(either), -1) < 0 && errno == EINTR)
        continue;
    fd_close(&either[1].fd);
    return is_told_to_stop(0, err) ? -1 : 0;
}

static int listen_now(struct master *m, struct error *err)
{
    const struct open_wait wait = {.wait = wait_unless_told_to_stop};

    return listeners_open(m->current, m->successor.predecessor, &wait, err);
}

static int open_control_now(struct master *m, struct error *err)
{
    return reload_open_control(m, config_of(m), err);
}

/* At a restart the old server may still finish its requests and have the addresses: as in gunicorn
 * the new one retries for a few seconds. An upgrade shares the sockets. */
static int open_in_time(struct master *m, int (*open_now)(struct master *m, struct error *err),
                        struct error *err)
{
    for (unsigned left = BIND_TRIES - 1; open_now(m, err) < 0; left--) {
        if (errno != EADDRINUSE || left == 0 || m->successor.predecessor)
            return -1;
        log_errorx("%s; trying again in %d s (tries left: %u)", err->text, BIND_AGAIN_MS / 1000,
                   left);
        if (is_told_to_stop(BIND_AGAIN_MS, err))
            return -1;
    }
    return 0;
}

/* Without these events the master would serve but react to neither signals nor operators. */
static int try_watchers(struct master *m, struct error *err)
{
    if (loop_try(m->loop, err) < 0)
        return -1;
    if (control_path(&m->control) && !ev_is_active(&m->control.accepting))
        return error_set(err, EXIT_FAILED,
                         "the control socket cannot be watched: epoll_ctl fails (the limit of "
                         "watches, fs.epoll.max_user_watches?)");
    return 0;
}

static int open_all(struct master *m, struct config *config, struct error *err)
{
    m->current = generation_new(++m->last_generation, config, m->successor.predecessor, err);
    if (!m->current)
        return -1;
    m->config_at_start = status_keep_config(config_of(m));
    if (reload_open_pidfile(m, m->current, err) < 0 || open_in_time(m, listen_now, err) < 0)
        return -1;
    logs_use(m->current); /* for errors from here on */
    if (init_tables(m, err) < 0 || open_in_time(m, open_control_now, err) < 0)
        return -1;
    reload_apply(m);
    start_watchers(m);
    return try_watchers(m, err);
}

static void announce(const struct master *m)
{
    const struct config *cfg = config_of(m);
    const struct setting *workers = setting_find("workers");

    log_info("Starting gcorn " GCORN_VERSION);
    listeners_log(m->current);
    log_info("Using worker: %s", config_worker_class_name(cfg));
    log_info("Workers: %d (%s)", cfg->workers, config_origin(cfg, workers)->text);
    check_log_warnings(cfg);
}

static void close_all(struct master *m)
{
    if (m->loop) {
        helpers_close(&m->helpers);
        prepare_release(&m->prepare);
        stack_logs_release(&m->stack_logs);
        dumps_release(&m->dumps);
        preload_stop(m); /* no worker is left, pending or not */
        control_close(&m->control);
        ev_loop_destroy(m->loop);
    }
    upgrade_close(&m->upgrade);
    reload_drop(m);
    pidfile_close(&m->pidfile);
    successor_close(&m->successor);
    generation_unref(m->current, true);
    messages_close(m);
    scoreboard_free(m->scoreboard);
    stats_free(m->stats);
    samples_release(&m->samples);
    oom_release(&m->oom);
    status_free_config(m->config_at_start);
    leave_prepare(NULL);
    free(m->roll_failure);
    procs_release(&m->procs);
    free(m->plan.procs);
    free(m->plan.backoffs);
}

static void run_on_exit(struct master *m, int status)
{
    char text[64];
    const char *const facts[] = {text, NULL};

    (void)snprintf(text, sizeof(text), "GCORN_HOOK_STATUS=%d", status);
    hooks_run(&m->hooks, "on_exit", config_of(m)->on_exit, facts);
}

static void run(struct master *m)
{
    sigset_t mine;

    announce(m);
    reload_raise_limits(m, m->current);
    boots_begin(m);
    successor_start(&m->successor, m->loop);
    hooks_run(&m->hooks, "on_starting", config_of(m)->on_starting, NULL);
    (void)sigemptyset(&mine);
    signals_restore(&mine);
    m->child_has_ended = true; /* process 1 may have inherited children that ended before */
    m->is_due = true;
    (void)ev_run(m->loop, 0);
    log_info("Shutting down: Master");
}

/* Not inlined, so that a stack shows where main ends. */
int __attribute__((noinline))
master_run(const struct start *start, struct config *config, struct handover *from)
{
    /* not on the stack, which workers inherit: most of it is never used */
    struct master *m = xcalloc(1, sizeof(*m));
    struct error err;

    leave_prepare(m);
    m->start = start;
    m->stop_at_ms = NO_DEADLINE;
    m->next_control.fd = m->upgrade.fd = m->prepare.fd = -1;
    m->bus.fd = m->bus.wake_fd = m->shared_memory.fd = -1;
    m->started_ms = now_ms();
    systemd_init(&m->systemd);
    m->hooks.umask = start->umask;
    int begun = successor_begin(&m->successor, start, from, &err);
    m->last_generation = m->successor.from.generation;
    if (begun < 0)
        config_release(config);
    if (begun < 0 || open_all(m, config, &err) < 0) {
        if (err.status != EXIT_STOPPED)
            log_critical("%s", err.text);
        successor_report_failure(&m->successor.from, err.text);
        m->exit_status = (int)err.status;
        daemon_report(m->exit_status);
    } else {
        run(m);
        daemon_report(m->exit_status);
        run_on_exit(m, m->exit_status);
    }
    int status = m->exit_status;
    close_all(m);
    free(m);
    return status;
}
