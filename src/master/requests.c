/* SPDX-License-Identifier: MIT
 *
 * See requests.h.
 */
#include "master/requests.h"

#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/postmortem/dump.h"
#include "master/reload.h"
#include "master/reopen.h"
#include "master/state.h"
#include "master/stats_update.h"
#include "master/takeover.h"

/* ---- signals ----------------------------------------------------------------------------- */

/* Changes the number of workers until a reload. Returns 0, or -1 with err: unchanged. */
static int want_workers(struct master *m, int64_t number, struct error *err)
{
    unsigned room = plan_most_workers(&m->plan);

    if (number < 1)
        return error_set(err, EXIT_FAILED, "cannot go below 1");
    if (number > room)
        return error_set(err, EXIT_FAILED,
                         "this master has room for %u workers; after a change of the setting "
                         "workers, %s",
                         room, reload_how_to_make_room());
    if (m->workers_before == 0)
        m->workers_before = m->plan.workers;
    m->plan.workers = (unsigned)number;
    m->is_due = true;
    log_info("%u workers wanted", m->plan.workers);
    return 0;
}

void requests_change_workers(struct master *m, int by)
{
    struct error err;

    if (want_workers(m, (int64_t)m->plan.workers + by, &err) < 0)
        log_warnx("workers: %s", err.text);
}

void requests_hang_up(struct master *m)
{
    if (!takeover_resume(m))
        reload_request(m);
}

void requests_act(struct master *m)
{
    struct error err;

    if (m->reopen_requested)
        (void)reopen_logs(m, &err); /* the log has the errors */
    if (m->upgrade_requested && takeover_begin(m, false, &err) < 0)
        log_warnx("USR2 is ignored: %s", err.text);
    if (m->retire_requested)
        takeover_retire_workers(m);
    m->reopen_requested = m->upgrade_requested = m->retire_requested = false;
}

void requests_dump_done(void *control, uint64_t dump, const char *members, size_t len)
{
    control_dump_done(control, dump, members, len);
}

/* ---- the control socket ------------------------------------------------------------------ */

/* Shows a stop as soon as it is certain. */
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

/* A reload under way may have read the files before the operator changed them for this one. */
static uint64_t asked_for_next_reload(void *master)
{
    const struct master *m = master;

    return master_is_stopping(m) ? 0 : m->reloads_begun + 1;
}

static void asked_to_reload(void *master)
{
    log_info("Control socket: reload");
    reload_request(master);
}

static void asked_to_stop(void *master)
{
    log_info("Control socket: stop");
    master_note_stop(master, STOP_GRACEFULLY, EXIT_STOPPED);
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
        log_warnx("workers: %s", err->text);
        return -1;
    }
    strbuf_addf(answer, "{\"ok\": true, \"workers_wanted\": %u, \"workers_setting\": %d}",
                m->plan.workers, config_of(m)->workers);
    return 0;
}

static int asked_to_reopen(void *master, struct error *err)
{
    log_info("Control socket: reopen");
    return reopen_logs(master, err);
}

static uint64_t asked_to_dump(void *master, pid_t pid, const char **why)
{
    struct master *m = master;

    return dump_begin(&m->dumps, pid, why);
}

static int asked_to_upgrade(void *master, struct error *err)
{
    log_info("Control socket: upgrade");
    return takeover_begin(master, true, err);
}

const struct control_ops requests_control_ops = {
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
