/* SPDX-License-Identifier: MIT
 *
 * reload - a reload as a transaction: the new settings are read and all files and addresses that
 * they name are opened, then one worker (the canary) is booted with them, and they take effect only
 * when it is READY. Until then, and after any failure, the current generation goes on unchanged.
 */
#ifndef GCORN_MASTER_RELOAD_H
#define GCORN_MASTER_RELOAD_H

#include <stdbool.h>
#include <stdint.h>

struct config;
struct error;
struct generation;
struct master;

/* HUP: notes that a reload is wanted. Ignored while the server stops. */
void reload_request(struct master *m);

/* A step of the master's pass: takes a reload one step further.
 *
 * A prepared generation becomes the candidate, and its canary boots. When the canary is READY the
 * candidate becomes the current generation; when it fails, the candidate is dropped. After that,
 * the reload is done when all workers are replaced and no older process accepts connections; it has
 * failed when one of the new workers did not boot.
 *
 * Gives up a reload whose preparation takes longer than boot_timeout. For a newer HUP, gives up one
 * that has been preparing or booting for RELOAD_PATIENCE_MS without serving a client: clients of
 * the control socket that wait for it get the outcome of the next one. A server that stops prepares
 * nothing. */
enum { RELOAD_PATIENCE_MS = 2000 };
void reload_decide(struct master *m, uint64_t now);

/* A step of the master's pass: begins the reload that is wanted, unless another one is under way or
 * a new master boots. */
void reload_begin(struct master *m);

/* The time when reload_decide is due without an event; NO_DEADLINE: never. */
uint64_t reload_wake_ms(const struct master *m);

/* True while a reload is being prepared, or its candidate boots. */
bool reload_is_trying(const struct master *m);

/* The work of the process that prepares one (prepare.h). */
void reload_prepare(void *master, int fd);

/* How an operator gets room for more workers than plan_most_workers, which a reload cannot change:
 * text for the end of an error. Static. */
const char *reload_how_to_make_room(void);

/* Drops the candidate, if there is one, and the preparation. */
void reload_drop(struct master *m);

/* Changes back to the directory and umask of the current generation. */
void reload_enter_current(struct master *m);

/* Open the master's own files (pid file, control socket) that these settings name, if they differ
 * from the present ones, which stay open: reload_apply_files swaps them. 0, or -1 with err. */
int reload_open_pidfile(struct master *m, const struct generation *g, struct error *err);
int reload_open_control(struct master *m, const struct config *cfg, struct error *err);

void reload_apply_files(struct master *m);

/* Shared by start and reload: applies the current settings to the master itself; raises the limit
 * of open files for a generation; sets the interval of health checks from the timeouts of all
 * generations that still have processes. */
void reload_apply(struct master *m);
void reload_raise_limits(const struct master *m, const struct generation *g);
void reload_set_tick(struct master *m);

#endif
