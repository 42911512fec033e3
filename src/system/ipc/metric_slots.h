/* SPDX-License-Identifier: MIT
 *
 * metric - the application's own numbers as they lie in slots: which are valid, and their sums. A
 * slot is untrusted: what is read from it here is a copy, checked, each number read once.
 */
#ifndef GCORN_SYSTEM_IPC_METRIC_SLOTS_H
#define GCORN_SYSTEM_IPC_METRIC_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system/ipc/scoreboard.h"

/* Is it a name of Prometheus' text format, with labels or without: name or name{label="value",...}?
 * Labels differ and do not begin with __, which is Prometheus' own: it would take none of our
 * metrics for the sake of one. Values are UTF-8, and escaped as the format wants it. The prefix
 * gcorn_ is ours, and the label le of a histogram is the histogram's. */
bool metric_name_is_valid(const char *name, enum slot_metric_type type);

/* Finite, rising, not too many? */
bool metric_bounds_are_valid(const double *bounds, size_t count);

/* Has it the same name, kind and bounds? Then one can be added to the other. */
bool metric_is_same(const struct slot_metric *a, const struct slot_metric *b);

/* The name without its labels, which is that of the family. */
size_t metric_family_len(const struct slot_metric *m);
bool metric_is_family(const struct slot_metric *a, const struct slot_metric *b);

/* May both be shown? Not if they are of one family and of different kinds, or one has the name of a
 * histogram's sample: that is its name with _bucket, _sum or _count behind it. */
bool metrics_go_together(const struct slot_metric *a, const struct slot_metric *b);

enum metric_filter { METRICS_ALL, METRICS_THAT_GROW };

/* Adds what a slot holds to a table of sums with room for `room` metrics, *count of them used: to
 * the same metric there, or as a new one at the end. THAT_GROW: without gauges. How many found no
 * room. */
unsigned metrics_sum(struct slot_metric *table, uint32_t *count, uint32_t room,
                     const struct slot *from, enum metric_filter filter);

/* The same from another table of sums. */
unsigned metrics_sum_table(struct slot_metric *table, uint32_t *count, uint32_t room,
                           const struct slot_metric *from, uint32_t from_count);

#endif
