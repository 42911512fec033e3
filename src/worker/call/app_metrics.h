/* SPDX-License-Identifier: MIT
 *
 * app_metrics - the application's own counters, gauges and histograms (gcorn_counter and its like in
 * gcorn.h), kept in the worker's slot, where they survive the worker.
 */
#ifndef GCORN_WORKER_CALL_APP_METRICS_H
#define GCORN_WORKER_CALL_APP_METRICS_H

#include <stddef.h>

#include "gcorn.h"

struct gcorn_metric;
struct slot;

/* Metrics are made in this slot from now on. Without a slot (--check-config, a child that the
 * application has forked) the application has no metrics, and no lock is taken: in a child another
 * thread may have held it. */
void metrics_init(struct slot *slot);

/* gcorn_counter and its like (http/host.h). The metric of the last three is never NULL. */
struct gcorn_metric *metrics_counter(const char *name, const char *help);
struct gcorn_metric *metrics_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind);
struct gcorn_metric *metrics_histogram(const char *name, const char *help, const double *bounds,
                                       size_t count);
void metrics_add(struct gcorn_metric *m, double amount);
void metrics_set(struct gcorn_metric *m, double value);
void metrics_observe(struct gcorn_metric *m, double value);

#endif
