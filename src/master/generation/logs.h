/* SPDX-License-Identifier: MIT
 *
 * logs - the log files and the syslog of a generation.
 */
#ifndef GCORN_MASTER_GENERATION_LOGS_H
#define GCORN_MASTER_GENERATION_LOGS_H

struct config;
struct error;
struct generation;
struct privileges;

/* Can the log files be opened? Makes and truncates nothing. 0, or -1 with what logs_open would say
 * in err. */
int logs_check(const struct config *config, const struct privileges *workers, struct error *err);

/* Opens what g's settings name. 0, or -1 with err; logs_close in either case. */
int logs_open(struct generation *g, struct error *err);
void logs_close(struct generation *g);

/* From here on the process logs where, what and how g says. */
void logs_use(struct generation *g);

/* Now and then: connects g's syslog again, for its workers too, when the daemon has come back. */
void logs_tend(struct generation *g);

/* Opens the log files again, under the same descriptor numbers; the process is in g's directory
 * then. 0, or -1 with err: those that could not be opened are as they were. */
int logs_reopen(struct generation *g, struct error *err);

/* The descriptor of a log to send to a process that has had the log since its fork: fd, which may
 * be another file by now; -1 when path means standard output or error, which stay. */
int logs_fd_to_send(const char *path, int fd);

#endif
