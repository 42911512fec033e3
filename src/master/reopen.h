/* SPDX-License-Identifier: MIT
 *
 * reopen - after a log rotation: the master opens the log files again and sends them to every
 * process that has them open, so that no process keeps writing to a file that was rotated away.
 */
#ifndef GCORN_MASTER_REOPEN_H
#define GCORN_MASTER_REOPEN_H

struct error;
struct master;

/* Reopens the logs of all generations; a log that cannot be opened stays as it was. Does not wait
 * until the processes have taken them. Returns 0, or -1 with the first error; all are logged. */
int reopen_logs(struct master *m, struct error *err);

#endif
