/* SPDX-License-Identifier: MIT
 *
 * metric_slots - the application's metrics in slots: which are valid, and their sums. A slot is
 * untrusted: each number is read once, and the copy is checked.
 */
#ifndef GCORN_SYSTEM_IPC_METRIC_SLOTS_H
#define GCORN_SYSTEM_IPC_METRIC_SLOTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system/ipc/scoreboard.h"

/* Is it a name in Prometheus' text format: name or name{label="value",...}? Labels must differ and
 * must not begin with __, which is reserved: Prometheus would refuse all metrics because of one.
 * Values are UTF-8, escaped as the format demands. The prefix gcorn_ is the server's, and the label
 * le of a histogram is not allowed. */
bool metric_name_is_valid(const char *name, enum slot_metric_type type);

/* Are they finite, ascending, and at most SLOT_METRIC_BOUNDS? */
bool metric_bounds_are_valid(const double *bounds, size_t count);

/* Do they have the same name, type and bounds, so that they can be added? */
bool metric_is_same(const struct slot_metric *a, const struct slot_metric *b);

/* The length of the name without its labels, which is that of the family. */
size_t metric_family_len(const struct slot_metric *m);
bool metric_is_family(const struct slot_metric *a, const struct slot_metric *b);

/* May both be shown? Not if they are of one family and different types, or if one is called like a
 * sample of the other, a histogram: its name followed by _bucket, _sum or _count. */
bool metrics_go_together(const struct slot_metric *a, const struct slot_metric *b);

enum metric_filter { METRICS_ALL, METRICS_THAT_STAY };

/* Adds the metrics of a slot to a table of sums with room for `room` metrics, of which *count are
 * used: to the same metric, or as a new one at the end. THAT_STAY: only those
 * that outlive their worker. Returns how many
 * found no room. */
unsigned metrics_sum(struct slot_metric *table, uint32_t *count, uint32_t room,
                     const struct slot *from, enum metric_filter filter);

/* The same for another table of sums. */
unsigned metrics_sum_table(struct slot_metric *table, uint32_t *count, uint32_t room,
                           const struct slot_metric *from, uint32_t from_count);

#endif
