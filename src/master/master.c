/* SPDX-License-Identifier: MIT
 *
 * See master.h. One loop. Signals, pipes and timers only change what is wanted or known; then
 * master_reconcile() makes the processes match:
 *
 *   what went past its deadline is killed -> what silence or a call too long condemns is killed ->
 *   what is surplus or replaced is retired -> what is missing is started
 *
 * The decisions are plan.c's. There is no waiting anywhere else: stopping and reloading are states,
 * with deadlines.
 */
#include "master/listeners.h"
#include "master/logs.h"
#include "master/master.h"

#include <ctype.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/compat.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/preload/preload.h"
#include "master/telemetry/stats_update.h"
#include "master/boots.h"
#include "master/check/check.h"
#include "master/postmortem/stack_log.h"
#include "master/fatal.h"
#include "master/procs.h"
#include "master/reload.h"
#include "master/reopen.h"
#include "master/retire.h"
#include "master/state.h"
#include "settings/setting.h"
#include "system/process/loop.h"
#include "system/process/daemon.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/ipc/scoreboard.h"

enum {
    TICK_MS = 1000, /* until reload_set_tick knows better */
    BIND_TRIES = 5, /* of a start, at addresses that are in use */
    BIND_AGAIN_MS = 1000,
    LATE_MS = 2000, /* a master that was idle so long was away, not the workers */
};

/* ---- stopping --------------------------------------------------------------------------- */

/* When the workers have their orders: they serve who waits by then, and who comes later is refused
 * at once instead of waiting at a socket that nobody serves. */
static void stop_listening(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current)
        listeners_stop(g);
}

bool master_has_clients(const struct master *m)
{
    const struct generation *g;

    for_each_generation (g, m->current) {
        if (listeners_have_clients(g))
            return true;
    }
    return m->has_served;
}

void master_stop(struct master *m, bool quick, int status)
{
    if (m->plan.stopping && (m->quick || !quick))
        return;
    m->quick = quick;
    if (!m->plan.stopping)
        m->exit_status = status;
    if (!m->plan.stopping)
        upgrade_leave(m);
    m->plan.stopping = true;
    m->stop_at_ms = NO_DEADLINE;
    m->rolling = false;
    procs_kill_booting(m);
    control_reload_failed(&m->control, 0, UINT64_MAX, "the server is stopping");
    /* those that were retiring already have had longer */
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase == PROC_RETIRING)
            proc_retire(m, &m->plan.procs[i]);
    }
}

/* TERM: the end is announced by Connection: close for drain_delay, then it comes. Before the first
 * client there is none to announce it to. */
static void stop_gracefully(struct master *m)
{
    procs_hear_booting(m); /* else a stop would kill one that serves clients */
    uint64_t delay = master_has_clients(m) ? config_of(m)->drain_delay_ms : 0;

    if (delay == 0 || m->stop_at_ms != NO_DEADLINE || m->plan.stopping ||
        upgrade_has_successor(m)) {
        master_stop(m, false, EXIT_STOPPED);
        return;
    }
    log_info("Draining: stopping in %llu ms", (unsigned long long)delay);
    upgrade_cancel(m); /* a new master would not know of it */
    m->stop_at_ms = now_ms() + delay;
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase != PROC_EMPTY)
            (void)proc_order(&m->plan.procs[i], DOWN_CLOSE, 0);
    }
}

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
    ev_timer_stop(m->loop, &m->wake);
    if (at == NO_DEADLINE)
        return;
    ev_now_update(m->loop);
    ev_timer_set(&m->wake, at > now ? (double)(at - now) / 1000 : 0, 0);
    ev_timer_start(m->loop, &m->wake);
}

