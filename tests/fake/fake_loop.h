/* SPDX-License-Identifier: MIT
 *
 * fake_loop - libev's functions over a clock and descriptors that a test scripts. What is linked
 * with it runs the server's real callbacks, in libev's order, without epoll, threads or waiting:
 * the same script always gives the same run.
 *
 * The time of now_ns(), now_ms() and time() is the script's too (linked with --wrap, see the
 * Makefile).
 */
#ifndef GCORN_TESTS_FAKE_FAKE_LOOP_H
#define GCORN_TESTS_FAKE_FAKE_LOOP_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>

/* Which of `wanted` (EV_READ, EV_WRITE) a descriptor is ready for; asked once a pass for each that
 * is watched. */
typedef int fake_ready_fn(int fd, int wanted);
void fake_loop_ask(fake_ready_fn *ready);

/* One pass, as ev_run(EVRUN_NOWAIT): prepare, poll, timers, check, callbacks by priority. */
void fake_loop_pass(struct ev_loop *loop);

/* True when ev_break was called since it was last asked. */
bool fake_loop_took_break(struct ev_loop *loop);

/* Time goes on; nothing is called before the next pass. */
void fake_loop_advance_ns(uint64_t ns);
uint64_t fake_loop_now_ms(void);

/* Back to where time began: no timer may be set. */
void fake_loop_reset_time(void);

/* In how many milliseconds the next timer is due; UINT64_MAX: there is none. */
uint64_t fake_loop_next_ms(struct ev_loop *loop);

/* Is a watcher of this descriptor active? */
bool fake_loop_watches(struct ev_loop *loop, int fd);

/* Frees what a loop holds; none of its watchers is called any more. */
void fake_loop_free(struct ev_loop *loop);

#endif
