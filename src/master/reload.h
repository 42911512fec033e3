/* SPDX-License-Identifier: MIT
 *
 * reload - a reload as a transaction: new settings are read and all that they name is opened, one
 * worker (the canary) is booted with them, and only when it is READY do they count. Until then, and
 * after any failure, the current generation goes on untouched.
 */
#ifndef GCORN_MASTER_RELOAD_H
#define GCORN_MASTER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct error;
struct generation;
struct master;

/* HUP. While one is under way, or a new master boots, the next is remembered; while the server
 * stops, nothing happens. */
void reload_begin(struct master *m);

/* Is one being prepared, or its candidate tried? */
bool reload_is_trying(const struct master *m);

/* Does what is due by now: takes what was prepared, gives up a reload whose preparation is late, or,
 * for a newer HUP, one that has prepared or booted for RELOAD_PATIENCE_MS and so serves no client
 * yet. Clients of the control socket that wait for the one that is given up get the outcome of the
 * next. A server that stops prepares nothing. reload_wake_ms: when something will be due
 * (NO_DEADLINE: at no time). */
enum { RELOAD_PATIENCE_MS = 2000 };
void reload_proceed(struct master *m, uint64_t now);
uint64_t reload_wake_ms(const struct master *m);

/* The work of the process that prepares one (prepare.h). */
void reload_prepare(void *master, int fd);

/* How an operator gets room for more workers than plan_most_workers, which a reload cannot change:
 * the end of a line that says so. Static. */
const char *reload_how_to_make_room(void);

/* What it waited for is over, whichever way that ended: begins the remembered one. */
void reload_begin_due(struct master *m);

/* The canary is READY: its generation counts from now on. */
void reload_commit(struct master *m);

/* It is not, because of why: everything is as before. */
void reload_failed(struct master *m, const char *why);

/* The new generation counts, but one of its workers did not boot. */
void reload_roll_failed(struct master *m, const char *why);

/* All its workers are there, and no older process accepts connections (procs_may_accept). */
void reload_note_done(struct master *m);

/* Lets go of a candidate, if there is one. */
void reload_drop(struct master *m);

/* The directory and umask of the current generation are the master's again, after another's were.
 */
void reload_enter_current(struct master *m);

/* Open the master's own files as these settings want them, if those are others than there are now
 * (or none any more), without letting go of these: reload_apply_files swaps them. 0, or -1 with
 * err. */
int reload_open_pidfile(struct master *m, const struct generation *g, struct error *err);
int reload_open_control(struct master *m, const struct config *cfg, struct error *err);

void reload_apply_files(struct master *m);

/* What start and reload share: puts what is the master's own in order with the settings that now
 * count; makes room for a generation's descriptors; judges as often as the
 * timeouts of all living generations ask for. */
void reload_apply(struct master *m);
void reload_raise_limits(const struct master *m, const struct generation *g);
void reload_set_tick(struct master *m);

#endif
