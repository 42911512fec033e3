/* SPDX-License-Identifier: MIT
 *
 * See master.h. One loop. Signals, pipes and timers only change what is wanted or known; then
 * reconcile() makes the processes match:
 *
 *   what went past its deadline is killed -> what silence or a call too long condemns is killed ->
 *   what is surplus or replaced is retired -> what is missing is started
 *
 * The decisions are plan.c's. There is no waiting anywhere else: stopping and reloading are states,
 * with deadlines.
 */
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

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/control.h"
#include "master/plan.h"
#include "master/spawn.h"
#include "master/status.h"
#include "system/channel.h"
#include "system/pidfile.h"
#include "system/process.h"
#include "system/scoreboard.h"

enum {
    SLOTS_MIN = 64,
    SLOTS_PER_WORKER = 4,
    TICK_MS = 1000,    /* workers are judged this often at least */
    TICK_MIN_MS = 100, /* and at most */
    TICKS_PER_TIMEOUT = 4,
    LATE_MS = 2000,       /* a master that was idle so long was away, not the workers */
    KILL_GRACE_MS = 2000, /* from SIGABRT to SIGKILL */
    QUIT_MS = 2000,       /* a quick stop is over by then */
    SPAWN_RETRY_MS = 1000,
    SPARE_DESCRIPTORS = 64,   /* of a worker, besides its connections */
    DESCRIPTORS_PER_SLOT = 3, /* of the master: a channel's two ends, and one to spare */
};

struct master {
    const struct start *start;
    struct ev_loop *loop;
    struct plan plan;
    struct generation *current;
    struct generation *candidate; /* being tried by a reload; NULL: none */
    unsigned last_generation;
    bool reload_again;   /* a HUP came while one was under way */
    bool has_served;     /* a worker was READY once */
    uint64_t stop_at_ms; /* the end of drain_delay; NO_DEADLINE: none runs */
    bool quick;          /* stopping without waiting for requests */
    int exit_status;

    uint64_t reloads_begun; /* since the start; each has its number */
    uint64_t reload_committed;
    bool rolling; /* that one's workers are not all there yet */
    struct status_reload last_reload;

    struct control control;
    struct listener next_control; /* of the candidate */
    bool control_changes;         /* with the candidate, to that or to none */

    struct scoreboard *scoreboard;
    struct pidfile pidfile;
    struct pidfile next_pidfile; /* of the candidate */
    bool pidfile_changes;        /* with the candidate, to that or to none */

    struct ev_signal signals[10];
    size_t signal_count;
    struct ev_timer tick; /* judging */
    struct ev_timer wake; /* the next deadline */
    struct ev_check awake;
    uint64_t started_ms;
    uint64_t awake_ms; /* when the loop last came to life */
    uint64_t judged_from_ms;
    uint64_t spawn_not_before_ms; /* fork failed */
    bool table_full;              /* and the log says so */
};

static void reconcile(struct master *m);
static void reload(struct master *m);
static void boot_failed(struct master *m, struct worker_proc *w, const char *why);
static void hear(struct master *m, struct worker_proc *w);

static const struct config *config_of(const struct master *m)
{
    return &m->current->config;
}

/* ---- orders ------------------------------------------------------------------------------ */

static void send_order(const struct worker_proc *w, enum down_type type, uint64_t idle_ms)
{
    const struct down_message order = {.type = type, .ms = (uint32_t)idle_ms, .fds = {-1, -1}};

    /* EPIPE: it is dead already, and SIGCHLD says so. EAGAIN: it is stuck, and its deadline ends
     * it. */
    (void)channel_send_down(w->channel.down_master, &order);
}

static void kill_worker(struct worker_proc *w, int signal_number, uint64_t deadline_ms)
{
    (void)kill(w->pid, signal_number); /* it is not reaped yet, so the pid is its own */
    w->phase = PROC_KILLING;
    w->deadline_ms = deadline_ms;
}

/* Does this worker listen on an address that nobody else serves any more? */
static bool leaves_a_queue(const struct master *m, const struct worker_proc *w)
{
    const struct generation *g = w->settings;

    for (size_t i = 0; i < g->listener_count; i++) {
        if (!generation_has_listener(m->current, g->listeners[i]))
            return true;
    }
    return false;
}

/* Tells a worker to finish. One that is replaced keeps its idle connections until their next
 * request, for nearly all of its grace; one that stops with the server only for a moment. */
