/* SPDX-License-Identifier: MIT
 *
 * See metric_slots.h.
 */
#include "system/ipc/metric_slots.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/utf8.h"
#include "base/util.h"
#include "system/ipc/shared.h"

/* ---- names ------------------------------------------------------------------------------- */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* A colon may stand in the name of a metric, not in a label's. */
static const char *skip_name(const char *p, bool with_colons)
{
    const char *start = p;

    while (is_letter(*p) || (with_colons && *p == ':') || (p > start && *p >= '0' && *p <= '9'))
        p++;
    return p > start ? p : NULL;
}

/* Skips one UTF-8 character that is not a control character. NULL: anything else. */
static const char *skip_char(const char *p)
{
    uint32_t code;
    size_t used = utf8_decode(p, strnlen(p, 4), &code);

    return used > 0 && code >= 0x20 ? p + used : NULL;
}

/* Skips a label's value with its quotes. NULL: malformed. */
static const char *skip_value(const char *p)
{
    if (*p++ != '"')
        return NULL;
    while (p && *p != '"') {
        if (*p == '\\' && p[1] != '\\' && p[1] != '"' && p[1] != 'n')
            return NULL;
        p = *p == '\\' ? p + 2 : skip_char(p);
    }
    return p ? p + 1 : NULL;
}

/* Does the name before the '=' at end stand among the labels before it, from first on? They are
 * valid. */
static bool is_repeated(const char *first, const char *name, const char *end)
{
    size_t len = (size_t)(end - name);

    for (const char *p = first; p < name; p++) {
        const char *other = p;

        p = skip_name(p, false);
        if ((size_t)(p - other) == len && memcmp(other, name, len) == 0)
            return true;
        p = skip_value(p + 1);
    }
    return false;
}

/* Skips label="value"; the labels from first to p must have other names. NULL: malformed. */
static const char *skip_label(const char *first, const char *p, enum slot_metric_type type)
{
    const char *name = p;

    p = skip_name(p, false);
    if (!p || *p != '=' || strncmp(name, "__", 2) == 0 || is_repeated(first, name, p))
        return NULL;
    if (type == SLOT_HISTOGRAM && p - name == 2 && memcmp(name, "le", 2) == 0)
        return NULL;
    return skip_value(p + 1);
}

bool metric_name_is_valid(const char *name, enum slot_metric_type type)
{
    const char *p = skip_name(name, true);

    if (!p || strncmp(name, "gcorn_", 6) == 0)
        return false;
    if (*p == '\0')
        return true;
    if (*p != '{')
        return false;
    const char *first = p + 1;
    do
        p = skip_label(first, p + 1, type);
    while (p && *p == ',');
    return p && p[0] == '}' && p[1] == '\0';
}

bool metric_bounds_are_valid(const double *bounds, size_t count)
{
    if (count > SLOT_METRIC_BOUNDS)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(bounds[i]) || (i > 0 && bounds[i] <= bounds[i - 1]))
            return false;
    }
    return true;
}

/* ---- sums -------------------------------------------------------------------------------- */

/* Copies a metric out of a slot, whose worker may be counting on. False when it is not valid. */
static bool read_metric(const struct slot_metric *from, struct slot_metric *to)
{
    shared_load(to, from, sizeof(*to));
    to->name[sizeof(to->name) - 1] = to->help[sizeof(to->help) - 1] = '\0';
    return to->type < SLOT_METRIC_TYPES && to->bound_count <= SLOT_METRIC_BOUNDS &&
           metric_name_is_valid(to->name, (enum slot_metric_type)to->type) &&
           (to->type != SLOT_COUNTER || atomic_load(&to->value) >= 0) && /* false for NaN, too */
           atomic_load(&to->set_ns) <= now_ns() && /* else no later value would count */
           metric_bounds_are_valid(to->bounds, to->bound_count);
}

bool metric_is_same(const struct slot_metric *a, const struct slot_metric *b)
{
    return a->type == b->type && a->bound_count == b->bound_count &&
           strcmp(a->name, b->name) == 0 &&
           memcmp(a->bounds, b->bounds, a->bound_count * sizeof(a->bounds[0])) == 0;
}

size_t metric_family_len(const struct slot_metric *m)
{
    return strcspn(m->name, "{");
}

/* Is one of a histogram's samples called as the other's family? */
static bool has_sample_of(const struct slot_metric *histogram, const struct slot_metric *other)
{
    static const char *const suffixes[] = {"_bucket", "_sum", "_count"};

    if (histogram->type != SLOT_HISTOGRAM)
        return false;
    size_t len = metric_family_len(histogram), other_len = metric_family_len(other);
    if (other_len <= len || memcmp(histogram->name, other->name, len) != 0)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++) {
        if (strlen(suffixes[i]) == other_len - len &&
            memcmp(other->name + len, suffixes[i], other_len - len) == 0)
            return true;
    }
    return false;
}

