/* SPDX-License-Identifier: MIT
 *
 * See metrics.h. A metric is whole before the count makes it known, and never goes, so readers in
 * other processes need no lock; makers of one process do.
 */
#include "worker/metrics.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "gcorn.h"
#include "system/metric.h"
#include "system/scoreboard.h"

/* What gcorn.h's functions, which have no environ, must reach. */
static struct slot *the_slot;
static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;

void metrics_init(struct slot *slot)
{
    the_slot = slot;
}

/* The one of this name, or a new one at the end; NULL with errno. */
static struct slot_metric *find_or_add(struct slot *s, const struct slot_metric *wanted)
{
    uint32_t count = atomic_load(&s->metric_count);

    for (uint32_t i = 0; i < count; i++) {
        struct slot_metric *m = &s->metrics[i];

        bool has_name = strcmp(m->name, wanted->name) == 0;
        if (has_name && metric_is_same(m, wanted))
            return m;
        if (has_name || !metrics_go_together(m, wanted)) {
            errno = EINVAL;
            return NULL;
        }
    }
    if (count == SLOT_METRICS) {
        errno = ENOSPC;
        return NULL;
    }
    s->metrics[count] = *wanted;
    atomic_store_explicit(&s->metric_count, count + 1, memory_order_release);
    return &s->metrics[count];
}

static struct gcorn_metric *make(enum slot_metric_type type, const char *name, const char *help,
                                 const double *bounds, size_t count)
{
    struct slot_metric wanted = {.type = type, .bound_count = (uint32_t)count};

    if (!the_slot) {
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
    (void)pthread_mutex_lock(&making);
    struct slot_metric *m = find_or_add(the_slot, &wanted);
    (void)pthread_mutex_unlock(&making);
    return (struct gcorn_metric *)m;
}

struct gcorn_metric *gcorn_counter(const char *name, const char *help)
{
    return make(SLOT_COUNTER, name, help, NULL, 0);
}

struct gcorn_metric *gcorn_gauge(const char *name, const char *help)
{
    return make(SLOT_GAUGE, name, help, NULL, 0);
}

struct gcorn_metric *gcorn_histogram(const char *name, const char *help, const double *bounds,
                                     size_t count)
{
    return make(SLOT_HISTOGRAM, name, help, bounds, count);
}

/* A sum that is infinite or NaN would stay so for good, as it outlives the worker: such a step is
 * left out. */
static void add(_Atomic double *to, double amount)
{
    double before = atomic_load_explicit(to, memory_order_relaxed);

    while (isfinite(before + amount) &&
           !atomic_compare_exchange_weak_explicit(to, &before, before + amount,
                                                  memory_order_relaxed, memory_order_relaxed))
        continue;
}

void gcorn_metric_add(struct gcorn_metric *metric, double amount)
{
    struct slot_metric *m = (struct slot_metric *)metric;

    if (!m || m->type == SLOT_HISTOGRAM || (m->type == SLOT_COUNTER && amount < 0))
        return;
    add(&m->value, amount);
}

void gcorn_metric_set(struct gcorn_metric *metric, double value)
{
    struct slot_metric *m = (struct slot_metric *)metric;

    if (m && m->type == SLOT_GAUGE)
        atomic_store_explicit(&m->value, value, memory_order_relaxed);
}

void gcorn_metric_observe(struct gcorn_metric *metric, double value)
{
    struct slot_metric *m = (struct slot_metric *)metric;
    uint32_t i = 0;

    if (!m || m->type != SLOT_HISTOGRAM || !isfinite(value))
        return;
    while (i < m->bound_count && value > m->bounds[i])
        i++;
    atomic_fetch_add_explicit(&m->buckets[i], 1, memory_order_relaxed);
    add(&m->value, value);
}