static void retire(struct master *m, struct worker_proc *w)
{
    const struct config *cfg = &w->settings->config;
    uint64_t grace = m->quick ? QUIT_MS : cfg->graceful_timeout_ms;
    bool replaced = !m->plan.stopping;
    uint64_t idle = replaced ? grace - grace / 8 : cfg->keepalive_drain_ms;
    enum down_type order = m->quick                            ? DOWN_QUIT
                           : replaced && !leaves_a_queue(m, w) ? DOWN_RETIRE
                                                               : DOWN_STOP;

    uint64_t deadline = now_ms() + grace;
    if (w->phase != PROC_RETIRING || deadline < w->deadline_ms)
        w->deadline_ms = deadline;
    w->phase = PROC_RETIRING;
    w->hurried = !replaced;
    send_order(w, order, idle < grace ? idle : grace);
}

/* Too many retire: the oldest is to wait for its idle connections no longer. */
static void hurry(struct worker_proc *w)
{
    w->hurried = true;
    send_order(w, DOWN_RETIRE, w->settings->config.keepalive_drain_ms);
}

/* ---- judging ----------------------------------------------------------------------------- */

/* What the slot says the worker is doing, as a text for the log. */
static void describe_request(const struct master *m, const struct worker_proc *w,
                             struct strbuf *out)
{
    const struct slot *s = scoreboard_slot(m->scoreboard, (unsigned)(w - m->plan.procs));
    char method[sizeof(s->method)], target[sizeof(s->target)], peer[sizeof(s->peer)];

    if (slot_get_text(s->method, sizeof(s->method), method, sizeof(method)) == 0) {
        strbuf_addstr(out, "no request");
        return;
    }
    (void)slot_get_text(s->target, sizeof(s->target), target, sizeof(target));
    (void)slot_get_text(s->peer, sizeof(s->peer), peer, sizeof(peer));
    target[strcspn(target, "?")] = '\0'; /* queries carry secrets */
    strbuf_addf(out, "%s %s of %s, request %016llx", method, target, *peer ? peer : "a unix peer",
                (unsigned long long)s->request_id);
}

static void condemn(struct master *m, struct worker_proc *w, enum verdict verdict, uint64_t ms)
{
    struct strbuf what = {0};

    describe_request(m, w, &what);
    if (verdict == VERDICT_CALL_TOO_LONG)
        log_critical("WORKER TIMEOUT (pid:%d) after %llu.%llu s in %s", (int)w->pid,
                     (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100, what.data);
    else
        log_critical("WORKER SILENT (pid:%d): its loop is dead; last: %s", (int)w->pid, what.data);
    strbuf_release(&what);
    kill_worker(w, SIGABRT, now_ms() + KILL_GRACE_MS);
}

static void judge(struct master *m, uint64_t now)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase != PROC_READY && w->phase != PROC_RETIRING)
            continue;
        const struct slot *s = scoreboard_slot(m->scoreboard, i);
        const struct signs signs = {
            .call_started_ms = atomic_load(&s->call_started_ms),
            .loop_ms = atomic_load(&s->loop_ms),
            .judged_from_ms = m->judged_from_ms,
            .timeout_ms = w->settings->config.timeout_ms,
            .heartbeat_ms = w->settings->config.heartbeat_ms,
        };
        enum verdict verdict = plan_judge(w, &signs, now);
        if (verdict != VERDICT_FINE)
            condemn(m, w, verdict, now - signs.call_started_ms);
    }
}

static void kill_late(struct master *m, uint64_t now)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase == PROC_EMPTY || now < w->deadline_ms)
            continue;
        hear(m, w); /* timers come before pipes: perhaps it has said that it is ready */
        if (now < w->deadline_ms)
            continue;
        if (w->phase == PROC_BOOTING)
            boot_failed(m, w, "it was not ready within boot_timeout");
        else if (w->phase == PROC_RETIRING && !m->quick)
            log_errorx("Worker (pid:%d) did not finish within graceful_timeout: killed",
                       (int)w->pid);
        kill_worker(w, SIGKILL, NO_DEADLINE);
    }
}

/* ---- stopping and reloading -------------------------------------------------------------- */

/* A worker that boots holds the sockets and accepts nothing: clients would wait at it, and be cut
 * off when its time is over. Where another serves what waits by now, it is not needed. */
static void kill_booting(struct master *m)
{
    bool is_served = false;

    for (unsigned i = 0; i < m->plan.proc_count; i++)
        is_served = is_served || m->plan.procs[i].phase == PROC_READY;
    for (unsigned i = 0; i < m->plan.proc_count && is_served; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase != PROC_BOOTING)
            continue;
        w->failed_boot = true; /* there is nothing to say about its death */
        kill_worker(w, SIGKILL, NO_DEADLINE);
    }
}

