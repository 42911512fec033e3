/* SPDX-License-Identifier: MIT
 *
 * requests - operators' requests to the master: by signals, and by the control socket
 * (operator/control.h). Most are only noted, for the master's pass. Reopening logs, an upgrade and
 * a dump begin at once, because the answer says whether they have begun; they start or end no
 * worker.
 */
#ifndef GCORN_MASTER_REQUESTS_H
#define GCORN_MASTER_REQUESTS_H

#include "master/operator/control.h"

struct master;

/* The commands of the control socket, for control_init with the master. */
extern const struct control_ops requests_control_ops;

/* HUP: a reload; after WINCH instead starts the workers again. */
void requests_hang_up(struct master *m);

/* TTIN, TTOU: changes the number of workers by that many, until a reload. Logs when it cannot. */
void requests_change_workers(struct master *m, int by);

/* A step of the pass: USR1, USR2, WINCH. */
void requests_act(struct master *m);

/* A dump is complete: answers the client of the control socket that waits for it. */
void requests_dump_done(void *control, uint64_t dump, const char *members, size_t len);

#endif
