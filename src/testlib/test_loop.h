/* SPDX-License-Identifier: MIT
 *
 * test_loop - timers, posts and threads of an application in a test: libgcorn-test's part of what a
 * worker's loop does (gcorn_test.h says when).
 */
#ifndef GCORN_TESTLIB_TEST_LOOP_H
#define GCORN_TESTLIB_TEST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "gcorn.h"

/* The calling thread is the test's; wake has a loop that sleeps look again (any thread). */
void test_loop_init(void (*wake)(void));

/* gcorn_timer_once and others (http/host.h). */
struct gcorn_timer *test_timer_start(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg);
void test_timer_stop(struct gcorn_timer *timer);
int test_post(gcorn_call_fn *fn, void *arg);
int test_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg);

/* Stops all timers. */
void test_stop_timers(void);

/* When the next timer is due, on gcorn_now()'s clock; UINT64_MAX: none is set. */
uint64_t test_timer_next_ms(void);

/* Calls each timer that is due, but none that these calls set. True: there was one. */
bool test_run_timers(void);

/* Calls the posts that have come, but none that these calls make. True: there was one. */
bool test_run_posts(void);

/* Has all threads end, runs posts meanwhile, and joins them. */
void test_stop_threads(void);

#endif
