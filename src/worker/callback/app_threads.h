/* SPDX-License-Identifier: MIT
 *
 * app_threads - threads of the application that the worker starts and joins (gcorn_thread_start).
 */
#ifndef GCORN_WORKER_CALLBACK_APP_THREADS_H
#define GCORN_WORKER_CALLBACK_APP_THREADS_H

#include <stdbool.h>
#include <stdint.h>

#include "gcorn.h"

struct worker;

/* Threads can be started from now on. */
void app_threads_init(struct worker *w);

/* Joins the threads that have ended by themselves. The loop's thread. */
void app_threads_join_ended(struct worker *w);

/* The worker leaves: no further thread can be started. Calls stop of each, the latest first. */
void app_threads_stop(struct worker *w);

/* Then: runs posts until all threads have ended, at most until until_ms (now_ms()), and joins them.
 * False: some have not; it is logged, and the application's code may still run. */
bool app_threads_join(struct worker *w, uint64_t until_ms);

/* gcorn_thread_start of this process's worker (http/host.h). */
int app_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg);

#endif
