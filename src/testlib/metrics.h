/* SPDX-License-Identifier: MIT
 *
 * metrics - those of the application, in a slot as a worker has one. The server's own code makes
 * them and counts (worker/call/app_metrics.h).
 */
#ifndef GCORN_TESTLIB_METRICS_H
#define GCORN_TESTLIB_METRICS_H

#include <stddef.h>

#include "gcorn.h"

struct gcorn_metric;

/* gcorn_counter and its like (http/host.h). Any thread. */
struct gcorn_metric *test_counter(const char *name, const char *help);
struct gcorn_metric *test_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind);
struct gcorn_metric *test_histogram(const char *name, const char *help, const double *bounds,
                                    size_t count);

/* For a new worker: after one that was stopped every metric starts from 0. */
void metrics_restart(void);

#endif