void master_reconcile(struct master *m)
{
    uint64_t now = now_ms();
    unsigned number, generation;
    int place;

    procs_kill_late(m, now);
    if (now >= m->stop_at_ms)
        master_stop(m, false, EXIT_STOPPED);
    reload_proceed(m, now);
    while ((place = plan_retire(&m->plan)) != PLAN_NONE)
        proc_retire(m, &m->plan.procs[place]);
    while ((place = plan_hurry(&m->plan)) != PLAN_NONE)
        proc_hurry(&m->plan.procs[place]);
    while (now >= m->spawn_not_before_ms && plan_spawn(&m->plan, now, &number, &generation)) {
        if (!boots_start(m, number, generation))
            break;
    }
    boots_give_up(m, now);
    if (m->rolling && plan_has_rolled(&m->plan) && !procs_may_accept(m, m->plan.generation))
        reload_note_done(m);
    if (successor_proceed(m)) { /* and the processes are yet to be told */
        master_reconcile(m);
        return;
    }
    if (m->plan.stopping) {
        preload_stop(m);
        stop_listening(m);
    }
    upgrade_tell(m);
    stats_update(m);
    systemd_tell(m);
    if (m->plan.stopping && plan_alive(&m->plan) == 0 && !upgrade_is_pending(m) &&
        !systemd_owes_successor(m, now_ms())) /* the tick comes back to it */
        ev_break(m->loop, EVBREAK_ALL);
    arm_wake(m, now); /* by another clock a back-off that ends right now would be missed */
}

static void on_wake(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    master_reconcile(timer->data);
}

/* Before all else whenever the loop comes to life, which the tick sees to. A master that was
 * stopped, or on a machine that was, finds everybody silent and every deadline past: that time
 * counts for nobody. */
static void on_awake(struct ev_loop *loop, struct ev_check *check, int revents)
{
    struct master *m = check->data;
    uint64_t now = now_ms(), late_ms = now - m->awake_ms;

    (void)loop;
    (void)revents;
    m->awake_ms = now;
    if (late_ms <= LATE_MS)
        return;
    m->judged_from_ms = now;
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

static void tend_logs(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current)
        logs_tend(g);
}

/* Summer time begins and ends while the server runs. Workers have it from the master: what their
 * applications make of TZ is not the logs'. */
static void take_zone(struct master *m)
{
    process_take_zone();
    scoreboard_set_zone(m->scoreboard, zone_offset_s());
}

static void on_tick(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct master *m = timer->data;

    (void)loop;
    (void)revents;
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase != PROC_EMPTY)
            proc_hear(m, &m->plan.procs[i]); /* timers come before pipes */
    }
    take_zone(m);
    stats_beat(m->stats, now_ms());
    procs_judge(m, now_ms());
    procs_weigh(m);
    oom_tick(&m->oom, now_ms());
    if (control_path(&m->control))
        samples_take(&m->samples, &m->plan, m->scoreboard, now_ms());
    tend_logs(m);
    stats_update_listeners(m);
    systemd_tick(m, now_ms());
    master_reconcile(m);
}

static void run_nworkers_changed(struct master *m, unsigned before, unsigned now)
{
    char workers[64], former[64];
    const char *const facts[] = {workers, former, NULL};

    if (before == now)
        return;
    (void)snprintf(workers, sizeof(workers), "GCORN_HOOK_WORKERS=%u", now);
    (void)snprintf(former, sizeof(former), "GCORN_HOOK_WORKERS_BEFORE=%u", before);
    hooks_run(&m->hooks, "nworkers_changed", config_of(m)->nworkers_changed, facts);
}

/* Until a reload. 0, or -1 with err: as many are wanted as before. */
static int want_workers(struct master *m, int64_t number, struct error *err)
{
    unsigned room = plan_most_workers(&m->plan);

    if (number < 1)
        return error_set(err, EXIT_FAILED, "The last worker stays");
    if (number > room)
        return error_set(err, EXIT_FAILED,
                         "this master has room for %u workers; after a change of the setting "
                         "workers, %s",
                         room, reload_how_to_make_room());
    run_nworkers_changed(m, m->plan.workers, (unsigned)number);
    m->plan.workers = (unsigned)number;
    log_info("%u workers wanted", m->plan.workers);
    return 0;
}

