/* SPDX-License-Identifier: MIT
 *
 * See prometheus.h. A family's HELP and TYPE are written once, before all of its samples. The same
 * samples are written every time, so that a series begins with 0 and not with its first event; only
 * status codes, which are not known in advance, are added when they occur.
 */
#include "master/telemetry/prometheus.h"

#include <inttypes.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "master/telemetry/snapshot.h"
#include "system/ipc/metric_slots.h"

/* The bounds shown of slot_times' buckets, as powers of two of a microsecond: 64 us to 67 s. */
enum { FIRST_BOUND = 6, LAST_BOUND = 26 };

/* Appends the shortest text that reads back as this number. */
static void add_double(struct strbuf *out, double value)
{
    char text[40];

    if (isnan(value) || isinf(value)) {
        strbuf_addstr(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    (void)snprintf(text, sizeof(text), "%.15g", value);
    if (strtod(text, NULL) != value)
        (void)snprintf(text, sizeof(text), "%.17g", value);
    strbuf_addstr(out, text);
}

/* Escapes a label's value, or a help text, where quotes need no escape. */
static void add_escaped(struct strbuf *out, const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text == '\n')
            strbuf_addstr(out, "\\n");
        else if (*text == '\\' || *text == '"')
            strbuf_addf(out, "\\%c", *text);
        else
            strbuf_addch(out, *text);
    }
}

/* ---- the server's own -------------------------------------------------------------------- */

