/* SPDX-License-Identifier: MIT
 *
 * loop - an event loop that is known to work. libev says nothing when the kernel refuses a
 * descriptor (epoll_ctl: the limit of watches, fs.epoll.max_user_watches): it stops the watcher,
 * and a process whose signals or orders come through it is deaf. And where epoll cannot be had it
 * takes poll(2), which costs with each connection.
 */
#ifndef GCORN_SYSTEM_PROCESS_LOOP_H
#define GCORN_SYSTEM_PROCESS_LOOP_H

struct error;
struct ev_loop;

/* A loop with epoll; NULL with err (EXIT_FAILED). */
struct ev_loop *loop_new(struct error *err);

/* Do signals and ev_async_send wake the loop? Turns it twice, so callbacks of watchers that have
 * been started may run. 0, or -1 with err (EXIT_FAILED). Does not block. */
int loop_try(struct ev_loop *loop, struct error *err);

/* Makes the watchers that have been started known to the kernel, and calls none. Those that it
 * refuses are not active then (ev_is_active). Does not block. */
void loop_register(struct ev_loop *loop);

#endif
