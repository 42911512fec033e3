/* SPDX-License-Identifier: MIT
 *
 * output - the text that the application in a worker prints (capture_output): the worker's standard
 * output and error are a pipe to the master, which writes each line to the log. So the lines have
 * the worker's pid and the log's format, and the last ones are read after the worker has ended.
 *
 * The master reads without blocking. A worker that prints faster than the master logs blocks in
 * write(2), as it would with a slow terminal.
 */
#ifndef GCORN_MASTER_POSTMORTEM_OUTPUT_H
#define GCORN_MASTER_POSTMORTEM_OUTPUT_H

#include <ev.h>
#include <sys/types.h>

struct output;

/* Makes the pipe; *worker_fd is the worker's end. NULL with errno. */
struct output *output_new(int *worker_fd);

/* In the worker: standard output and error are the pipe from here on. Takes worker_fd. The caller
 * has moved every other use of the two descriptors elsewhere. Returns 0, or -1 with errno. */
int output_redirect(int worker_fd);

/* In the master: logs what process pid prints, while the event loop runs. */
void output_watch(struct output *o, struct ev_loop *loop, pid_t pid);

/* In the master, when the worker prints no more: logs all that the pipe holds. NULL is allowed. */
void output_take(struct output *o);

/* In the master, when the worker has ended: logs what the pipe still holds and frees o. Children of
 * the worker that still have the pipe are not waited for: what they print later is lost. NULL is
 * allowed. */
void output_end(struct output *o);

#endif
