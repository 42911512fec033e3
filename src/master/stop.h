/* SPDX-License-Identifier: MIT
 *
 * stop - the end of the server: after drain_delay, when requests are answered, or at once. A step
 * of the master's pass.
 */
#ifndef GCORN_MASTER_STOP_H
#define GCORN_MASTER_STOP_H

#include <stdbool.h>
#include <stdint.h>

struct master;

/* Acts on the stop that was noted (master_note_stop), and on the end of drain_delay. */
void stop_decide(struct master *m, uint64_t now);

/* When the server stops and the workers have their orders: they serve the clients that are waiting
 * now; later clients are refused at once. */
void stop_listening(struct master *m);

/* True: a client waits to be accepted, or one was served before. */
bool stop_has_clients(const struct master *m);

#endif
