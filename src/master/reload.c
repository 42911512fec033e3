/* SPDX-License-Identifier: MIT
 *
 * See reload.h. The order matters: steps that can fail come first, most of them in a separate
 * process, and each step that affects the current generation (its directory, its control socket,
 * its pid file) waits for the commit.
 */
#include "master/reload.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/check/advice.h"
#include "master/generation/listeners.h"
#include "master/generation/logs.h"
#include "master/prepare/prepared_open.h"
#include "master/prepare/prepared_send.h"
#include "master/workers/preload.h"
#include "master/stats_update.h"
#include "master/workers/boots.h"
#include "master/workers/procs.h"
#include "master/workers/retire.h"
#include "master/messages.h"
#include "master/state.h"
#include "settings/config_print.h"
#include "settings/setting.h"
#include "system/process/limits.h"
#include "system/process/title.h"

enum {
    TICK_MS = 1000,    /* the longest interval of health checks */
    TICK_MIN_MS = 100, /* the shortest */
    TICKS_PER_TIMEOUT = 4,
};

void reload_drop(struct master *m)
{
    if (m->prepare.state != PREPARE_NONE)
        prepare_end(&m->prepare);
    preload_end(m, m->candidate);
    if (m->candidate)
        listeners_give_back(m->candidate); /* its canary may keep the rest for a moment yet */
    generation_unref(m->candidate, true);
    m->candidate = NULL;
    plan_try_generation(&m->plan, 0);
    free(m->candidate_failure);
    m->candidate_failure = NULL;
    listener_close(&m->next_control, true);
    pidfile_close(&m->next_pidfile);
}

/* Runs the hook on_reload. why NULL: the reload is done. */
static void run_on_reload(struct master *m, const char *why)
{
    char *reason = xasprintf("GCORN_HOOK_REASON=%s", why ? why : "");
    const char *const done[] = {"GCORN_HOOK_RELOAD=done", NULL};
    const char *const failed[] = {"GCORN_HOOK_RELOAD=failed", reason, NULL};

    hooks_run(&m->hooks, "on_reload", config_of(m)->on_reload, why ? failed : done);
    free(reason);
}

/* Remembers that a reload failed, and answers the clients that wait for reloads first to last. */
static void note_reload_failed(struct master *m, uint64_t first, uint64_t last, const char *why)
{
    m->last_reload = (struct status_reload){.at = time(NULL), .generation = m->current->id};
    stats_update_reload(m, false);
    (void)snprintf(m->last_reload.why, sizeof(m->last_reload.why), "%s", why);
    control_reload_failed(&m->control, first, last, why);
    run_on_reload(m, why);
}

static void note_reload_done(struct master *m)
{
    m->rolling = false;
    m->last_reload =
        (struct status_reload){.at = time(NULL), .ok = true, .generation = m->current->id};
    stats_update_reload(m, true);
    control_reload_done(&m->control, m->reload_committed, m->current->id);
    run_on_reload(m, NULL);
}

static void has_failed(struct master *m, const char *text)
{
    char why[sizeof(m->prepare.err.text)];

    (void)snprintf(why, sizeof(why), "%s", text); /* a copy: text may be freed below */
    log_errorx("Reload failed: %s. Generation %u goes on unchanged", why, m->current->id);
    reload_drop(m);
    note_reload_failed(m, m->reload_first, m->reloads_begun, why);
}

/* The master is always in the directory of the current generation, except for brief moments. */
void reload_enter_current(struct master *m)
{
    if (generation_enter(m->current) < 0)
        log_error("cannot change to the directory of generation %u", m->current->id);
}

const char *reload_how_to_make_room(void)
{
    /* process 1 cannot be upgraded: upgrade.h */
    return getpid() == 1 ? "start a new container to get more"
                         : "gcornctl upgrade, or USR2 and then TERM, makes room for more";
}

