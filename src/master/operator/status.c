/* SPDX-License-Identifier: MIT
 *
 * See status.h.
 */
#include "master/operator/status.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/proc/plan.h"
#include "master/operator/rates.h"
#include "settings/config.h"
#include "settings/config_print.h"
#include "settings/setting.h"
#include "system/net/listener.h"
#include "system/process/procfs.h"
#include "system/ipc/scoreboard.h"

/* ---- the workers ------------------------------------------------------------------------- */

static int longest_first(const void *a, const void *b)
{
    const struct status_call *v = a, *w = b;

    return (v->ms < w->ms) - (v->ms > w->ms);
}

static void read_calls(struct status_worker *w, const struct slot *slot, uint64_t now_ms)
{
    unsigned count = slot_entry_count(slot);

    w->calls = xcalloc(count, sizeof(*w->calls));
    for (unsigned i = 0; i < count; i++) {
        const struct slot_call *from = &slot->calls[i];
        uint64_t since = slot_call_started_ms(from);

        if (since == 0)
            continue;
        struct status_call *call = &w->calls[w->call_count++];
        call->ms = now_ms > since ? now_ms - since : 0;
        (void)slot_get_text(from->method, sizeof(from->method), call->method, sizeof(call->method));
        (void)slot_get_text(from->target, sizeof(from->target), call->target, sizeof(call->target));
        call->target[strcspn(call->target, "?")] = '\0';
    }
    qsort(w->calls, w->call_count, sizeof(*w->calls), longest_first);
}

/* Everything here is untrusted input from the worker; the master only shows it. */
static void read_slot(struct status_worker *w, const struct slot *slot, uint64_t now_ms)
{
    w->state = slot_state_name(slot_get_state(slot));
    w->requests = slot_requests(&slot->counts);
    w->connections = slot_get_number(&slot->connections_open);
    w->in_flight = slot_in_flight(&slot->counts);
    w->published = slot_get_number(&slot->counts.published);
    w->delivered = slot_get_number(&slot->counts.delivered);
    w->messages_lost = slot_get_number(&slot->counts.messages_lost);
    read_calls(w, slot, now_ms);
}

static struct status_rates rates_of(const struct rates *r)
{
    return (struct status_rates){
        .requests_per_s = rates_requests_per_s(r),
        .p50_ms = rates_percentile_ms(r, 0.5),
        .p99_ms = rates_percentile_ms(r, 0.99),
    };
}

static int by_number(const void *a, const void *b)
{
    const struct status_worker *v = a, *w = b;

    if (v->number != w->number)
        return v->number < w->number ? -1 : 1;
    return (v->generation > w->generation) - (v->generation < w->generation);
}

void status_set_workers(struct status *s, const struct plan *plan, struct scoreboard *scoreboard,
                        const struct samples *samples, uint64_t now_ms)
{
    struct rates all = {0}, rates;

    s->worker_count = 0;
    s->workers = xcalloc(plan_alive(plan) + 1, sizeof(*s->workers));
    for (unsigned i = 0; i < plan->proc_count; i++) {
        const struct worker_proc *proc = &plan->procs[i];

        if (proc->phase == PROC_EMPTY || plan_is_admin(plan, proc))
            continue;
        struct status_worker *w = &s->workers[s->worker_count++];
        *w = (struct status_worker){
            .number = proc->number,
            .pid = proc->pid,
            .generation = proc->generation,
            .phase = phase_name(proc->phase),
        };
        const struct slot *slot = scoreboard_slot(scoreboard, i);
        read_slot(w, slot, now_ms);
        samples_measure(samples, plan, i, slot, now_ms, &rates);
        rates_add(&all, &rates);
        w->rates = rates_of(&rates);
        w->cpu_percent = rates_cpu_percent(&rates);
        (void)procfs_resident_memory(proc->pid, &w->rss_bytes); /* 0 if it has ended */
    }
    s->rates = rates_of(&all);
    qsort(s->workers, s->worker_count, sizeof(*s->workers), by_number);
}

