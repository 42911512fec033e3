/* SPDX-License-Identifier: MIT
 *
 * See app_metrics.h. A metric is complete before the count makes it visible, and is never removed,
 * so readers in other processes need no lock; threads of one process that create metrics do. The
 * definition of a metric is in private memory; the slot has a copy of it, which another process may
 * damage, and the numbers.
 */
#include "worker/call/app_metrics.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/util.h"
#include "gcorn.h"
#include "system/ipc/metric_slots.h"
#include "system/ipc/scoreboard.h"

struct gcorn_metric {
    struct slot_metric is;     /* name, kind and bounds */
    struct slot_metric *shown; /* in the slot: its numbers count */
};

/* The data of gcorn.h's functions that get no environ. */
static struct {
    struct slot *slot; /* NULL: there are no metrics */
    struct gcorn_metric table[SLOT_METRICS];
    uint32_t count;
    pthread_mutex_t making; /* held while a metric is looked for and added */
} self = {.making = PTHREAD_MUTEX_INITIALIZER};

void metrics_init(struct slot *slot)
{
    self.slot = slot;
    self.count = 0;
}

static struct gcorn_metric *add_metric(const struct slot_metric *wanted)
{
    assert(self.slot && self.count < SLOT_METRICS);
    struct gcorn_metric *m = &self.table[self.count];
    struct slot_metric *shown = &self.slot->metrics[self.count++];

    *m = (struct gcorn_metric){.is = *wanted, .shown = shown};
    *shown = *wanted;
    atomic_store_explicit(&self.slot->metric_count, self.count, memory_order_release);
    return m;
}

/* Finds the metric with this name, or adds one; NULL with errno. */
static struct gcorn_metric *find_or_add(const struct slot_metric *wanted)
{
    for (uint32_t i = 0; i < self.count; i++) {
        struct gcorn_metric *m = &self.table[i];

        bool has_name = strcmp(m->is.name, wanted->name) == 0;
        if (has_name && metric_is_same(&m->is, wanted))
            return m;
        if (has_name || !metrics_go_together(&m->is, wanted)) {
            errno = EINVAL;
            return NULL;
        }
    }
    if (self.count == SLOT_METRICS) {
        errno = ENOSPC;
        return NULL;
    }
    return add_metric(wanted);
}

static struct gcorn_metric *make(enum slot_metric_type type, const char *name, const char *help,
                                 const double *bounds, size_t count)
{
    struct slot_metric wanted = {.type = type, .bound_count = (uint32_t)count};

    if (!self.slot) {
        errno = ENOTSUP;
        return NULL;
    }
    if (!name || strlen(name) >= sizeof(wanted.name) || !metric_name_is_valid(name, type) ||
        !metric_bounds_are_valid(bounds, count)) {
        errno = EINVAL;
        return NULL;
    }
    slot_set_text(wanted.name, sizeof(wanted.name), name, strlen(name));
    slot_set_text(wanted.help, sizeof(wanted.help), help ? help : "", help ? strlen(help) : 0);
    if (count > 0)
        memcpy(wanted.bounds, bounds, count * sizeof(bounds[0]));
    (void)pthread_mutex_lock(&self.making);
    struct gcorn_metric *m = find_or_add(&wanted);
    (void)pthread_mutex_unlock(&self.making);
    return m;
}

struct gcorn_metric *metrics_counter(const char *name, const char *help)
{
    return make(SLOT_COUNTER, name, help, NULL, 0);
}

struct gcorn_metric *metrics_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind)
{
    static const enum slot_metric_type types[] = {[GCORN_GAUGE_SUM] = SLOT_GAUGE,
                                                  [GCORN_GAUGE_MAX] = SLOT_GAUGE_MAX,
                                                  [GCORN_GAUGE_LAST] = SLOT_GAUGE_LAST};

    if ((size_t)kind < ARRAY_LEN(types))
        return make(types[kind], name, help, NULL, 0);
    errno = EINVAL;
    return NULL;
}

struct gcorn_metric *metrics_histogram(const char *name, const char *help, const double *bounds,
                                       size_t count)
{
    return make(SLOT_HISTOGRAM, name, help, bounds, count);
}

/* Skips a step after which the sum would be infinite or NaN: it would stay so, even after the
 * worker has ended. */
static void add(_Atomic double *to, double amount)
{
    double before = atomic_load_explicit(to, memory_order_relaxed);

    while (isfinite(before + amount) &&
           !atomic_compare_exchange_weak_explicit(to, &before, before + amount,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

/* Notes that a gauge was set, where that matters. */
static void note_set(struct gcorn_metric *m)
{
    if (m->is.type == SLOT_GAUGE_MAX || m->is.type == SLOT_GAUGE_LAST)
        atomic_store_explicit(&m->shown->set_ns, now_ns(), memory_order_release);
}

void metrics_add(struct gcorn_metric *m, double amount)
{
    if (m->is.type == SLOT_HISTOGRAM || (m->is.type == SLOT_COUNTER && amount < 0))
        return;
    add(&m->shown->value, amount);
    note_set(m);
}

void metrics_set(struct gcorn_metric *m, double value)
{
    if (m->is.type == SLOT_COUNTER || m->is.type == SLOT_HISTOGRAM)
        return;
    atomic_store_explicit(&m->shown->value, value, memory_order_relaxed);
    note_set(m);
}

void metrics_observe(struct gcorn_metric *m, double value)
{
    uint32_t i = 0;

    if (m->is.type != SLOT_HISTOGRAM || !isfinite(value))
        return;
    while (i < m->is.bound_count && value > m->is.bounds[i])
        i++;
    atomic_fetch_add_explicit(&m->shown->buckets[i], 1, memory_order_relaxed);
    add(&m->shown->value, value);
}