/* When the workers have their orders: they serve who waits by then, and who comes later is refused
 * at once instead of waiting at a socket that nobody serves. */
static void stop_listening(struct master *m)
{
    struct generation *g = m->current;

    do {
        generation_stop_listening(g);
        g = g->next;
    } while (g != m->current);
}

static void stop(struct master *m, bool quick, int status)
{
    if (m->plan.stopping && (m->quick || !quick))
        return;
    m->quick = quick;
    if (!m->plan.stopping)
        m->exit_status = status;
    m->plan.stopping = true;
    m->stop_at_ms = NO_DEADLINE;
    m->rolling = false;
    kill_booting(m);
    control_reload_failed(&m->control, 0, UINT64_MAX, "the server is stopping");
    /* those that were retiring already have had longer */
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase == PROC_RETIRING)
            retire(m, &m->plan.procs[i]);
    }
}

/* TERM: the end is announced by Connection: close for drain_delay, then it comes. */
static void stop_gracefully(struct master *m)
{
    uint64_t delay = config_of(m)->drain_delay_ms;

    if (delay == 0 || m->stop_at_ms != NO_DEADLINE || m->plan.stopping) {
        stop(m, false, EXIT_STOPPED);
        return;
    }
    log_info("Draining: stopping in %llu ms", (unsigned long long)delay);
    m->stop_at_ms = now_ms() + delay;
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase != PROC_EMPTY)
            send_order(&m->plan.procs[i], DOWN_CLOSE, 0);
    }
}

static void drop_candidate(struct master *m)
{
    generation_unref(m->candidate, true);
    m->candidate = NULL;
    m->plan.candidate = 0;
    listener_close(&m->next_control, true);
    pidfile_close(&m->next_pidfile);
}

/* Remembers how a reload ended, and tells those who wait for one of these. */
static void note_reload_failed(struct master *m, uint64_t first, uint64_t last, const char *why)
{
    m->last_reload = (struct status_reload){.at = time(NULL), .generation = m->current->id};
    (void)snprintf(m->last_reload.why, sizeof(m->last_reload.why), "%s", why);
    control_reload_failed(&m->control, first, last, why);
}

static void note_reload_done(struct master *m)
{
    m->rolling = false;
    m->last_reload =
        (struct status_reload){.at = time(NULL), .ok = true, .generation = m->current->id};
    control_reload_done(&m->control, m->reload_committed, m->current->id);
}

/* Whichever way it ended: somebody may have asked for another meanwhile. */
static void reload_over(struct master *m)
{
    if (!m->reload_again)
        return;
    m->reload_again = false;
    reload(m);
}

static void reload_failed(struct master *m, const char *why)
{
    log_errorx("Reload failed: %s. Generation %u goes on unchanged", why, m->current->id);
    drop_candidate(m);
    note_reload_failed(m, m->reloads_begun, m->reloads_begun, why);
    reload_over(m);
}

/* The master is in the directory of the generation that counts, but for moments. */
static void enter_current(struct master *m)
{
    if (generation_enter(m->current) < 0)
        log_error("cannot change to the directory of generation %u", m->current->id);
}

static int check_new(const struct master *m, const struct config *cfg, struct error *err)
{
    if ((unsigned)cfg->workers * 2 > m->plan.proc_count)
        return error_set(err, EXIT_USAGE,
                         "workers: %d are more than this master has room for (%u): restart it",
                         cfg->workers, m->plan.proc_count / 2);
    return 0;
}

/* Opens the control socket that cfg wants, if that is another than there is now. The one that
 * nobody asked for may fail. 0, or -1 with err. */
static int open_control(struct master *m, const struct config *cfg, struct error *err)
{
    const char *now = control_path(&m->control), *path = cfg->control_socket;

    m->control_changes = now && path ? !listener_has_file(&m->control.listener, path) : now != path;
    if (!m->control_changes || !path || control_listen(&m->next_control, path, err) == 0)
        return 0;
    if (config_origin(cfg, config_find("control_socket"))->source != SOURCE_DEFAULT)
        return -1;
    log_warnx("%s: gcornctl cannot be used", err->text);
    return 0;
}

/* Locks the pid file that cfg wants, if that is another than there is now, or none any more. 0, or
 * -1 with err. */
