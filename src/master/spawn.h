/* SPDX-License-Identifier: MIT
 *
 * spawn - forking a worker so that nothing of the master, and nothing of a sibling, leaks into it.
 */
#ifndef GCORN_MASTER_SPAWN_H
#define GCORN_MASTER_SPAWN_H

#include <ev.h>

#include "master/operator/control.h"
#include "master/generation.h"
#include "master/upgrade/successor.h"
#include "master/postmortem/helper.h"
#include "master/prepare.h"
#include "master/proc.h"
#include "master/upgrade/upgrade.h"
#include "system/file/pidfile.h"
#include "system/ipc/scoreboard.h"

/* What of the master's a worker is made with, and what the child lets go of. */
struct spawner {
    struct plan *plan;
    struct procs *procs;
    struct prepare *prepare;
    struct scoreboard *scoreboard;
    struct stats *stats;
    struct ev_loop *loop;
    struct control *control;
    struct helpers *helpers;
    struct listener *next_control;
    struct pidfile *pidfile, *next_pidfile;
    const struct socket_activation *activation;
    struct upgrade *upgrade;
    struct successor *successor;
};

/* Forks g's template process (template.h): sets g->template. The child never returns. 0, or -1 with
 * errno. */
int spawn_template(const struct spawner *s, struct generation *g);

/* Forks a worker, or the admin process if that is whose number it is, for procs[place], which is
 * empty: fills it in. Where g has a template, a worker is ordered from that one. The
 * child never returns. 0, or -1 with errno. */
int spawn_worker(const struct spawner *s, int place, unsigned number, struct generation *g);

/* For --check-config: loads the application in a child, within boot_timeout and with a worker's
 * privileges, and tells what it says. 0, or -1 with err. */
int spawn_check_app(const struct config *config, const struct privileges *privileges,
                    struct error *err);

/* The same for where long request bodies go: makes a nameless file there, in a child that has
 * become the workers' user. */
int spawn_check_uploads(const struct config *config, const struct privileges *privileges,
                        struct error *err);

/* The same for crash_dir: opens it. 0 also when there is none. */
int spawn_check_crash_dir(const struct config *config, const struct privileges *privileges,
                          struct error *err);

#endif