static void change_workers(struct master *m, int by)
{
    struct error err;

    if (want_workers(m, (int64_t)m->plan.workers + by, &err) < 0)
        log_warnx("%s", err.text);
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

/* Asked for by nobody who could be told why not. */
static void upgrade_by_signal(struct master *m)
{
    struct error err;

    if (upgrade_begin(m, false, &err) < 0)
        log_warnx("USR2 is ignored: %s", err.text);
}

static void on_signal(struct ev_loop *loop, struct ev_signal *watcher, int revents)
{
    struct master *m = watcher->data;
    struct error err;

    (void)loop;
    (void)revents;
    if (watcher->signum != SIGCHLD)
        log_signal(watcher->signum);
    switch (watcher->signum) {
    case SIGCHLD: procs_reap(m); break;
    case SIGTERM: stop_gracefully(m); break;
    case SIGINT:
    case SIGQUIT: master_stop(m, true, EXIT_STOPPED); break;
    case SIGHUP:
        if (!upgrade_resume(m))
            reload_begin(m);
        break;
    case SIGUSR2: upgrade_by_signal(m); break;
    case SIGWINCH: upgrade_retire_workers(m); break;
    case SIGUSR1: (void)reopen_logs(m, &err); break; /* the log has the errors */
    case SIGTTIN: change_workers(m, 1); break;
    case SIGTTOU: change_workers(m, -1); break;
    default: break;
    }
    master_reconcile(m);
}

/* ---- what the control socket asks for ---------------------------------------------------- */

/* Who asks is told of a stop as soon as it is certain. */
static const char *state_name(const struct master *m)
{
    return master_is_stopping(m) ? "stopping" : server_state_name(stats_update_state(m));
}

static void asked_for_status(void *master, struct strbuf *answer)
{
    struct master *m = master;
    uint64_t now = now_ms();
    struct status status = {
        .state = state_name(m),
        .pid = getpid(),
        .uptime_ms = now - m->started_ms,
        .generation = m->current->id,
        .app = config_of(m)->wsgi_app,
        .build_id = m->current->image.build_id,
        .workers_wanted = m->plan.workers,
        .listeners = m->current->listeners,
        .listener_count = m->current->listener_count,
        .last_reload = &m->last_reload,
    };

    status_set_workers(&status, &m->plan, m->scoreboard, &m->samples, now);
    status_add_json(answer, &status);
    status_release(&status);
}

/* One that is under way may have read the files before they were changed for this request. */
static uint64_t asked_for_next_reload(void *master)
{
    const struct master *m = master;

    return master_is_stopping(m) ? 0 : m->reloads_begun + 1;
}

static void asked_to_reload(void *master)
{
    log_info("Control socket: reload");
    reload_begin(master);
    master_reconcile(master);
}

static void asked_to_stop(void *master)
{
    log_info("Control socket: stop");
    stop_gracefully(master);
    master_reconcile(master);
}

static void asked_for_config(void *master, struct strbuf *answer)
{
    const struct master *m = master;

    status_add_config_json(answer, config_of(m), m->config_at_start);
}

static unsigned asked_for_workers_wanted(void *master)
{
    const struct master *m = master;

    return m->plan.workers;
}

static int asked_to_set_workers(void *master, int64_t number, struct strbuf *answer,
                                struct error *err)
{
    struct master *m = master;

    log_info("Control socket: workers %lld", (long long)number);
    if (master_is_stopping(m))
        return error_set(err, EXIT_FAILED, "the server is stopping");
    if (want_workers(m, number, err) < 0) {
        log_warnx("%s", err->text);
        return -1;
    }
    strbuf_addf(answer, "{\"ok\": true, \"workers_wanted\": %u, \"workers_setting\": %d}",
                m->plan.workers, config_of(m)->workers);
    master_reconcile(m);
    return 0;
}

static int asked_to_reopen(void *master, struct error *err)
{
    log_info("Control socket: reopen");
    return reopen_logs(master, err);
}

static uint64_t asked_to_dump(void *master, pid_t pid, const char **why)
{
    return dump_begin(master, pid, why);
}

static int asked_to_upgrade(void *master, struct error *err)
{
    log_info("Control socket: upgrade");
    return upgrade_begin(master, true, err);
}

static const struct control_ops control_ops = {
    .status = asked_for_status,
    .next_reload = asked_for_next_reload,
    .reload = asked_to_reload,
    .stop = asked_to_stop,
    .config = asked_for_config,
    .workers_wanted = asked_for_workers_wanted,
    .set_workers = asked_to_set_workers,
    .reopen = asked_to_reopen,
    .dump = asked_to_dump,
    .upgrade = asked_to_upgrade,
};

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
    /* a log that nobody reads any more, or that is as long as a file may be, ends nothing */
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
    ev_init(&m->tick, on_tick);
    ev_init(&m->wake, on_wake);
    ev_check_init(&m->awake, on_awake);
    ev_set_priority(&m->awake, EV_MAXPRI);
    m->tick.data = m->wake.data = m->awake.data = m;
    m->awake_ms = now_ms();
    ev_check_start(m->loop, &m->awake);
    take_zone(m); /* before the first worker asks */
    reload_set_tick(m);
}

