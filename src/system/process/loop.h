/* SPDX-License-Identifier: MIT
 *
 * loop - an event loop that is known to work. When the kernel refuses a descriptor (epoll_ctl: the
 * limit fs.epoll.max_user_watches), libev stops the watcher without an error, and the process never
 * sees its signals or commands. Without epoll libev uses poll(2), whose cost grows with each
 * connection.
 */
#ifndef GCORN_SYSTEM_PROCESS_LOOP_H
#define GCORN_SYSTEM_PROCESS_LOOP_H

struct error;
struct ev_loop;

/* Makes a loop with epoll; NULL with err (EXIT_FAILED). */
struct ev_loop *loop_new(struct error *err);

/* Checks that signals and ev_async_send wake the loop. Runs it twice without waiting, so callbacks
 * of started watchers may run. Returns 0, or -1 with err (EXIT_FAILED). */
int loop_try(struct ev_loop *loop, struct error *err);

/* Registers the started watchers with the kernel, without calling them. Those that it refuses are
 * inactive afterwards (ev_is_active). Does not block. */
void loop_register(struct ev_loop *loop);

#endif