static int open_pidfile(struct master *m, const struct config *cfg, struct error *err)
{
    const char *path = cfg->pidfile;

    m->pidfile_changes = path ? !pidfile_is(&m->pidfile, path) : m->pidfile.path != NULL;
    return m->pidfile_changes && path ? pidfile_open(&m->next_pidfile, path, err) : 0;
}

static struct generation *load_generation(struct master *m, struct error *err)
{
    struct config config;

    if (start_load_config(m->start, &config, err) < 0)
        return NULL;
    if (check_new(m, &config, err) < 0) {
        config_release(&config);
        return NULL;
    }
    struct generation *g = generation_new(++m->last_generation, &config, m->current, err);
    if (g && (open_pidfile(m, &g->config, err) < 0 || open_control(m, &g->config, err) < 0)) {
        generation_unref(g, true);
        return NULL;
    }
    return g;
}

/* The descriptors of a worker are its connections and a few more; the master's are the channels,
 * and the sockets and logs of all generations. */
static void raise_limits(const struct master *m, const struct generation *g)
{
    const struct config *cfg = &g->config;
    rlim_t workers_need = (rlim_t)cfg->worker_connections + SPARE_DESCRIPTORS, got;
    rlim_t master_needs =
        (rlim_t)m->plan.proc_count * DESCRIPTORS_PER_SLOT + g->listener_count + SPARE_DESCRIPTORS;
    rlim_t wanted = workers_need > master_needs ? workers_need : master_needs;
    struct rlimit before;

    if (getrlimit(RLIMIT_NOFILE, &before) < 0 || before.rlim_cur >= wanted)
        return;
    if (process_raise_nofile(wanted, &got) < 0 || got < workers_need)
        log_warnx("open files are limited to %llu, too few for worker_connections = %d: raise the "
                  "hard limit (ulimit -n, LimitNOFILE=)",
                  (unsigned long long)got, cfg->worker_connections);
    else if (got < wanted)
        log_warnx("open files are limited to %llu, perhaps too few for workers = %d: raise the "
                  "hard limit (ulimit -n, LimitNOFILE=)",
                  (unsigned long long)got, cfg->workers);
    else
        log_info("Open files: limit raised from %llu to %llu to fit %s",
                 (unsigned long long)before.rlim_cur, (unsigned long long)got,
                 before.rlim_cur < workers_need ? "worker_connections" : "workers");
}

/* New settings are read and opened and one worker is booted with them; only when that one is READY
 * do they count. */
static void reload(struct master *m)
{
    struct error err;

    if (m->plan.stopping || m->stop_at_ms != NO_DEADLINE)
        return;
    if (m->candidate) {
        m->reload_again = true;
        return;
    }
    log_info("Hang up: Master");
    m->reloads_begun++;
    struct generation *g = load_generation(m, &err);
    enter_current(m);
    if (!g) {
        reload_failed(m, err.text);
        return;
    }
    raise_limits(m, g); /* its first worker is to have the room already */
    m->candidate = g;
    m->plan.candidate = g->id;
}

static void log_listeners(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        log_info("Listening at: %s (%d)", g->listeners[i]->name, (int)getpid());
}

/* Puts what is the master's own in order with the settings that now count. */
static void apply_settings(struct master *m)
{
    const struct config *cfg = config_of(m);

    log_set_fd(m->current->error_fd);
    log_set_level((enum log_level)cfg->loglevel);
    m->plan.workers = (unsigned)cfg->workers;
    m->plan.generation = m->current->id;
    process_title_set("gcorn: master [%s]", cfg->proc_name ? cfg->proc_name : cfg->wsgi_app);
}

static void apply_control(struct master *m)
{
    if (m->control_changes)
        control_serve(&m->control, &m->next_control);
    m->control_changes = false;
}

static void apply_pidfile(struct master *m)
{
    if (!m->pidfile_changes)
        return;
    pidfile_close(&m->pidfile);
    m->pidfile = m->next_pidfile;
    m->next_pidfile = (struct pidfile){.fd = -1};
    m->pidfile_changes = false;
}

/* Judging once a second would let a call of a short timeout run for twice as long. */
static void set_tick(struct master *m)
{
    uint64_t tick = TICK_MS;
    const struct generation *g = m->current;

    do {
        uint64_t quarter = g->config.timeout_ms / TICKS_PER_TIMEOUT;

        if (g->config.timeout_ms > 0 && quarter < tick)
            tick = quarter > TICK_MIN_MS ? quarter : TICK_MIN_MS;
        g = g->next;
    } while (g != m->current);
    ev_timer_stop(m->loop, &m->tick);
    ev_timer_set(&m->tick, (double)tick / 1000, (double)tick / 1000);
    ev_timer_start(m->loop, &m->tick);
}

