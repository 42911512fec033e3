/* SPDX-License-Identifier: MIT
 *
 * output - what the application in a worker prints (capture_output): its standard output and error
 * are a pipe to the master, who makes log lines of what comes. So the lines have the worker's pid
 * and the log's format, and its last words are read after its death.
 *
 * The master only ever reads what is there. A worker that prints faster than the master logs waits,
 * as it would for a slow terminal.
 */
#ifndef GCORN_MASTER_POSTMORTEM_OUTPUT_H
#define GCORN_MASTER_POSTMORTEM_OUTPUT_H

#include <ev.h>
#include <sys/types.h>

struct output;

/* Makes the pipe; *worker_fd is the worker's end. NULL with errno. */
struct output *output_new(int *worker_fd);

/* In the worker: prints into the pipe from here on. Takes worker_fd. What else standard output and
 * error are used for must have moved away. 0, or -1 with errno. */
int output_redirect(int worker_fd);

/* In the master: logs what process pid prints, as long as the loop turns. */
void output_watch(struct output *o, struct ev_loop *loop, pid_t pid);

/* In the master, when the worker prints no more: logs all that is there. NULL is allowed. */
void output_take(struct output *o);

/* In the master, when the worker is dead: logs what it left. Children of it that still have the
 * pipe are no reason to read on: what they print from now on is lost. Frees o. NULL is allowed. */
void output_end(struct output *o);

#endif