static int check_new(const struct master *m, const struct config *cfg, struct error *err)
{
    const struct config_origin *origin = config_origin(cfg, setting_find("workers"));
    unsigned room = plan_most_workers(&m->plan);

    if ((unsigned)cfg->workers <= room)
        return 0;
    (void)error_set(err, EXIT_USAGE, "workers: this master has room for %u, not for %d; %s", room,
                    cfg->workers, reload_how_to_make_room());
    return origin->source == SOURCE_DEFAULT ? -1 : error_prefix(err, "%s", origin->text);
}

/* The default control socket may fail: it only costs a warning. */
int reload_open_control(struct master *m, const struct config *cfg, struct error *err)
{
    const char *now = control_path(&m->control), *path = cfg->control_socket;

    if (!m->successor.is_promoted)
        return 0; /* the old master serves it */
    m->control_changes = now && path ? !listener_has_file(&m->control.listener, path) : now != path;
    if (m->control_changes && path && listener_has_file(&m->successor.control, path)) {
        m->next_control = m->successor.control;
        m->successor.control = (struct listener){.fd = -1};
        return 0;
    }
    if (!m->control_changes || !path ||
        control_listen(&m->next_control, path, &m->notice, err) == 0)
        return 0;
    if (config_origin(cfg, setting_find("control_socket"))->source != SOURCE_DEFAULT)
        return -1;
    log_warnx("%s: gcornctl cannot be used", err->text);
    return 0;
}

int reload_open_pidfile(struct master *m, const struct generation *g, struct error *err)
{
    char *path = successor_pidfile(&m->successor, g->config.pidfile);
    int result = 0;

    m->pidfile_changes = path ? !pidfile_is(&m->pidfile, path) : m->pidfile.path != NULL;
    if (m->pidfile_changes && path)
        result = pidfile_open(&m->next_pidfile, path, &g->privileges, err);
    free(path);
    return result;
}

/* ---- preparing, in a separate process (prepare.h) ----------------------------------------- */

/* Checks that the pid file can be taken. A lock of a child would end with it, so the master takes
 * the file later. */
static int try_pidfile(const struct master *m, const struct generation *g, struct error *err)
{
    char *path = successor_pidfile(&m->successor, g->config.pidfile);
    pid_t holder;
    bool is_held = false;
    int result = 0;

    if (path && !pidfile_is(&m->pidfile, path))
        result = pidfile_probe(path, &g->privileges, &is_held, &holder, err);
    free(path);
    return is_held ? -1 : result;
}

static int try_control(struct master *m, const struct config *cfg, struct prepared_rest *rest,
                       struct error *err)
{
    int inherited_fd = m->successor.control.fd;

    if (reload_open_control(m, cfg, err) < 0)
        return -1;
    *rest = (struct prepared_rest){.control = m->next_control};
    rest->control_is = !m->control_changes                  ? CONTROL_STAYS
                       : m->next_control.fd < 0             ? CONTROL_ENDS
                       : inherited_fd == m->next_control.fd ? CONTROL_OF_PREDECESSOR
                                                            : CONTROL_IS_NEW;
    return 0;
}

/* Opens everything but the settings and sends it to the master. On failure removes the files that
 * it has made. */
static int open_rest(struct master *m, struct generation *g, const struct sources *sources, int fd,
                     struct error *err)
{
    struct prepared_rest rest;

    prepare_step(fd, "opening the logs and copying the application");
    if (generation_open(g, getppid(), err) < 0 || try_pidfile(m, g, err) < 0)
        return -1;
    prepare_step(fd, "resolving and opening the addresses");
    if (listeners_open(g, m->current, NULL, err) < 0 || try_control(m, &g->config, &rest, err) < 0)
        return -1;
    if (prepared_send_all(fd, sources, g, m->current, &rest) == 0)
        return 0;
    listener_close(&m->next_control, rest.control_is == CONTROL_IS_NEW);
    return error_set(err, EXIT_FAILED, "cannot hand over what was prepared: %s", strerror(errno));
}