static const char *build_id(const struct generation *g)
{
    return g->image.build_id[0] != '\0' ? g->image.build_id : "none";
}

static void commit_candidate(struct master *m)
{
    struct generation *old = m->current;
    struct strbuf changes = {0};
    size_t count = config_diff(&old->config, &m->candidate->config, &changes);

    m->current = m->candidate;
    m->candidate = NULL;
    m->plan.candidate = 0;
    m->reload_committed = m->reloads_begun;
    m->rolling = true;
    enter_current(m);
    apply_settings(m);
    apply_control(m);
    apply_pidfile(m);
    set_tick(m);
    generation_apply_backlog(m->current);
    memset(m->plan.backoffs, 0, m->plan.proc_count * sizeof(*m->plan.backoffs));
    log_info("Reloaded: generation %u -> %u, %s", old->id, m->current->id,
             count > 0 ? changes.data : "no setting changed");
    if (strcmp(old->image.build_id, m->current->image.build_id) == 0)
        log_info("Application: build-id %s, unchanged", build_id(old));
    else
        log_info("Application: build-id %s -> %s", build_id(old), build_id(m->current));
    if (old->config.daemon != config_of(m)->daemon)
        log_warnx("daemon: only a restart can change it");
    log_listeners(m->current);
    strbuf_release(&changes);
    generation_unref(old, true);
    reload_over(m);
}

/* ---- workers come and go ----------------------------------------------------------------- */

static void worker_ready(struct master *m, struct worker_proc *w)
{
    if (w->phase != PROC_BOOTING)
        return; /* told to retire meanwhile */
    w->phase = PROC_READY;
    w->ready_ms = w->heard_ms = now_ms();
    w->deadline_ms = NO_DEADLINE;
    if (!m->has_served)
        process_daemon_report(EXIT_STOPPED);
    m->has_served = true;
    if (m->stop_at_ms != NO_DEADLINE)
        send_order(w, DOWN_CLOSE, 0);
    if (w->generation == m->plan.candidate)
        commit_candidate(m);
}

/* The new generation serves, and yet a worker of it did not boot. It is tried again, but nobody is
 * kept waiting for that. */
static void roll_failed(struct master *m, const char *why)
{
    struct error err;

    m->rolling = false;
    (void)error_set(&err, EXIT_APP, "generation %u serves, but not all of its workers booted: %s",
                    m->current->id, why);
    note_reload_failed(m, 0, m->reload_committed, err.text);
}

/* A worker cannot boot. At the first start that ends the program; a reload rolls back; any other is
 * tried again after a while. */
static void boot_failed(struct master *m, struct worker_proc *w, const char *why)
{
    w->failed_boot = true;
    if (m->plan.stopping)
        return; /* nobody waits for it */
    if (w->generation == m->plan.candidate) {
        reload_failed(m, why);
    } else if (!m->has_served) {
        log_critical("Worker failed to boot: %s", why);
        stop(m, true, EXIT_APP);
    } else {
        log_errorx("Worker (pid:%d) failed to boot: %s", (int)w->pid, why);
        if (m->rolling && w->generation == m->plan.generation)
            roll_failed(m, why);
    }
}

static void recycle(struct worker_proc *w, const char *why)
{
    if (w->phase != PROC_READY || w->recycle)
        return;
    log_info("Worker (pid:%d) is to be replaced: %s", (int)w->pid, why);
    w->recycle = true;
}

/* Takes what it has said. 0, or -1 with errno: nothing more will come (channel_recv_up). */
static int take_messages(struct master *m, struct worker_proc *w)
{
    struct up_message message;
    int got;

    while ((got = channel_recv_up(w->channel.up_read, &message)) > 0) {
        switch (message.type) {
        case UP_READY: worker_ready(m, w); break;
        case UP_HEARTBEAT: w->heard_ms = now_ms(); break;
        case UP_BOOTFAIL: boot_failed(m, w, message.text); break;
        case UP_RECYCLE: recycle(w, message.text); break;
        }
    }
    return got;
}

