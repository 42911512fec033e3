/* SPDX-License-Identifier: MIT
 *
 * messages - the master's part of how workers reach each other (system/messages/): it makes the
 * memory for gcorn_publish and gcorn_shared, or takes over that of the master before an upgrade, and
 * frees the rings of workers that are gone. It reads no message.
 */
#ifndef GCORN_MASTER_MESSAGES_H
#define GCORN_MASTER_MESSAGES_H

struct config;
struct master;

/* At the start: sets m->bus, with a ring for each of so many workers, and m->shared_memory, by the
 * settings publish_buffer and shared_memory. If one of them cannot be made, the log has a line, and
 * the application's calls fail. */
void messages_open(struct master *m, unsigned workers_max);

/* Frees the rings of processes that are gone: after a worker has ended, and before one is started,
 * for those of a master that has died. */
void messages_sweep(struct master *m);

/* After a reload: logs which of the two settings it could not change. */
void messages_warn(const struct config *old, const struct config *now);

void messages_close(struct master *m);

#endif
