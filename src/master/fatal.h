/* SPDX-License-Identifier: MIT
 *
 * leave - the one way out of a master that cannot go on: memory is out, in its own code or in
 * libev's, or the kernel fails the event loop. The files that it has made are removed, one line
 * says why, and the exit status is EXIT_FAILED. The workers see its end, finish and leave.
 */
#ifndef GCORN_MASTER_FATAL_H
#define GCORN_MASTER_FATAL_H

struct master;

/* From here on a failed allocation, and a failure of libev, leaves. Once at the start, with NULL,
 * and again with the master, in the process that it is. Its children abort instead, as a worker's
 * crash handler expects. */
void leave_prepare(struct master *m);

#endif