/* One that closed its end is dead, and SIGCHLD says so, or is silent from now on. */
static void hear(struct master *m, struct worker_proc *w)
{
    static const char why[] = "it sent what is no message";

    if (take_messages(m, w) == 0)
        return;
    bool is_mad = errno == EPROTO;
    ev_io_stop(m->loop, &w->up);
    if (!is_mad || w->phase == PROC_KILLING)
        return;
    if (w->phase == PROC_BOOTING)
        boot_failed(m, w, why);
    else
        log_critical("Worker (pid:%d) is killed: %s", (int)w->pid, why);
    kill_worker(w, SIGKILL, NO_DEADLINE);
}

static void on_up(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;
    struct worker_proc *w =
        (struct worker_proc *)(void *)((char *)io - offsetof(struct worker_proc, up));

    (void)loop;
    (void)revents;
    hear(m, w);
    reconcile(m);
}

static void log_death(const struct master *m, const struct worker_proc *w, int status)
{
    struct strbuf what = {0};
    const struct slot *s = scoreboard_slot(m->scoreboard, (unsigned)(w - m->plan.procs));

    if (atomic_load(&s->call_started_ms) != 0) {
        strbuf_addstr(&what, " while it ran ");
        describe_request(m, w, &what);
    }
    const char *during = what.data ? what.data : "";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && w->phase != PROC_KILLING)
        log_errorx("Worker (pid:%d) was sent SIGKILL! Perhaps out of memory?%s", (int)w->pid,
                   during);
    else if (WIFSIGNALED(status))
        log_errorx("Worker (pid:%d) was sent SIG%s!%s", (int)w->pid,
                   sigabbrev_np(WTERMSIG(status)) ? sigabbrev_np(WTERMSIG(status)) : "?", during);
    else if (WEXITSTATUS(status) != 0 || w->phase == PROC_READY)
        log_errorx("Worker (pid:%d) exited with code %d%s", (int)w->pid, WEXITSTATUS(status),
                   during);
    strbuf_release(&what);
}

static void worker_died(struct master *m, struct worker_proc *w, int status)
{
    uint64_t now = now_ms();

    (void)take_messages(m, w); /* its last words */
    if (w->phase == PROC_BOOTING && !w->failed_boot) {
        struct error err;

        if (WIFSIGNALED(status))
            (void)error_set(&err, EXIT_APP, "it died of signal %d (%s) before it was ready",
                            WTERMSIG(status), strsignal(WTERMSIG(status)));
        else
            (void)error_set(&err, EXIT_APP, "it exited with code %d before it was ready",
                            WEXITSTATUS(status));
        boot_failed(m, w, err.text);
    } else if (!w->failed_boot) {
        log_death(m, w, status);
    }
    if (w->phase != PROC_RETIRING && w->generation == m->plan.generation)
        plan_note_death(&m->plan.backoffs[w->number], w->ready_ms > 0 ? now - w->ready_ms + 1 : 0,
                        now);
    ev_io_stop(m->loop, &w->up);
    spawn_forget(w);
}

/* Every child that has ended; those that are no worker (an orphan, when we are pid 1) are only
 * reaped. */
static void reap(struct master *m)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        for (unsigned i = 0; i < m->plan.proc_count; i++) {
            struct worker_proc *w = &m->plan.procs[i];

            if (w->phase != PROC_EMPTY && w->pid == pid) {
                worker_died(m, w, status);
                break;
            }
        }
    }
}

static bool spawn(struct master *m, unsigned number, unsigned generation)
{
    struct generation *g = generation == m->plan.candidate ? m->candidate : m->current;
    int place = plan_free_place(&m->plan);

    if (place == PLAN_NONE) { /* the next death makes room */
        if (!m->table_full)
            log_warnx("No worker can be started: there are %u processes, most of them leaving",
                      m->plan.proc_count);
        m->table_full = true;
        return false;
    }
    m->table_full = false;
    struct worker_proc *w = &m->plan.procs[place];
    const struct spawner spawner = {
        .plan = &m->plan,
        .scoreboard = m->scoreboard,
        .loop = m->loop,
        .control = &m->control,
        .next_control = &m->next_control,
        .pidfile = &m->pidfile,
        .next_pidfile = &m->next_pidfile,
    };
    if (spawn_worker(&spawner, place, number, g) < 0) {
        log_error("cannot start a worker (next try in %d s)", SPAWN_RETRY_MS / 1000);
        m->spawn_not_before_ms = now_ms() + SPAWN_RETRY_MS;
        return false;
    }
    ev_io_init(&w->up, on_up, w->channel.up_read, EV_READ);
    w->up.data = m;
    ev_io_start(m->loop, &w->up);
    return true;
}

