/* SPDX-License-Identifier: MIT
 *
 * successor - a master that begins with what another left it (system/ipc/handover.h); upgrade.h is the
 * other one's part. The inherited sockets become a generation of their own, the predecessor: the
 * first own generation comes after it as after a reload.
 *
 * Until it is promoted, this master has PIDFILE.2 and no control socket, and its first workers
 * decide whether it stays. It is promoted when the old master says so, or has ended.
 */
#ifndef GCORN_MASTER_UPGRADE_SUCCESSOR_H
#define GCORN_MASTER_UPGRADE_SUCCESSOR_H

#include <ev.h>
#include <stdbool.h>

#include "system/ipc/handover.h"
#include "system/net/listener.h"

struct error;
struct generation;
struct master;

struct successor {
    struct handover from;    /* what is not taken out of it yet; not received: an ordinary start */
    bool predecessor_leaves; /* noted: it has said so, or has ended */
    bool predecessor_ended;
    bool is_promoted;               /* no other master has a say */
    bool files_are_due;             /* promoted, and its files are not the usual ones yet */
    bool files_failed;              /* once, and the log says so */
    bool has_reported;              /* that its workers serve, or that they will not */
    struct generation *predecessor; /* while it is kept for its sockets' sake */
    struct listener control;        /* the other's, until it is ours */
    struct ev_io io;                /* the old master says something, or has ended */
};

/* Before anything is opened; takes *from. 0, or -1 with err. */
int successor_begin(struct master *m, struct handover *from, struct error *err);

/* When the master is about to run. */
void successor_start(struct master *m);

/* Two steps of the master's pass. The old master leaves: this one is the only one from now on. */
void successor_act(struct master *m);

/* Says that all workers serve, when they do; puts the files in order, when that is due. */
void successor_proceed(struct master *m);

/* A worker did not boot: does that end this master? */
bool successor_ends_with(struct master *m, const char *why);

/* May a worker yet decide that nothing comes of this master? */
static inline bool successor_is_tried(const struct successor *successor)
{
    return successor->from.is_received && !successor->has_reported;
}

/* The pid file that is right for now, to be freed; NULL: none. */
char *successor_pidfile(const struct successor *successor, const char *path);

/* Tells the old master why nothing comes of it, if there is one to be told. */
void successor_report_failure(const struct handover *from, const char *why);

/* At the end. */
void successor_close(struct successor *successor);

#endif