void reload_prepare(void *master, int fd)
{
    struct master *m = master;
    struct sources sources = {0};
    struct config config;
    struct error err;

    prepare_step(fd, "reading the settings");
    m->notice = (struct file_notice){.note = prepare_note_file, .arg = &fd};
    if (start_load_config(m->start, config_of(m), &sources, &config, &err) < 0 ||
        check_new(m, &config, &err) < 0) {
        prepare_report_failure(fd, &err);
        return;
    }
    struct generation *g = generation_make(m->last_generation + 1, &config, m->current);
    g->notice = m->notice;
    if (open_rest(m, g, &sources, fd, &err) < 0) {
        generation_unref(g, true);
        prepare_report_failure(fd, &err);
    }
}

/* ---- beginning --------------------------------------------------------------------------- */

void reload_raise_limits(const struct master *m, const struct generation *g)
{
    const struct config *cfg = &g->config;
    struct descriptors need = advice_descriptors(cfg, m->plan.proc_count, g->listener_count);
    rlim_t wanted = need.worker > need.master ? need.worker : need.master, got;
    struct strbuf shortage = {0};
    struct rlimit before;

    if (getrlimit(RLIMIT_NOFILE, &before) < 0 || before.rlim_cur >= wanted)
        return;
    (void)limits_raise_nofile(wanted, &got); /* got says what was reached */
    if (advice_add_shortage(cfg, &need, got, &shortage))
        log_warnx("%s", shortage.data);
    else
        log_info("Open files: limit raised from %llu to %llu to fit %s",
                 (unsigned long long)before.rlim_cur, (unsigned long long)got,
                 before.rlim_cur < need.worker ? "worker_connections" : "workers");
    strbuf_release(&shortage);
}

static void prepare(struct master *m)
{
    prepare_begin(&m->prepare);
    if (m->prepare.state == PREPARE_WAITS)
        log_errorx("Reload: %s; trying again in %d s", m->prepare.err.text,
                   PREPARE_RETRY_MS / 1000);
}

static void begin(struct master *m)
{
    assert(!reload_is_trying(m) && !m->plan.stopping);
    log_info("Hang up: Master");
    m->reloads_begun++;
    m->reload_step_ms = now_ms();
    m->prepare_by_ms = m->reload_step_ms + config_of(m)->boot_timeout_ms;
    prepare(m);
}

bool reload_is_trying(const struct master *m)
{
    return m->candidate || m->prepare.state != PREPARE_NONE;
}

void reload_request(struct master *m)
{
    if (!master_is_stopping(m))
        m->reload_requested = m->is_due = true;
}

void reload_begin(struct master *m)
{
    if (!m->reload_requested || reload_is_trying(m) || upgrade_holds_up_reload(&m->upgrade) ||
        master_is_stopping(m))
        return;
    m->reload_requested = false;
    m->reload_first = m->reloads_begun + 1;
    begin(m);
}

/* ---- the candidate ----------------------------------------------------------------------- */

static void take_control(struct master *m, const struct prepared_rest *rest)
{
    m->control_changes = rest->control_is != CONTROL_STAYS;
    if (rest->control_is == CONTROL_IS_NEW)
        m->next_control = rest->control;
    if (rest->control_is == CONTROL_OF_PREDECESSOR) {
        m->next_control = m->successor.control;
        m->successor.control = (struct listener){.fd = -1};
    }
}

/* Opens the pid file, whose name is relative to the directory of g. */
static int take_pidfile(struct master *m, const struct generation *g, struct error *err)
{
    int result = generation_enter(g) < 0
                     ? error_set(err, EXIT_FAILED, "cannot change to the directory %s: %s",
                                 g->config.dir, strerror(errno))
                     : reload_open_pidfile(m, g, err);

    reload_enter_current(m);
    return result;
}