/* ---- the loop ---------------------------------------------------------------------------- */

static void arm_wake(struct master *m, uint64_t now)
{
    uint64_t at = plan_wake_ms(&m->plan, now);

    if (m->spawn_not_before_ms > now && m->spawn_not_before_ms < at)
        at = m->spawn_not_before_ms;
    if (m->stop_at_ms < at)
        at = m->stop_at_ms;
    ev_timer_stop(m->loop, &m->wake);
    if (at == NO_DEADLINE)
        return;
    ev_now_update(m->loop);
    ev_timer_set(&m->wake, at > now ? (double)(at - now) / 1000 : 0, 0);
    ev_timer_start(m->loop, &m->wake);
}

static void reconcile(struct master *m)
{
    uint64_t now = now_ms();
    unsigned number, generation;
    int place;

    kill_late(m, now);
    if (now >= m->stop_at_ms)
        stop(m, false, EXIT_STOPPED);
    while ((place = plan_retire(&m->plan)) != PLAN_NONE)
        retire(m, &m->plan.procs[place]);
    while ((place = plan_hurry(&m->plan)) != PLAN_NONE)
        hurry(&m->plan.procs[place]);
    while (now >= m->spawn_not_before_ms && plan_spawn(&m->plan, now, &number, &generation)) {
        if (!spawn(m, number, generation))
            break;
    }
    if (m->rolling && plan_has_rolled(&m->plan))
        note_reload_done(m);
    if (m->plan.stopping)
        stop_listening(m);
    if (m->plan.stopping && plan_alive(&m->plan) == 0)
        ev_break(m->loop, EVBREAK_ALL);
    arm_wake(m, now); /* by another clock a back-off that ends right now would be missed */
}

static void on_wake(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    reconcile(timer->data);
}

/* Who has grown past max_memory is replaced like one that has served max_requests. */
static void weigh(struct master *m)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];
        uint64_t max = w->phase == PROC_READY ? w->settings->config.max_memory : 0, size;
        char why[80];

        if (max == 0 || w->recycle || process_private_memory(w->pid, &size) < 0 || size <= max)
            continue;
        (void)snprintf(why, sizeof(why), "max_memory (%llu MiB)", (unsigned long long)(size >> 20));
        recycle(w, why);
    }
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
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase != PROC_EMPTY)
            hear(m, &m->plan.procs[i]); /* timers come before pipes */
    }
    judge(m, now_ms());
    weigh(m);
    reconcile(m);
}

static void reopen_logs(struct master *m)
{
    struct generation *each = m->current;
    struct error err;

    do {
        if (generation_reopen_logs(each, &err) < 0)
            log_errorx("%s", err.text);
        each = each->next;
    } while (each != m->current);
    enter_current(m);
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        const struct worker_proc *w = &m->plan.procs[i];
        const struct generation *g = w->settings;

        if (w->phase == PROC_EMPTY)
            continue;
        const struct down_message order = {
            .type = DOWN_REOPEN,
            .fds = {g->error_fd > STDERR_FILENO ? g->error_fd : -1,
                    g->access_fd > STDERR_FILENO ? g->access_fd : -1}};
        if (channel_send_down(w->channel.down_master, &order) < 0)
            log_error("cannot tell worker %d to reopen its logs", (int)w->pid);
    }
}

static void change_workers(struct master *m, int by)
{
    if (by < 0 && m->plan.workers <= 1) {
        log_warnx("The last worker stays");
        return;
    }
    if (by > 0 && (m->plan.workers + 1) * 2 > m->plan.proc_count) {
        log_warnx("%u workers are all that there is room for: set workers and restart",
                  m->plan.workers);
        return;
    }
    m->plan.workers = (unsigned)((int)m->plan.workers + by);
    log_info("%u workers wanted", m->plan.workers);
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
    if (watcher->signum != SIGCHLD)
        log_signal(watcher->signum);
    switch (watcher->signum) {
    case SIGCHLD: reap(m); break;
    case SIGTERM: stop_gracefully(m); break;
    case SIGINT:
    case SIGQUIT: stop(m, true, EXIT_STOPPED); break;
    case SIGHUP: reload(m); break;
    case SIGUSR1: reopen_logs(m); break;
    case SIGTTIN: change_workers(m, 1); break;
    case SIGTTOU: change_workers(m, -1); break;
    default: break; /* caught so that it does not end the master */
    }
    reconcile(m);
}

/* ---- what the control socket asks for ---------------------------------------------------- */

