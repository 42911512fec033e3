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

/* HUP: notes that a reload is wanted. While the server stops, nothing happens. */
void reload_request(struct master *m);

/* Two steps of the master's pass. The outcome, as far as it is known: what was prepared is tried; its
 * canary is READY, and its generation counts from now on; or it fails, and all is as before; and
 * then, all workers are there, and no older process accepts connections; or one of them did not
 * boot. Gives up a reload whose preparation is late, or, for a newer HUP, one that has prepared or
 * booted for RELOAD_PATIENCE_MS and so serves no client yet: clients of the control socket that wait
 * for it get the outcome of the next. A server that stops prepares nothing. */
enum { RELOAD_PATIENCE_MS = 2000 };
void reload_decide(struct master *m, uint64_t now);

/* Begins the reload that is wanted, unless another one is under way or a new master boots. */
void reload_begin(struct master *m);

/* When a step will be due without an event; NO_DEADLINE: at no time. */
uint64_t reload_wake_ms(const struct master *m);

/* Is one being prepared, or its candidate tried? */
bool reload_is_trying(const struct master *m);

/* The work of the process that prepares one (prepare.h). */
void reload_prepare(void *master, int fd);

/* How an operator gets room for more workers than plan_most_workers, which a reload cannot change:
 * the end of a line that says so. Static. */
const char *reload_how_to_make_room(void);

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
 * count; makes room for a generation's descriptors; checks health as often as
 * the timeouts of all living generations ask for. */
void reload_apply(struct master *m);
void reload_raise_limits(const struct master *m, const struct generation *g);
void reload_set_tick(struct master *m);

#endif
