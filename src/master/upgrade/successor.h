/* SPDX-License-Identifier: MIT
 *
 * successor - the new master's part of an upgrade: it starts with the sockets that the old master
 * hands over (system/ipc/handover.h); upgrade.h has the old master's part. The inherited sockets
 * are held by a generation without workers, the predecessor; the first generation of this master
 * follows it as after a reload.
 *
 * Until it is promoted, this master uses PIDFILE.2 and has no control socket, and it ends if its
 * first workers do not boot. It is promoted when the old master says so or has ended.
 */
#ifndef GCORN_MASTER_UPGRADE_SUCCESSOR_H
#define GCORN_MASTER_UPGRADE_SUCCESSOR_H

#include <ev.h>
#include <stdbool.h>

#include "system/ipc/handover.h"
#include "system/net/listener.h"

struct error;
struct generation;
struct start;

struct successor {
    struct handover from;    /* the part not taken yet; not received: an ordinary start */
    bool predecessor_leaves; /* noted: the old master stops, or has ended */
    bool predecessor_ended;
    bool has_news;                  /* something was noted */
    bool is_promoted;               /* this is the only master */
    bool files_are_due;             /* promoted, but without the pid file and control socket */
    bool files_failed;              /* at least once; logged */
    bool has_reported;              /* to the old master: its workers serve, or failed */
    struct generation *predecessor; /* kept for its sockets; NULL: not any more */
    struct listener control;        /* the old master's, until this one serves it */
    struct ev_io io;                /* a message of the old master, or its end */
};

/* Call before anything is opened; takes *from. Returns 0, or -1 with err. Reads the settings, so it
 * may block. */
int successor_begin(struct successor *successor, const struct start *start, struct handover *from,
                    struct error *err);

/* Call when the master is about to run its loop: hears the old master from then on. */
void successor_start(struct successor *successor, struct ev_loop *loop);

/* Promotes this master, whose generation is `current`, when the old one stops or has ended. */
void successor_act(struct successor *successor, struct generation *current);

/* Reports to the old master, which waits for it, that all workers serve. */
void successor_report_serving(struct successor *successor);

/* A worker did not boot: reports it to the old master while that waits for a report. True: this
 * master must end. */
bool successor_ends_with(struct successor *successor, const char *why);

/* True while the failed boot of a worker would still end this master. */
static inline bool successor_is_tried(const struct successor *successor)
{
    return successor->from.is_received && !successor->has_reported;
}

/* The path of the pid file before or after the promotion, to be freed by the caller; NULL: none. */
char *successor_pidfile(const struct successor *successor, const char *path);

/* Reports to the old master, if there is one, why this master fails. */
void successor_report_failure(const struct handover *from, const char *why);

/* At the end. */
void successor_close(struct successor *successor);

#endif