static bool is_stopping(const struct master *m)
{
    return m->plan.stopping || m->stop_at_ms != NO_DEADLINE;
}

static const char *state_name(const struct master *m)
{
    if (is_stopping(m))
        return "stopping";
    if (!m->has_served)
        return "starting";
    return m->candidate || m->rolling ? "reloading" : "serving";
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

    status_set_workers(&status, &m->plan, m->scoreboard, now);
    status_add_json(answer, &status);
    status_release(&status);
}

/* One that is under way may have read the files before they were changed for this request. */
static uint64_t asked_for_next_reload(void *master)
{
    const struct master *m = master;

    return is_stopping(m) ? 0 : m->reloads_begun + 1;
}

static void asked_to_reload(void *master)
{
    log_info("Control socket: reload");
    reload(master);
    reconcile(master);
}

static void asked_to_stop(void *master)
{
    log_info("Control socket: stop");
    stop_gracefully(master);
    reconcile(master);
}

static const struct control_ops control_ops = {
    .status = asked_for_status,
    .next_reload = asked_for_next_reload,
    .reload = asked_to_reload,
    .stop = asked_to_stop,
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
    (void)signal(SIGPIPE, SIG_IGN); /* a log that nobody reads any more ends nothing */
    ev_init(&m->tick, on_tick);
    ev_init(&m->wake, on_wake);
    ev_check_init(&m->awake, on_awake);
    ev_set_priority(&m->awake, EV_MAXPRI);
    m->tick.data = m->wake.data = m->awake.data = m;
    m->awake_ms = now_ms();
    ev_check_start(m->loop, &m->awake);
    set_tick(m);
}

static int init_tables(struct master *m, struct error *err)
{
    unsigned workers = (unsigned)config_of(m)->workers;
    unsigned slots = workers * SLOTS_PER_WORKER;

    if (slots < SLOTS_MIN)
        slots = SLOTS_MIN;
    m->plan.proc_count = slots;
    m->plan.procs = xcalloc(slots, sizeof(*m->plan.procs));
    m->plan.backoffs = xcalloc(slots, sizeof(*m->plan.backoffs));
    m->scoreboard = scoreboard_new(slots, err);
    if (!m->scoreboard)
        return -1;
    m->loop = ev_loop_new(EVFLAG_NOENV);
    if (!m->loop)
        return error_set(err, EXIT_FAILED, "no event loop can be made");
    control_init(&m->control, m->loop, &control_ops, m);
    return 0;
}

static int open_all(struct master *m, struct config *config, struct error *err)
{
    m->current = generation_new(++m->last_generation, config, NULL, err);
    if (!m->current)
        return -1;
    apply_settings(m);
    if (open_pidfile(m, config_of(m), err) < 0)
        return -1;
    apply_pidfile(m);
    if (init_tables(m, err) < 0 || open_control(m, config_of(m), err) < 0)
        return -1;
    apply_control(m);
    return 0;
}

static void announce(const struct master *m)
{
    const struct config *cfg = config_of(m);
    const struct setting *workers = config_find("workers");

    log_info("Starting gcorn " GCORN_VERSION);
    log_listeners(m->current);
    log_info("Using worker: sync");
    log_info("Workers: %d (%s)", cfg->workers, config_origin(cfg, workers)->text);
}

static void close_all(struct master *m)
{
    if (m->loop) {
        control_close(&m->control);
        ev_loop_destroy(m->loop);
    }
    drop_candidate(m);
    pidfile_close(&m->pidfile);
    generation_unref(m->current, true);
    scoreboard_free(m->scoreboard);
    free(m->plan.procs);
    free(m->plan.backoffs);
}

int master_run(const struct start *start, struct config *config)
{
    struct master m = {.start = start,
                       .stop_at_ms = NO_DEADLINE,
                       .next_control = {.fd = -1},
                       .started_ms = now_ms()};
    struct error err;
    sigset_t mine;

    if (open_all(&m, config, &err) < 0) {
        log_critical("%s", err.text);
        process_daemon_report(err.status);
        close_all(&m);
        return (int)err.status;
    }
    announce(&m);
    raise_limits(&m, m.current);
    start_watchers(&m);
    (void)sigemptyset(&mine);
    process_signals_unblock(&mine);
    reconcile(&m);
    (void)ev_run(m.loop, 0);
    log_info("Shutting down: Master");
    process_daemon_report(m.exit_status);
    int status = m.exit_status;
    close_all(&m);
    return status;
}