/* Makes the prepared generation the candidate. Returns 0, or -1 with err. */
static int take_candidate(struct master *m, struct error *err)
{
    struct prepared_rest rest;
    bool logs_reopened = m->prepare.logs_reopened;
    struct generation *g =
        prepared_open(&m->prepare.record, m->start, m->last_generation + 1, m->current, &rest, err);

    if (!g)
        return -1;
    m->last_generation = g->id;
    if (take_pidfile(m, g, err) < 0) {
        listener_close(&rest.control, true);
        generation_unref(g, true);
        return -1;
    }
    take_control(m, &rest);
    m->candidate = g;
    plan_try_generation(&m->plan, g->id);
    if (logs_reopened && logs_reopen(g, err) < 0)
        log_errorx("%s", err->text);
    reload_enter_current(m);
    return 0;
}

static void try_candidate(struct master *m)
{
    struct error err;

    assert(!m->candidate && m->prepare.is_whole);
    int taken = take_candidate(m, &err);

    prepare_end(&m->prepare);
    if (taken < 0) {
        has_failed(m, err.text);
        return;
    }
    reload_raise_limits(m, m->candidate); /* before its first worker is forked */
    m->reload_step_ms = now_ms();
    boots_begin(m);
}

static void prepare_is_late(struct master *m)
{
    char why[160];

    if (m->prepare.state == PREPARE_WAITS) {
        has_failed(m, m->prepare.err.text);
        return;
    }
    (void)snprintf(why, sizeof(why), "it was not prepared within boot_timeout (%.1f s): %s",
                   (double)config_of(m)->boot_timeout_ms / 1000, m->prepare.step);
    has_failed(m, why);
}

/* The time when a newer HUP cancels the reload under way: it still serves no client after
 * RELOAD_PATIENCE_MS. */
static uint64_t supersede_ms(const struct master *m)
{
    return reload_is_trying(m) && m->reload_requested ? m->reload_step_ms + RELOAD_PATIENCE_MS
                                                      : NO_DEADLINE;
}

static void supersede(struct master *m, uint64_t now)
{
    double time_s = (double)(now - m->reload_step_ms) / 1000;

    if (m->candidate)
        log_info("Reload: generation %u has booted for %.1f s and serves no client; cancelling it "
                 "for the newer HUP",
                 m->candidate->id, time_s);
    else
        log_info("Reload: generation %u has been prepared for %.1f s (%s); cancelling it for the "
                 "newer HUP",
                 m->last_generation + 1, time_s, m->prepare.step);
    procs_kill_canary(m);
    reload_drop(m);
    m->reload_requested = false;
    begin(m);
}

static bool is_preparing(const struct master *m)
{
    return m->prepare.state == PREPARE_RUNS || m->prepare.state == PREPARE_WAITS;
}

uint64_t reload_wake_ms(const struct master *m)
{
    uint64_t at = supersede_ms(m);

    if (is_preparing(m) && m->prepare_by_ms < at)
        at = m->prepare_by_ms;
    if (m->prepare.state == PREPARE_WAITS && m->prepare.retry_ms < at)
        at = m->prepare.retry_ms;
    return at;
}

/* ---- applying and committing ------------------------------------------------------------- */

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

void reload_apply_files(struct master *m)
{
    apply_control(m);
    apply_pidfile(m);
}

/* Applies the current settings to the master itself. */
void reload_apply(struct master *m)
{
    const struct config *cfg = config_of(m);

    logs_use(m->current);
    logs_tend(m->current);
    listeners_keep(m->current);
    if (m->plan.candidate != m->current->id)
        plan_try_generation(&m->plan, m->current->id); /* at the start: without a canary */
    plan_take_candidate(&m->plan, (unsigned)cfg->workers, m->current->admin_listener != NULL);
    title_set("gcorn: master [%s]", cfg->proc_name ? cfg->proc_name : cfg->wsgi_app);
    reload_apply_files(m);
}

