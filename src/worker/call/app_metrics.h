/* SPDX-License-Identifier: MIT
 *
 * metrics - the application's own counters, gauges and histograms (gcorn_counter and its like in
 * gcorn.h), kept in the worker's slot, where they survive the worker.
 */
#ifndef GCORN_WORKER_CALL_APP_METRICS_H
#define GCORN_WORKER_CALL_APP_METRICS_H

struct slot;

/* Metrics are made in this slot from now on. Without it (--check-config) there are none. */
void metrics_init(struct slot *slot);

#endif
