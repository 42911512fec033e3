/* SPDX-License-Identifier: MIT
 *
 * reopen - after a rotation: the master opens the log files again, and every process that has them
 * open is given the new ones, so that none keeps a file that was removed.
 */
#ifndef GCORN_MASTER_REOPEN_H
#define GCORN_MASTER_REOPEN_H

struct error;
struct master;

/* The logs of all generations; what cannot be opened stays as it was. Does not wait until the
 * processes have taken them. 0, or -1 with the first error, all of which are logged. */
int reopen_logs(struct master *m, struct error *err);

#endif