/* With one check a second, a call could run for twice a short timeout. */
void reload_set_tick(struct master *m)
{
    uint64_t tick = TICK_MS, watchdog = systemd_watchdog_ms(&m->systemd) / TICKS_PER_TIMEOUT;
    const struct generation *g;

    for_each_generation (g, m->current) {
        uint64_t quarter = g->config.timeout_ms / TICKS_PER_TIMEOUT;

        if (g->config.timeout_ms > 0 && quarter < tick)
            tick = quarter > TICK_MIN_MS ? quarter : TICK_MIN_MS;
    }
    if (watchdog > 0 && watchdog < tick)
        tick = watchdog > TICK_MIN_MS ? watchdog : TICK_MIN_MS;
    ev_timer_stop(m->loop, &m->tick);
    ev_timer_set(&m->tick, (double)tick / 1000, (double)tick / 1000);
    ev_timer_start(m->loop, &m->tick);
}

static const char *build_id(const struct generation *g)
{
    return g->image.build_id[0] != '\0' ? g->image.build_id : "none";
}

static void commit(struct master *m)
{
    struct generation *old = m->current;
    struct strbuf changes = {0};
    size_t count = config_print_diff(&old->config, &m->candidate->config, &changes);

    assert(m->candidate->id == m->plan.candidate && m->candidate->id > old->id);
    m->current = m->candidate;
    m->candidate = NULL;
    m->candidate_is_ready = false;
    m->reload_committed = m->reloads_begun;
    m->rolling = true;
    boots_begin(m);
    reload_enter_current(m);
    reload_apply(m);
    reload_set_tick(m);
    listeners_apply_backlog(m->current);
    log_info("Reloaded: generation %u -> %u, %s", old->id, m->current->id,
             count > 0 ? changes.data : "no setting changed");
    if (strcmp(old->image.build_id, m->current->image.build_id) == 0)
        log_info("Application: build-id %s, unchanged", build_id(old));
    else
        log_info("Application: build-id %s -> %s", build_id(old), build_id(m->current));
    if (old->config.daemon != config_of(m)->daemon)
        log_warnx("daemon: only a restart can change it");
    messages_warn(&old->config, config_of(m));
    listeners_log(m->current);
    strbuf_release(&changes);
    preload_end(m, old);
    generation_unref(old, true);
}

/* The new generation serves, but one of its workers did not boot. The master retries the boot;
 * clients of the control socket are answered now. */
static void roll_has_failed(struct master *m, const char *why)
{
    struct error err;

    m->rolling = false;
    (void)error_set(&err, EXIT_APP, "generation %u serves, but not all of its workers booted: %s",
                    m->current->id, why);
    note_reload_failed(m, 0, m->reload_committed, err.text);
}

/* ---- outcomes ---------------------------------------------------------------------------- */

static void decide_candidate(struct master *m, uint64_t now)
{
    if (m->candidate_is_ready)
        commit(m);
    else if (m->candidate_failure)
        has_failed(m, m->candidate_failure);
    else if (now >= supersede_ms(m) && !master_is_stopping(m))
        supersede(m, now);
}

static void decide_preparation(struct master *m, uint64_t now)
{
    if (m->prepare.state == PREPARE_DONE)
        try_candidate(m);
    else if (m->prepare.state == PREPARE_FAILED)
        has_failed(m, m->prepare.err.text);
    else if (is_preparing(m) && now >= m->prepare_by_ms)
        prepare_is_late(m);
    else if (now >= supersede_ms(m))
        supersede(m, now);
    else if (m->prepare.state == PREPARE_WAITS && now >= m->prepare.retry_ms)
        prepare(m);
}

static void decide_roll(struct master *m)
{
    char *why = m->roll_failure;

    m->roll_failure = NULL;
    if (m->rolling && why)
        roll_has_failed(m, why);
    else if (m->rolling && plan_has_rolled(&m->plan) && !procs_may_accept(m, m->plan.generation))
        note_reload_done(m);
    free(why);
}

void reload_decide(struct master *m, uint64_t now)
{
    if (master_is_stopping(m))
        prepare_end(&m->prepare);
    if (m->plan.stopping)
        return;
    if (m->candidate)
        decide_candidate(m, now);
    else
        decide_preparation(m, now);
    decide_roll(m);
}
