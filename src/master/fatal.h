/* SPDX-License-Identifier: MIT
 *
 * fatal - the end of a master that cannot go on: an allocation failed, in its own code or in libev,
 * or a system call of the event loop failed. It removes its pid file and sockets, logs one line
 * with the reason and exits with EXIT_FAILED. The workers notice that, finish their requests and
 * exit.
 */
#ifndef GCORN_MASTER_FATAL_H
#define GCORN_MASTER_FATAL_H

struct master;

/* From here on a failed allocation, or a failure in libev, ends the process as above. Called at the
 * start with NULL, and again with the master, in the master's own process. Its children abort
 * instead, as a worker's crash handler expects. */
void leave_prepare(struct master *m);

#endif
