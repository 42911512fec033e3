/* SPDX-License-Identifier: MIT
 *
 * See metrics.h and gcorn_test.h.
 */
#include "testlib/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "base/util.h"
#include "gcorn_test.h"
#include "system/ipc/scoreboard.h"
#include "worker/call/app_metrics.h"

_Static_assert(SLOT_METRIC_BOUNDS == (int)GCORN_TEST_BOUNDS, "a test sees every bucket");

static struct {
    pthread_once_t once;
    struct slot *slot; /* NULL: no metric was made */
} self = {.once = PTHREAD_ONCE_INIT};

static void make_slot(void)
{
    self.slot = xcalloc(1, sizeof(*self.slot));
    metrics_init(self.slot);
}

struct gcorn_metric *test_counter(const char *name, const char *help)
{
    (void)pthread_once(&self.once, make_slot);
    return metrics_counter(name, help);
}

struct gcorn_metric *test_gauge(const char *name, const char *help, enum gcorn_gauge_kind kind)
{
    (void)pthread_once(&self.once, make_slot);
    return metrics_gauge(name, help, kind);
}

struct gcorn_metric *test_histogram(const char *name, const char *help, const double *bounds,
                                    size_t count)
{
    (void)pthread_once(&self.once, make_slot);
    return metrics_histogram(name, help, bounds, count);
}

/* Metric number i; NULL after the last one. */
static struct slot_metric *metric_at(size_t i)
{
    bool is_there = self.slot && i < atomic_load(&self.slot->metric_count);

    return is_there ? &self.slot->metrics[i] : NULL;
}

void metrics_restart(void)
{
    struct slot_metric *m;

    for (size_t i = 0; (m = metric_at(i)); i++) {
        atomic_store(&m->value, 0);
        for (size_t k = 0; k < ARRAY_LEN(m->buckets); k++)
            atomic_store(&m->buckets[k], 0);
    }
}

/* ---- what a test reads -------------------------------------------------------------------- */

static void read_metric(struct gcorn_test_metric *to, const struct slot_metric *from)
{
    *to = (struct gcorn_test_metric){.value = atomic_load(&from->value),
                                     .bound_count = from->bound_count};
    memcpy(to->bounds, from->bounds, sizeof(to->bounds));
    for (size_t i = 0; i <= from->bound_count; i++) {
        to->count += atomic_load(&from->buckets[i]);
        to->buckets[i] = to->count;
    }
}

bool gcorn_test_metric_read(const char *name, struct gcorn_test_metric *metric)
{
    const struct slot_metric *m;

    for (size_t i = 0; (m = metric_at(i)); i++) {
        if (strcmp(m->name, name) == 0) {
            read_metric(metric, m);
            return true;
        }
    }
    *metric = (struct gcorn_test_metric){.value = NAN};
    return false;
}

double gcorn_test_metric_value(const char *name)
{
    struct gcorn_test_metric metric;

    (void)gcorn_test_metric_read(name, &metric);
    return metric.value;
}
