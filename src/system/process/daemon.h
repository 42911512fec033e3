/* SPDX-License-Identifier: MIT
 *
 * daemon - running in the background (--daemon). The process that was started waits until the daemon
 * serves or fails, and exits with the status that the daemon reports.
 */
#ifndef GCORN_SYSTEM_PROCESS_DAEMON_H
#define GCORN_SYSTEM_PROCESS_DAEMON_H

#include <stdbool.h>

struct error;

/* Forks, and returns in the daemon only: it has its own session, no terminal, stdin and stdout on
 * /dev/null, and of the descriptors that the starter left open it keeps the listening sockets alone.
 * stderr stays until daemon_report, for errors of the start; the directory and the umask stay.
 * The first process waits in this call. It exits with the status of daemon_report, or with
 * EXIT_FAILED when the daemon dies without a report.
 * To be called before any thread, event loop or pid file exists: they do not survive the fork.
 * Returns 0, or -1 with err. */
int daemon_start(struct error *err);

/* Tells the waiting process its exit status: 0 once requests are served. Then puts stderr on
 * /dev/null, also where the error log is there: the starter may wait until all copies of it are
 * closed (ssh does). Only the first call counts, and only in a daemon. Does not block. */
void daemon_report(int status);

/* Is this a daemon that has not reported yet? */
bool daemon_is_starting(void);

/* In a child of such a daemon: closes the socket to the waiting process, which would otherwise not
 * notice the death of the master, and puts stderr on /dev/null, since the child outlives the
 * report. */
void daemon_forget(void);

#endif
