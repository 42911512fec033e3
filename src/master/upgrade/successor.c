/* SPDX-License-Identifier: MIT
 *
 * See successor.h.
 */
#include "master/upgrade/successor.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "master/procs.h"
#include "master/reload.h"
#include "master/state.h"
#include "master/upgrade/upgrade.h"
#include "system/process/process.h"

/* ---- telling the old master -------------------------------------------------------------- */

static void report(const struct handover *from, enum upgrade_word word, const char *text)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    int len = snprintf(packet, sizeof(packet), "%c%s", word, text);

    if (len >= (int)sizeof(packet))
        len = sizeof(packet) - 1;
    if (from->report_fd >= 0) /* who has ended needs no telling */
        (void)send(from->report_fd, packet, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void heir_report_failure(const struct handover *from, const char *why)
{
    report(from, UPGRADE_FAILS, why);
}

/* ---- beginning --------------------------------------------------------------------------- */

static int take_control(struct heir *heir, struct error *err)
{
    for (size_t i = 0; i < heir->from.socket_count; i++) {
        struct handover_socket *s = &heir->from.sockets[i];

        if (s->use != HANDOVER_CONTROL)
            continue;
        if (handover_take_socket(s, &heir->control, err) < 0)
            return -1;
        heir->control.lent = !heir->is_promoted;
    }
    return 0;
}

int heir_begin(struct master *m, struct handover *from, struct error *err)
{
    struct heir *heir = &m->heir;
    struct config config;

    heir->from = *from;
    heir->control.fd = -1;
    heir->is_promoted = !from->is_received;
    if (!from->is_received)
        return 0;
    if (start_load_config(m->start, NULL, &config, err) < 0)
        return -1;
    heir->former = generation_inherit(from->generation, &config, &heir->from, err);
    if (!heir->former || take_control(heir, err) < 0)
        return -1;
    m->last_generation = from->generation;
    return 0;
}

/* ---- becoming the only one --------------------------------------------------------------- */

static void let_go_of_former(struct heir *heir)
{
    generation_unref(heir->former, true);
    heir->former = NULL;
}

static void promote(struct master *m)
{
    struct heir *heir = &m->heir;

    heir->is_promoted = heir->files_are_due = true;
    heir->control.lent = false;
    generation_lend_listeners(m->current, false);
    generation_apply_backlog(m->current); /* until now the old master's counted */
    let_go_of_former(heir);
}

/* What the old master cannot yet have let go of, or a reload has in its hands, is tried again. */
static void take_files(struct master *m)
{
    struct heir *heir = &m->heir;
    struct error err;

    if (!heir->files_are_due || m->candidate || m->plan.stopping)
        return;
    if (reload_open_pidfile(m, m->current, &err) < 0 ||
        reload_open_control(m, config_of(m), &err) < 0) {
        if (!heir->files_failed)
            log_warnx("Upgrade: %s", err.text);
        heir->files_failed = true;
        pidfile_close(&m->next_pidfile);
        return;
    }
    reload_apply_files(m);
    listener_close(&heir->control, true); /* if other settings have left it over */
    heir->files_are_due = false;
}

static void on_old_master(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;
    struct handover *from = &m->heir.from;
    char word;
    ssize_t n = recv(from->report_fd, &word, 1, MSG_DONTWAIT);

    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && word != UPGRADE_TAKE_OVER)
        return;
    ev_io_stop(loop, io);
    fd_close(&from->report_fd);
    log_info("Upgrade: the old master (pid:%d) %s, this one is the only one", (int)from->pid,
             n > 0 ? "leaves" : "has ended");
    promote(m);
    master_reconcile(m);
}

void heir_start(struct master *m)
{
    struct heir *heir = &m->heir;

    if (heir->from.report_fd < 0)
        return;
    ev_io_init(&heir->io, on_old_master, heir->from.report_fd, EV_READ);
    heir->io.data = m;
    ev_io_start(m->loop, &heir->io);
}

/* ---- the first workers ------------------------------------------------------------------- */

static void all_serve(struct master *m)
{
    struct heir *heir = &m->heir;

    heir->has_reported = true;
    report(&heir->from, UPGRADE_SERVES, "");
}

bool heir_proceed(struct master *m)
{
    struct heir *heir = &m->heir;
    bool was_stopping = m->plan.stopping;

    if (!heir->from.is_received)
        return false;
    if (!heir->has_reported && !was_stopping && plan_has_rolled(&m->plan))
        all_serve(m);
    take_files(m);
    return m->plan.stopping != was_stopping;
}

bool heir_ends_with(struct master *m, const char *why)
{
    struct heir *heir = &m->heir;

    if (!heir_is_tried(heir))
        return false;
    heir_report_failure(&heir->from, why);
    heir->has_reported = true;
    return !heir->is_promoted;
}

/* ---- the rest ---------------------------------------------------------------------------- */

char *heir_pidfile(const struct heir *heir, const char *path)
{
    if (!path)
        return NULL;
    return heir->is_promoted ? xstrdup(path) : xasprintf("%s.2", path);
}

void heir_forget(struct heir *heir)
{
    fd_close(&heir->from.report_fd);
    fd_close(&heir->control.fd);
    handover_close_rest(&heir->from);
}

void heir_close(struct heir *heir)
{
    generation_unref(heir->former, true);
    heir->former = NULL;
    listener_close(&heir->control, true);
    handover_release(&heir->from);
}