static int init_tables(struct master *m, struct error *err)
{
    m->scoreboard = scoreboard_new(plan_places((unsigned)config_of(m)->workers), err);
    unsigned slots = m->scoreboard ? scoreboard_count(m->scoreboard) : 0;
    m->stats = m->scoreboard ? stats_new(slots, err) : NULL;
    if (!m->stats)
        return -1;
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
    control_init(&m->control, m->loop, &control_ops, m);
    helpers_init(&m->helpers, m->loop);
    upgrade_init(m);
    prepare_init(&m->prepare, m->loop, reload_prepare, m);
    return 0;
}

/* Is the program told to stop within ms? The signals are still blocked. */
static bool is_told_to_stop(unsigned ms, struct error *err)
{
    const struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    sigset_t stops;
    int number;

    (void)sigemptyset(&stops);
    (void)sigaddset(&stops, SIGTERM);
    (void)sigaddset(&stops, SIGINT);
    (void)sigaddset(&stops, SIGQUIT);
    while ((number = sigtimedwait(&stops, NULL, &time)) < 0 && errno == EINTR)
        continue;
    if (number < 0)
        return false;
    log_signal(number);
    (void)error_set(err, EXIT_STOPPED, "Stopped before it served");
    return true;
}

static int listen_now(struct master *m, struct error *err)
{
    return listeners_open(m->current, m->successor.predecessor, err);
}

static int open_control_now(struct master *m, struct error *err)
{
    return reload_open_control(m, config_of(m), err);
}

/* A restart begins while the old server finishes its requests, and still has the addresses: as in
 * gunicorn they are tried for a few seconds. An upgrade shares them. */
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

/* A master that the kernel wakes for neither signals nor operators would serve, and obey no one. */
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
    logs_use(m->current); /* for what goes wrong from here on */
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
    log_info("Using worker: %s", config_threads(cfg) > 0 ? "gthread" : "sync");
    log_info("Workers: %d (%s)", cfg->workers, config_origin(cfg, workers)->text);
    check_log_warnings(cfg);
}

static void close_all(struct master *m)
{
    if (m->loop) {
        helpers_close(&m->helpers);
        prepare_end(&m->prepare);
        stack_log_release(m);
        dumps_release(&m->dumps);
        preload_stop(m); /* no worker is left, unborn or not */
        control_close(&m->control);
        ev_loop_destroy(m->loop);
    }
    upgrade_close(m);
    reload_drop(m);
    pidfile_close(&m->pidfile);
    successor_close(&m->successor);
    generation_unref(m->current, true);
    scoreboard_free(m->scoreboard);
    stats_free(m->stats);
    samples_release(&m->samples);
    oom_release(&m->oom);
    status_free_config(m->config_at_start);
    leave_prepare(NULL);
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
    successor_start(m);
    hooks_run(&m->hooks, "on_starting", config_of(m)->on_starting, NULL);
    (void)sigemptyset(&mine);
    signals_restore(&mine);
    procs_reap(m); /* pid 1 inherits what ended before it listened for SIGCHLD */
    master_reconcile(m);
    (void)ev_run(m->loop, 0);
    log_info("Shutting down: Master");
}

/* Not inlined, so that a stack shows where main ends. */
int __attribute__((noinline))
master_run(const struct start *start, struct config *config, struct handover *from)
{
    /* not on the stack, which every worker's lies on: most of it is never touched */
    struct master *m = xcalloc(1, sizeof(*m));
    struct error err;

    leave_prepare(m);
    m->start = start;
    m->stop_at_ms = NO_DEADLINE;
    m->next_control.fd = m->upgrade.fd = m->prepare.fd = -1;
    m->started_ms = now_ms();
    systemd_init(&m->systemd);
    m->hooks.umask = start->umask;
    int begun = successor_begin(m, from, &err);
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
