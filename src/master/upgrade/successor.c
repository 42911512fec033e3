/* SPDX-License-Identifier: MIT
 *
 * See successor.h.
 */
#include "master/upgrade/successor.h"

#include <assert.h>
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
#include "master/generation/generation.h"
#include "master/generation/listeners.h"
#include "master/generation/start.h"
#include "master/upgrade/upgrade.h"
#include "settings/config.h"

/* ---- reports to the old master ----------------------------------------------------------- */

static void report(const struct handover *from, enum upgrade_word word, const char *text)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    int len = snprintf(packet, sizeof(packet), "%c%s", word, text);

    if (len >= (int)sizeof(packet))
        len = sizeof(packet) - 1;
    if (from->report_fd >= 0) /* else the old master has ended */
        (void)send(from->report_fd, packet, (size_t)len, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void successor_report_failure(const struct handover *from, const char *why)
{
    report(from, UPGRADE_FAILS, why);
}

/* ---- beginning --------------------------------------------------------------------------- */

static int take_control(struct successor *successor, struct error *err)
{
    for (size_t i = 0; i < successor->from.socket_count; i++) {
        struct handover_socket *s = &successor->from.sockets[i];

        if (s->use != HANDOVER_CONTROL)
            continue;
        if (handover_take_socket(s, &successor->control, err) < 0)
            return -1;
        successor->control.lent = !successor->is_promoted;
    }
    return 0;
}

int successor_begin(struct successor *successor, const struct start *start, struct handover *from,
                    struct error *err)
{
    struct sources sources = {0};
    struct config config;

    successor->from = *from;
    successor->control.fd = -1;
    successor->is_promoted = !from->is_received;
    if (!from->is_received)
        return 0;
    int loaded = start_load_config(start, NULL, &sources, &config, err);
    sources_release(&sources);
    if (loaded < 0)
        return -1;
    successor->predecessor = generation_inherit(from->generation, &config, &successor->from, err);
    return successor->predecessor ? take_control(successor, err) : -1;
}

/* ---- promotion --------------------------------------------------------------------------- */

static void release_predecessor(struct successor *successor)
{
    generation_unref(successor->predecessor, true);
    successor->predecessor = NULL;
}

static void promote(struct successor *successor, struct generation *current)
{
    assert(!successor->is_promoted && successor->predecessor);
    successor->is_promoted = successor->files_are_due = true;
    successor->control.lent = false;
    listeners_lend(current, false);
    listeners_apply_backlog(current); /* the old master's applied until now */
    release_predecessor(successor);
}

static void on_old_master(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct successor *s = io->data;
    char word;
    ssize_t n = recv(s->from.report_fd, &word, 1, MSG_DONTWAIT);

    (void)revents;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n > 0 && word != UPGRADE_TAKE_OVER)
        return;
    ev_io_stop(loop, io);
    s->predecessor_leaves = s->has_news = true;
    s->predecessor_ended = n <= 0;
}

void successor_act(struct successor *s, struct generation *current)
{
    if (!s->predecessor_leaves)
        return;
    s->predecessor_leaves = false;
    fd_close(&s->from.report_fd);
    log_info("Upgrade: the old master (pid:%d) %s; this one serves alone", (int)s->from.pid,
             s->predecessor_ended ? "has ended" : "is stopping");
    promote(s, current);
}

void successor_start(struct successor *successor, struct ev_loop *loop)
{
    if (successor->from.report_fd < 0)
        return;
    ev_io_init(&successor->io, on_old_master, successor->from.report_fd, EV_READ);
    successor->io.data = successor;
    ev_io_start(loop, &successor->io);
}

/* ---- the first workers ------------------------------------------------------------------- */

void successor_report_serving(struct successor *successor)
{
    assert(successor_is_tried(successor));
    successor->has_reported = true;
    report(&successor->from, UPGRADE_SERVES, "");
}

bool successor_ends_with(struct successor *successor, const char *why)
{
    if (!successor_is_tried(successor))
        return false;
    successor_report_failure(&successor->from, why);
    successor->has_reported = true;
    return !successor->is_promoted;
}

/* ---- the rest ---------------------------------------------------------------------------- */

char *successor_pidfile(const struct successor *successor, const char *path)
{
    if (!path)
        return NULL;
    return successor->is_promoted ? xstrdup(path) : xasprintf("%s.2", path);
}

void successor_close(struct successor *successor)
{
    generation_unref(successor->predecessor, true);
    successor->predecessor = NULL;
    listener_close(&successor->control, true);
    handover_release(&successor->from);
}
