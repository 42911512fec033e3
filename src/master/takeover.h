/* SPDX-License-Identifier: MIT
 *
 * takeover - an upgrade in the pass of the two masters: what each of them changes in itself. The old
 * one starts the new program (upgrade/upgrade.h) and hands its files over; the new one
 * (upgrade/successor.h) takes them when the old one stops or has ended.
 */
#ifndef GCORN_MASTER_TAKEOVER_H
#define GCORN_MASTER_TAKEOVER_H

#include <stdbool.h>
#include <sys/types.h>

struct error;
struct master;

/* Begins an upgrade. Returns 0, or -1 with err: nothing has begun. The result is logged, and sent
 * to the clients of the control socket that wait for it. */
int takeover_begin(struct master *m, bool hands_over, struct error *err);

/* A step of the master's pass: acts on what the other master, older or newer, has said. */
void takeover_act(struct master *m);

/* A later step: the new master reports when all its workers serve, and takes the pid file and the
 * control socket when that is due. */
void takeover_proceed(struct master *m);

/* Answers the clients that wait for the upgrade, once this master stops and none of its workers
 * accepts new connections any more. */
void takeover_tell(struct master *m);

/* This master is to stop, perhaps after drain_delay: cancels an upgrade whose new master does not
 * serve yet, and answers the clients that wait for it. */
void takeover_cancel(struct master *m);

/* Before this master stops: hands the pid file and the control socket to the successor; without
 * one, cancels the upgrade. */
void takeover_leave(struct master *m);

/* A child was reaped. If it was the new program, ends or rolls back the upgrade and returns
 * true. */
bool takeover_reaped(struct master *m, pid_t pid, int status);

/* WINCH: workers finish, the master stays; ignored unless a successor serves or the master is a
 * daemon, which has no terminal. Afterwards HUP starts the workers again with the same generation:
 * takeover_resume, which returns false when no workers were retired. */
void takeover_retire_workers(struct master *m);
bool takeover_resume(struct master *m);

#endif
