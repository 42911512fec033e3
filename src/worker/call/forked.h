/* SPDX-License-Identifier: MIT
 *
 * forked - a child that the application forks, in a worker or in the template: what it keeps of the
 * server, and what happens when it returns to the server.
 *
 * It has the application's descriptors, 0 to 2 and the logs, and the body of the request that was
 * being served. Everything else is closed in it the moment it is forked: clients' connections,
 * listening sockets, the loop's descriptors, the channel to the master, bodies of other requests.
 * Shared memory is replaced by private memory, at the same address, since metrics of the
 * application point into it. gcorn.h's functions of a worker do nothing there.
 *
 * Such a child ends by _exit or exec. One that comes back instead, because its handler returns, is
 * ended with a line in the log: it would serve the parent's requests a second time.
 *
 * Children by vfork, posix_spawn, system and popen execute a program at once: there the server's
 * descriptors are close-on-exec.
 */
#ifndef GCORN_WORKER_CALL_FORKED_H
#define GCORN_WORKER_CALL_FORKED_H

#include <stdbool.h>

#include "worker/loop/upward.h"

struct error;
struct ev_loop;
struct worker;
struct worker_args;

/* In the template, before it loads the application: watches forks from now on. */
void forked_watch(const struct worker_args *args);

/* In a worker with its loop, before the application is loaded or, when it was preloaded, called. */
void forked_init(struct worker *w);

/* Makes the worker's loop (loop.h), tests it, and lets it open its own descriptors. NULL with
 * err. */
struct ev_loop *forked_new_loop(struct error *err);

/* True: the loop still has those descriptors. If the application has closed them, libev's next
 * iteration would fail an assertion. */
bool forked_has_loop(void);

/* The server itself forks, in a process with an application: while this is on, children of this
 * thread keep everything. Parent and child switch it off. */
void forked_by_server(bool on);

/* Ends a process that is known to be such a child. Async-signal-safe but for its line in the
 * log. */
void forked_end(void) __attribute__((noreturn));

/* To be called before a descriptor that the loop has watched is closed: removes it from the epoll
 * set. Else it would stay there, with events, as long as a forked child or another process of the
 * server has a copy of it, and libev would then make a new set. */
void forked_forget_fd(int fd);

#endif