bool metric_is_family(const struct slot_metric *a, const struct slot_metric *b)
{
    size_t len = metric_family_len(a);

    return len == metric_family_len(b) && memcmp(a->name, b->name, len) == 0;
}

bool metrics_go_together(const struct slot_metric *a, const struct slot_metric *b)
{
    if (metric_is_family(a, b))
        return a->type == b->type;
    return !has_sample_of(a, b) && !has_sample_of(b, a);
}

/* A gauge that no worker has set counts for nothing: its 0 would be greater than -1. */
static void choose(struct slot_metric *to, const struct slot_metric *from)
{
    uint64_t to_ns = atomic_load(&to->set_ns), from_ns = atomic_load(&from->set_ns);
    double ours = atomic_load(&to->value), theirs = atomic_load(&from->value);
    bool is_max = to->type == SLOT_GAUGE_MAX;

    if (from_ns == 0 || (to_ns != 0 && is_max && !(theirs > ours) && !isnan(ours)) ||
        (!is_max && from_ns <= to_ns))
        return;
    atomic_store(&to->value, theirs);
    atomic_store(&to->set_ns, from_ns);
}

static void add(struct slot_metric *to, const struct slot_metric *from)
{
    if (to->type == SLOT_GAUGE_MAX || to->type == SLOT_GAUGE_LAST) {
        choose(to, from);
        return;
    }
    atomic_store(&to->value, atomic_load(&to->value) + atomic_load(&from->value));
    for (size_t i = 0; i < ARRAY_LEN(to->buckets); i++)
        atomic_store(&to->buckets[i],
                     atomic_load(&to->buckets[i]) + atomic_load(&from->buckets[i]));
}

/* The sum of the same metric, 0 if it is new; NULL when there is no room. *at is where to look first:
 * workers of one application make the same metrics in the same order. */
static struct slot_metric *find_sum(struct slot_metric *table, uint32_t *count, uint32_t room,
                                    const struct slot_metric *metric, uint32_t *at)
{
    for (uint32_t n = 0; n < *count; n++) {
        uint32_t i = (*at + n) % *count;

        if (metric_is_same(&table[i], metric)) {
            *at = i + 1;
            return &table[i];
        }
    }
    if (*count == room)
        return NULL;
    struct slot_metric *sum = &table[(*count)++];
    memset(sum, 0, sizeof(*sum));
    memcpy(sum->name, metric->name, sizeof(sum->name));
    memcpy(sum->help, metric->help, sizeof(sum->help));
    memcpy(sum->bounds, metric->bounds, sizeof(sum->bounds));
    sum->type = metric->type;
    sum->bound_count = metric->bound_count;
    *at = *count;
    return sum;
}

static unsigned add_to_table(struct slot_metric *table, uint32_t *count, uint32_t room,
                             const struct slot_metric *metric, uint32_t *at)
{
    struct slot_metric *sum = find_sum(table, count, room, metric, at);

    if (!sum)
        return 1;
    add(sum, metric);
    return 0;
}

/* Does it say something when its worker has ended? */
static bool outlives_worker(uint32_t type)
{
    return type != SLOT_GAUGE && type != SLOT_GAUGE_MAX;
}

unsigned metrics_sum(struct slot_metric *table, uint32_t *count, uint32_t room,
                     const struct slot *from, enum metric_filter filter)
{
    uint32_t in_slot = atomic_load_explicit(&from->metric_count, memory_order_acquire), at = 0;
    unsigned lost = 0;

    for (uint32_t i = 0; i < in_slot && i < SLOT_METRICS; i++) {
        struct slot_metric metric;

        if (!read_metric(&from->metrics[i], &metric) ||
            (filter == METRICS_THAT_STAY && !outlives_worker(metric.type)))
            continue;
        lost += add_to_table(table, count, room, &metric, &at);
    }
    return lost;
}

unsigned metrics_sum_table(struct slot_metric *table, uint32_t *count, uint32_t room,
                           const struct slot_metric *from, uint32_t from_count)
{
    unsigned lost = 0;
    uint32_t at = 0;

    for (uint32_t i = 0; i < from_count; i++) {
        struct slot_metric metric;

        if (read_metric(&from[i], &metric))
            lost += add_to_table(table, count, room, &metric, &at);
    }
    return lost;
}
