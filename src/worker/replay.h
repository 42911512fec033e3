/* SPDX-License-Identifier: MIT
 *
 * replay - the request of a file (crash_file.h) run again, for a debugger: --replay.
 */
#ifndef GCORN_WORKER_REPLAY_H
#define GCORN_WORKER_REPLAY_H

struct config;
struct error;

/* --replay: runs the request in config->action_path through the application in this process, which
 * does not fork, and writes the answer to standard output. Before it parses the request or loads
 * the application, this process takes the privileges of a worker, for good; the file, which must be
 * a regular one and no symbolic link, is opened by the caller's. Debuggers find the application
 * under its own name. A body that was cut is filled up with zeros. The request comes from 127.0.0.1
 * and is believed like one of a proxy in forwarded_allow_ips. 0, or -1 with err: EXIT_APP when the
 * application does not load or boot, EXIT_FAILED when the file holds no complete request that is in
 * order. To be called once in a process. */
int replay_run(const struct config *config, struct error *err);

#endif