void status_release(struct status *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        free(s->workers[i].calls);
    free(s->workers);
    s->workers = NULL;
    s->worker_count = 0;
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* Appends `, "key": "text"`, with null for NULL. */
static void add_text(struct strbuf *out, const char *key, const char *text)
{
    strbuf_addf(out, ", \"%s\": ", key);
    json_add_string(out, text);
}

/* Limits the number to 2^53 - 1, which any JSON parser can hold: a slot may have any number. */
static void add_number(struct strbuf *out, const char *key, uint64_t number)
{
    const uint64_t most = ((uint64_t)1 << 53) - 1;

    strbuf_addf(out, ", \"%s\": %" PRIu64, key, number < most ? number : most);
}

static void add_ms(struct strbuf *out, const char *key, double ms)
{
    if (ms < 0)
        add_text(out, key, NULL);
    else
        strbuf_addf(out, ", \"%s\": %.3f", key, ms);
}

static void add_rates(struct strbuf *out, const struct status_rates *r)
{
    strbuf_addf(out, ", \"requests_per_s\": %.1f", r->requests_per_s);
    add_ms(out, "p50_ms", r->p50_ms);
    add_ms(out, "p99_ms", r->p99_ms);
}

static void add_call(struct strbuf *out, const struct status_call *call)
{
    strbuf_addstr(out, "{\"method\": ");
    json_add_string(out, call->method);
    add_text(out, "target", call->target);
    add_number(out, "ms", call->ms);
    strbuf_addch(out, '}');
}

static void add_worker(struct strbuf *out, const struct status_worker *w)
{
    strbuf_addf(out, "{\"number\": %u", w->number);
    add_number(out, "pid", (uint64_t)w->pid);
    add_number(out, "generation", w->generation);
    add_text(out, "phase", w->phase);
    add_text(out, "state", w->state);
    add_number(out, "requests", w->requests);
    add_number(out, "connections", w->connections);
    add_number(out, "in_flight", w->in_flight);
    add_number(out, "messages_published", w->published);
    add_number(out, "messages_delivered", w->delivered);
    add_number(out, "messages_lost", w->messages_lost);
    add_rates(out, &w->rates);
    strbuf_addf(out, ", \"cpu_percent\": %.1f", w->cpu_percent);
    if (w->rss_bytes > 0)
        add_number(out, "rss_bytes", w->rss_bytes);
    else
        add_text(out, "rss_bytes", NULL);
    strbuf_addstr(out, ", \"request\": ");
    if (w->call_count > 0)
        add_call(out, &w->calls[0]);
    else
        strbuf_addstr(out, "null");
    strbuf_addstr(out, ", \"others\": [");
    for (size_t i = 1; i < w->call_count; i++) {
        strbuf_addstr(out, i > 1 ? ", " : "");
        add_call(out, &w->calls[i]);
    }
    strbuf_addstr(out, "]}");
}

static void add_reload(struct strbuf *out, const struct status_reload *r)
{
    char at[32] = "";
    struct tm tm;

    strbuf_addstr(out, ", \"last_reload\": ");
    if (!r || r->at == 0 || !gmtime_r(&r->at, &tm)) {
        strbuf_addstr(out, "null");
        return;
    }
    (void)strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%SZ", &tm);
    strbuf_addf(out, "{\"ok\": %s", r->ok ? "true" : "false");
    add_number(out, "generation", r->generation);
    add_text(out, "error", r->ok ? NULL : r->why);
    add_text(out, "at", at);
    strbuf_addch(out, '}');
}

void status_add_json(struct strbuf *out, const struct status *s)
{
    strbuf_addstr(out, "{\"ok\": true, \"version\": \"" GCORN_VERSION "\"");
    add_text(out, "state", s->state);
    add_number(out, "pid", (uint64_t)s->pid);
    add_number(out, "uptime_ms", s->uptime_ms);
    add_number(out, "generation", s->generation);
    add_text(out, "application", s->app);
    add_text(out, "build_id", s->build_id && s->build_id[0] ? s->build_id : NULL);
    add_number(out, "workers_wanted", s->workers_wanted);
    add_rates(out, &s->rates);
    strbuf_addstr(out, ", \"listeners\": [");
    for (size_t i = 0; i < s->listener_count; i++) {
        strbuf_addstr(out, i > 0 ? ", " : "");
        json_add_string(out, s->listeners[i]->name);
    }
    strbuf_addch(out, ']');
    add_reload(out, s->last_reload);
    strbuf_addstr(out, ", \"workers\": [");
    for (size_t i = 0; i < s->worker_count; i++) {
        strbuf_addstr(out, i > 0 ? ", " : "");
        add_worker(out, &s->workers[i]);
    }
    strbuf_addstr(out, "]}");
}

/* ---- the settings ------------------------------------------------------------------------ */

char **status_keep_config(const struct config *c)
{
    size_t count;
    const struct setting *settings = setting_table(&count);
    char **values = xcalloc(count, sizeof(*values));

    for (size_t i = 0; i < count; i++) {
        struct strbuf value = {0};

        config_print_value(&value, c, &settings[i]);
        values[i] = strbuf_detach(&value);
    }
    return values;
}

void status_free_config(char **values)
{
    size_t count;

    (void)setting_table(&count);
    for (size_t i = 0; values && i < count; i++)
        free(values[i]);
    free(values);
}

/* Appends a value that config_print_value has written, as JSON: numbers, true and false, null,
 * texts in quotes and lists of them are the same in both; a bare word of YAML gets quotes. */
static void add_value(struct strbuf *out, const char *key, const struct setting *s,
                      const char *value)
{
    bool is_number = value[strspn(value, "0123456789")] == '\0' && (value[0] != '0' || !value[1]);
    bool is_same = s->type == SETTING_BOOL || s->type == SETTING_STRING || s->type == SETTING_LIST;

    strbuf_addf(out, ", \"%s\": ", key);
    if (is_same || is_number)
        strbuf_addstr(out, value);
    else
        json_add_string(out, value);
}

static void add_setting(struct strbuf *out, const struct config *c, const struct setting *s,
                        const char *at_start)
{
    struct strbuf value = {0};

    config_print_value(&value, c, s);
    bool is_changed = strcmp(value.data, at_start) != 0;
    strbuf_addstr(out, "{\"key\": ");
    json_add_string(out, s->key);
    if (s->is_secret)
        add_text(out, "value", NULL);
    else
        add_value(out, "value", s, value.data);
    add_text(out, "origin", config_origin(c, s)->text);
    strbuf_addf(out, ", \"is_secret\": %s", s->is_secret ? "true" : "false");
    strbuf_addf(out, ", \"is_changed\": %s", is_changed ? "true" : "false");
    if (s->is_secret || !is_changed)
        add_text(out, "was", NULL);
    else
        add_value(out, "was", s, at_start);
    strbuf_addch(out, '}');
    strbuf_release(&value);
}

void status_add_config_json(struct strbuf *out, const struct config *c, char *const *at_start)
{
    size_t count;
    const struct setting *settings = setting_table(&count);

    strbuf_addstr(out, "{\"ok\": true, \"settings\": [");
    for (size_t i = 0; i < count; i++) {
        strbuf_addstr(out, i > 0 ? ", " : "");
        add_setting(out, c, &settings[i], at_start[i]);
    }
    strbuf_addstr(out, "]}");
}