static void add_family(struct strbuf *out, const char *name, const char *type, const char *help)
{
    strbuf_addf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void add_number(struct strbuf *out, const char *name, const char *type, const char *help,
                       uint64_t value)
{
    add_family(out, name, type, help);
    strbuf_addf(out, "%s %" PRIu64 "\n", name, value);
}

static void add_labelled(struct strbuf *out, const char *name, const char *label,
                         const char *label_value, uint64_t value)
{
    strbuf_addf(out, "%s{%s=\"", name, label);
    add_escaped(out, label_value);
    strbuf_addf(out, "\"} %" PRIu64 "\n", value);
}

static void add_times(struct strbuf *out, const char *name, const char *help,
                      const struct slot_times *t)
{
    uint64_t below = 0;

    add_family(out, name, "histogram", help);
    for (unsigned i = 0; i < SLOT_TIME_BUCKETS; i++) {
        below += t->count[i];
        if (i < FIRST_BOUND || i > LAST_BOUND)
            continue;
        strbuf_addf(out, "%s_bucket{le=\"", name);
        add_double(out, (double)((uint64_t)1 << i) / 1e6);
        strbuf_addf(out, "\"} %" PRIu64 "\n", below);
    }
    strbuf_addf(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n%s_sum ", name, below, name);
    add_double(out, (double)t->sum_us / 1e6);
    strbuf_addf(out, "\n%s_count %" PRIu64 "\n", name, below);
}

static void add_server(struct strbuf *out, const struct stats_facts *f)
{
    add_family(out, "gcorn_build_info", "gauge", "What runs: the server and the application.");
    strbuf_addstr(out, "gcorn_build_info{version=\"" GCORN_VERSION "\",build_id=\"");
    add_escaped(out, f->build_id);
    strbuf_addstr(out, "\"} 1\n");
    add_number(out, "gcorn_start_time_seconds", "gauge", "When the server was started.",
               (uint64_t)f->started_at);
    add_family(out, "gcorn_state", "gauge", "What the server does: 1 at one of these.");
    for (unsigned i = 0; i < SERVER_STATES; i++)
        add_labelled(out, "gcorn_state", "state", server_state_name((enum server_state)i),
                     f->state == i);
    add_number(out, "gcorn_generation", "gauge",
               "The generation of settings and application that counts.", f->generation);
    add_family(out, "gcorn_reloads_total", "counter", "Reloads that are over, by their result.");
    add_labelled(out, "gcorn_reloads_total", "result", "ok", f->reloads_done);
    add_labelled(out, "gcorn_reloads_total", "result", "failed", f->reloads_failed);
}

static void add_listeners(struct strbuf *out, const struct stats_facts *f)
{
    static const char queued[] = "gcorn_listen_backlog", limit[] = "gcorn_listen_backlog_limit";

    add_family(out, queued, "gauge", "Connections that wait in the kernel to be accepted.");
    for (uint32_t i = 0; i < f->listener_count; i++) {
        if (f->listeners[i].is_known)
            add_labelled(out, queued, "listener", f->listeners[i].name, f->listeners[i].queued);
    }
    add_family(out, limit, "gauge", "How many connections may wait there.");
    for (uint32_t i = 0; i < f->listener_count; i++) {
        if (f->listeners[i].is_known)
            add_labelled(out, limit, "listener", f->listeners[i].name, f->listeners[i].limit);
    }
}

enum shown_state {
    SHOWN_BOOTING,
    SHOWN_IDLE,
    SHOWN_BUSY,
    SHOWN_RETIRING,
    SHOWN_KILLING,
    SHOWN_ALL
};

static enum shown_state state_of(const struct snapshot_worker *w)
{
    enum proc_phase phase = (enum proc_phase)w->phase;

    if (phase_is_booting(phase))
        return SHOWN_BOOTING;
    if (phase == PROC_RECALLED || phase_is_retiring(phase))
        return SHOWN_RETIRING;
    if (phase != PROC_READY)
        return SHOWN_KILLING;
    return w->calls_running > 0 ? SHOWN_BUSY : SHOWN_IDLE;
}

static void add_workers(struct strbuf *out, const struct snapshot *s)
{
    static const char *const names[SHOWN_ALL] = {"booting", "idle", "busy", "retiring", "killing"};
    uint64_t counts[SHOWN_ALL] = {0};

    for (unsigned i = 0; i < s->worker_count; i++)
        counts[state_of(&s->workers[i])]++;
    add_number(out, "gcorn_workers_wanted", "gauge", "How many workers there should be.",
               s->facts->workers_wanted);
    add_family(out, "gcorn_workers", "gauge",
               "Worker processes by what they do; busy: in a call, or in several.");
    for (unsigned i = 0; i < SHOWN_ALL; i++)
        add_labelled(out, "gcorn_workers", "state", names[i], counts[i]);
    add_family(out, "gcorn_worker_restarts_total", "counter",
               "Workers that ended and were replaced, by the reason.");
    for (unsigned i = END_FIRST_RESTART; i < WORKER_ENDS; i++)
        add_labelled(out, "gcorn_worker_restarts_total", "reason",
                     worker_end_name((enum worker_end)i), s->facts->ends[i]);
}

/* True: the first process with its number. While a worker is replaced, two have it. */
static bool is_first(const struct snapshot *s, unsigned i)
{
    for (unsigned j = 0; j < i; j++) {
        if (s->workers[j].number == s->workers[i].number)
            return false;
    }
    return true;
}

/* of: the function that gives the value of one process. */
static void add_by_number(struct strbuf *out, const struct snapshot *s, const char *name,
                          double (*of)(const struct snapshot_worker *w))
{
    for (unsigned i = 0; i < s->worker_count; i++) {
        double sum = 0;

        if (!is_first(s, i))
            continue;
        for (unsigned j = i; j < s->worker_count; j++)
            sum += s->workers[j].number == s->workers[i].number ? of(&s->workers[j]) : 0;
        strbuf_addf(out, "%s{worker=\"%u\"} ", name, s->workers[i].number);
        add_double(out, sum);
        strbuf_addch(out, '\n');
    }
}

static double rss_of(const struct snapshot_worker *w)
{
    return (double)w->rss_bytes;
}

static double cpu_seconds_of(const struct snapshot_worker *w)
{
    return (double)w->cpu_us / 1e6;
}

static void add_usage(struct strbuf *out, const struct snapshot *s)
{
    static const char rss[] = "gcorn_worker_resident_memory_bytes";
    static const char cpu[] = "gcorn_worker_cpu_seconds_total";

    add_family(out, rss, "gauge", "Resident memory by worker number.");
    add_by_number(out, s, rss, rss_of);
    add_family(out, cpu, "counter",
               "Processor time by worker number; from 0 again when the worker is replaced.");
    add_by_number(out, s, cpu, cpu_seconds_of);
}

/* Each kind of end is shown from the start, so that its series begins with 0; series with a status
 * are added when they occur. */
static void add_ends(struct strbuf *out, const char *name, const struct slot_counts *c)
{
    for (unsigned i = 0; i < SLOT_ENDS; i++) {
        const struct slot_end *end = &c->ends[i];
        bool is_kind = i > ENDED_WHOLE && i < SLOT_ENDED_KINDS;

        if (end->count > 0 || is_kind)
            strbuf_addf(out, "%s{code=\"%" PRIu32 "\",ended=\"%s\"} %" PRIu64 "\n", name,
                        end->status, slot_ended_name(is_kind ? i : end->ended), end->count);
    }
}

static void add_requests(struct strbuf *out, const struct slot_counts *c)
{
    static const char by_code[] = "gcorn_requests_total";

    add_family(out, by_code, "counter",
               "Requests that are over, by the status of their answer, 0 if none was sent; ended: "
               "why that is not a whole answer.");
    for (unsigned i = 0; i < ARRAY_LEN(c->by_status); i++) {
        char code[8];

        if (c->by_status[i] == 0)
            continue;
        (void)snprintf(code, sizeof(code), "%u", i + SLOT_STATUS_MIN);
        add_labelled(out, by_code, "code", code, c->by_status[i]);
    }
    add_ends(out, by_code, c);
    add_times(out, "gcorn_request_seconds",
              "From the arrival of a request's head to its end, whatever that was.", &c->durations);
    add_times(out, "gcorn_queue_seconds",
              "How long requests waited for their worker before they were run.", &c->queued);
    add_number(out, "gcorn_requests_shed_total", "counter",
               "Requests answered 503 because of queue_timeout.", c->shed);
    add_number(out, "gcorn_requests_gone_total", "counter",
               "Requests not run because their client had left.", c->gone);
    add_number(out, "gcorn_access_log_lines_lost_total", "counter",
               "Lines of the access log that were dropped.", c->log_lines_lost);
    add_number(out, "gcorn_messages_published_total", "counter", "Messages of gcorn_publish.",
               c->published);
    add_number(out, "gcorn_messages_delivered_total", "counter",
               "Calls of functions that have subscribed, in all workers.", c->delivered);
    add_number(out, "gcorn_messages_lost_total", "counter",
               "Messages that a worker with subscriptions was too slow to read.", c->messages_lost);
}

/* A worker that accepts no new requests counts only with the calls that it still runs. */
static void add_calls(struct strbuf *out, const struct snapshot *s)
{
    uint64_t running = 0, limit = 0;

    for (unsigned i = 0; i < s->worker_count; i++) {
        const struct snapshot_worker *w = &s->workers[i];

        running += w->calls_running;
        limit += w->phase == PROC_READY ? w->calls_limit : w->calls_running;
    }
    add_number(out, "gcorn_calls_running", "gauge", "Calls of the application that run.", running);
    add_number(out, "gcorn_calls_limit", "gauge",
               "How many can run at once: workers that are ready, times their threads.", limit);
}

static void add_connections(struct strbuf *out, const struct snapshot *s)
{
    uint64_t in_flight = 0, open = 0;

    for (unsigned i = 0; i < s->worker_count; i++) {
        in_flight += s->workers[i].in_flight;
        open += s->workers[i].connections_open;
    }
    add_number(out, "gcorn_requests_in_flight", "gauge", "Requests that are being answered.",
               in_flight);
    add_number(out, "gcorn_connections_open", "gauge", "Connections that workers hold.", open);
    add_number(out, "gcorn_connections_total", "counter", "Connections that were accepted.",
               s->counts.connections);
    add_number(out, "gcorn_fair_closes_total", "counter", "Connections closed by fair_close.",
               s->counts.fair_closes);
    add_number(out, "gcorn_received_bytes_total", "counter", "Bytes that came from clients.",
               s->counts.bytes_in);
    add_number(out, "gcorn_sent_bytes_total", "counter", "Bytes that went to clients.",
               s->counts.bytes_out);
}

/* ---- the application's ------------------------------------------------------------------- */

/* Orders by family, then by name; equal names keep their order in the snapshot. */
static int compare(const void *a, const void *b)
{
    const struct slot_metric *m = *(const struct slot_metric *const *)a;
    const struct slot_metric *n = *(const struct slot_metric *const *)b;
    size_t m_len = metric_family_len(m), n_len = metric_family_len(n);
    int by_family = memcmp(m->name, n->name, m_len < n_len ? m_len : n_len);

    if (by_family != 0)
        return by_family;
    if (m_len != n_len)
        return m_len < n_len ? -1 : 1;
    int by_name = strcmp(m->name, n->name);
    return by_name != 0 ? by_name : (m > n) - (m < n);
}

static void add_head(struct strbuf *out, const struct slot_metric *m)
{
    static const char *const types[SLOT_METRIC_TYPES] = {[SLOT_COUNTER] = "counter",
                                                         [SLOT_GAUGE] = "gauge",
                                                         [SLOT_HISTOGRAM] = "histogram",
                                                         [SLOT_GAUGE_MAX] = "gauge",
                                                         [SLOT_GAUGE_LAST] = "gauge"};
    int len = (int)metric_family_len(m);

    strbuf_addf(out, "# HELP %.*s ", len, m->name);
    for (const char *p = m->help; *p != '\0'; p++) {
        if (*p == '\\' || *p == '\n')
            strbuf_addstr(out, *p == '\n' ? "\\n" : "\\\\");
        else if ((unsigned char)*p >= 0x20 && (unsigned char)*p < 0x7f)
            strbuf_addch(out, *p);
        else
            strbuf_addch(out, '?'); /* cut within a character, or not UTF-8 */
    }
    strbuf_addf(out, "\n# TYPE %.*s %s\n", len, m->name, types[m->type]);
}

/* Writes the name with a suffix before the labels and, if there is a bound, the label le after
 * them. */
static void add_name(struct strbuf *out, const struct slot_metric *m, const char *suffix,
                     const double *le)
{
    size_t len = metric_family_len(m);
    const char *labels = m->name[len] == '{' ? m->name + len + 1 : NULL; /* with the brace */

    strbuf_add(out, m->name, len);
    strbuf_addstr(out, suffix);
    if (labels || le)
        strbuf_addch(out, '{');
    if (labels)
        strbuf_add(out, labels, strlen(labels) - 1);
    if (le) {
        strbuf_addstr(out, labels ? ",le=\"" : "le=\"");
        add_double(out, *le);
        strbuf_addch(out, '"');
    }
    strbuf_addstr(out, labels || le ? "} " : " ");
}

static void add_value(struct strbuf *out, const struct slot_metric *m, const char *suffix)
{
    add_name(out, m, suffix, NULL);
    add_double(out, atomic_load(&m->value));
    strbuf_addch(out, '\n');
}

static void add_histogram(struct strbuf *out, const struct slot_metric *m)
{
    uint64_t below = 0;

    for (uint32_t i = 0; i <= m->bound_count; i++) {
        double le = i < m->bound_count ? m->bounds[i] : (double)INFINITY;

        below += atomic_load(&m->buckets[i]);
        add_name(out, m, "_bucket", &le);
        strbuf_addf(out, "%" PRIu64 "\n", below);
    }
    add_value(out, m, "_sum");
    add_name(out, m, "_count", NULL);
    strbuf_addf(out, "%" PRIu64 "\n", below);
}

/* Writes one family. Generations may define it differently: the first kind in the snapshot is used,
 * and for a histogram the first bounds. */
static void add_app_family(struct strbuf *out, const struct slot_metric *const *metrics,
                           size_t count)
{
    const struct slot_metric *first = metrics[0], *last = NULL;

    for (size_t i = 1; i < count; i++)
        first = metrics[i] < first ? metrics[i] : first;
    add_head(out, first);
    for (size_t i = 0; i < count; i++) {
        const struct slot_metric *m = metrics[i];

        if (m->type != first->type || (last && strcmp(m->name, last->name) == 0))
            continue;
        last = m;
        if (m->type == SLOT_HISTOGRAM)
            add_histogram(out, m);
        else
            add_value(out, m, "");
    }
}

static void add_application(struct strbuf *out, const struct snapshot *s)
{
    const struct slot_metric **sorted = xcalloc(s->metric_count + 1, sizeof(const void *));

    for (uint32_t i = 0; i < s->metric_count; i++)
        sorted[i] = &s->metrics[i];
    qsort(sorted, s->metric_count, sizeof(const void *), compare);
    for (uint32_t i = 0, end; i < s->metric_count; i = end) {
        for (end = i + 1; end < s->metric_count && metric_is_family(sorted[end], sorted[i]);)
            end++;
        add_app_family(out, &sorted[i], end - i);
    }
    free(sorted);
}

void prometheus_add(struct strbuf *out, const struct snapshot *s)
{
    add_server(out, s->facts);
    add_workers(out, s);
    add_usage(out, s);
    add_requests(out, &s->counts);
    add_calls(out, s);
    add_connections(out, s);
    add_listeners(out, s->facts);
    add_application(out, s);
}
