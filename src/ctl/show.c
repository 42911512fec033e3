/* SPDX-License-Identifier: MIT
 *
 * See show.h. A member that is missing or has another type is shown as "-". Control characters,
 * which a terminal would obey, are shown escaped.
 */
#include "ctl/show.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "settings/config.h"
#include "settings/setting.h"
#include "settings/text.h"

enum { COMMENT_COLUMN = 40 }; /* as in gcorn --print-config */

/* ---- members ----------------------------------------------------------------------------- */

/* Texts of a worker's slot may hold control characters. The master escapes them in JSON, and
 * jansson undoes that. */
static void add_plain(struct strbuf *out, const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (*p < 0x20 || *p == 0x7f)
            strbuf_addf(out, "\\x%02x", *p);
        else if (*p == 0xc2 && p[1] >= 0x80 && p[1] < 0xa0)
            strbuf_addf(out, "\\x%02x", *++p);
        else
            strbuf_addch(out, (char)*p);
    }
}

/* Appends a member as text: "-" when it is null or missing. */
static void add_member(struct strbuf *out, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_string(value))
        add_plain(out, json_string_value(value));
    else if (json_is_integer(value))
        strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        strbuf_addch(out, '-');
}

static uint64_t number(const json_t *object, const char *key)
{
    json_int_t n = json_integer_value(json_object_get(object, key));

    return n > 0 ? (uint64_t)n : 0;
}

/* 406.2 */
static void add_tenths(struct strbuf *out, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    if (json_is_number(value))
        strbuf_addf(out, "%.1f", json_number_value(value));
    else
        strbuf_addch(out, '-');
}

/* With three digits: 0.25, 14.0, 1204. */
static void add_ms(struct strbuf *out, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    double ms = json_number_value(value);

    if (json_is_number(value))
        strbuf_addf(out, "%.*f", ms < 10 ? 2 : ms < 100 ? 1 : 0, ms);
    else
        strbuf_addch(out, '-');
}

static void add_mib(struct strbuf *out, const json_t *object, const char *key)
{
    if (json_is_integer(json_object_get(object, key)))
        strbuf_addf(out, "%.1f", (double)number(object, key) / (1 << 20));
    else
        strbuf_addch(out, '-');
}

/* "3 d 4 h", "12 s", "250 ms": two units at most. */
static void add_duration(struct strbuf *out, uint64_t ms)
{
    static const struct {
        uint64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "min"}, {1000, "s"}, {1, "ms"}};
    size_t i = 0;

    while (i < ARRAY_LEN(units) - 1 && ms < units[i].ms)
        i++;
    strbuf_addf(out, "%" PRIu64 " %s", ms / units[i].ms, units[i].unit);
    uint64_t rest = ms % units[i].ms;
    if (i < 3 && rest >= units[i + 1].ms)
        strbuf_addf(out, " %" PRIu64 " %s", rest / units[i + 1].ms, units[i + 1].unit);
}

/* ---- the server -------------------------------------------------------------------------- */

/* Starts a line with its name. */
static void add_name(struct strbuf *out, const char *name)
{
    strbuf_addf(out, "%-12s ", name);
}

static void add_last_reload(struct strbuf *out, const json_t *status)
{
    const json_t *reload = json_object_get(status, "last_reload");
    bool ok = json_is_true(json_object_get(reload, "ok"));

    if (!json_is_object(reload))
        return;
    add_name(out, "last reload");
    add_member(out, reload, "at");
    strbuf_addstr(out, ok ? ", done: generation " : ", FAILED, generation ");
    add_member(out, reload, "generation");
    if (!ok) {
        strbuf_addstr(out, " serves: ");
        add_member(out, reload, "error");
    }
    strbuf_addch(out, '\n');
}

static void add_server(struct strbuf *out, const json_t *status)
{
    add_name(out, "gcorn");
    add_member(out, status, "version");
    strbuf_addstr(out, ", ");
    add_member(out, status, "state");
    strbuf_addstr(out, ", pid ");
    add_member(out, status, "pid");
    strbuf_addstr(out, ", up ");
    add_duration(out, number(status, "uptime_ms"));
    strbuf_addch(out, '\n');
}

static void add_application(struct strbuf *out, const json_t *status)
{
    add_name(out, "application");
    add_member(out, status, "application");
    strbuf_addstr(out, ", generation ");
    add_member(out, status, "generation");
    strbuf_addstr(out, ", build-id ");
    add_member(out, status, "build_id");
    strbuf_addch(out, '\n');
}

static void add_listeners(struct strbuf *out, const json_t *status)
{
    const json_t *listener;
    size_t i;

    json_array_foreach(json_object_get(status, "listeners"), i, listener)
    {
        add_name(out, "listening at");
        add_plain(out, json_is_string(listener) ? json_string_value(listener) : "-");
        strbuf_addch(out, '\n');
    }
}

static void add_worker_count(struct strbuf *out, const json_t *status)
{
    add_name(out, "workers");
    strbuf_addf(out, "%zu, wanted %" PRIu64 "\n",
                json_array_size(json_object_get(status, "workers")),
                number(status, "workers_wanted"));
}

static void add_load(struct strbuf *out, const json_t *status)
{
    const json_t *worker;
    uint64_t in_flight = 0;
    size_t i;

    json_array_foreach(json_object_get(status, "workers"), i, worker) in_flight +=
        number(worker, "in_flight");
    add_name(out, "requests");
    add_tenths(out, status, "requests_per_s");
    strbuf_addstr(out, "/s, p50 ");
    add_ms(out, status, "p50_ms");
    strbuf_addstr(out, " ms, p99 ");
    add_ms(out, status, "p99_ms");
    strbuf_addf(out, " ms, %" PRIu64 " in flight\n", in_flight);
}

/* ---- the workers ------------------------------------------------------------------------- */

/* A column; the last one, the request, has any width and is added apart. */
struct column {
    const char *title;
    void (*add)(struct strbuf *out, const json_t *worker, const char *key);
    const char *key;
    bool is_number;
};

static const struct column status_columns[] = {
    {"WORKER", add_member, "number", true},
    {"PID", add_member, "pid", true},
    {"GENERATION", add_member, "generation", true},
    {"PHASE", add_member, "phase", false},
    {"STATE", add_member, "state", false},
    {"REQUESTS", add_member, "requests", true},
    {"CONNECTIONS", add_member, "connections", true},
    {NULL, NULL, NULL, false},
};

static const struct column top_columns[] = {
    {"WORKER", add_member, "number", true},
    {"PID", add_member, "pid", true},
    {"GEN", add_member, "generation", true},
    {"PHASE", add_member, "phase", false},
    {"STATE", add_member, "state", false},
    {"REQ/S", add_tenths, "requests_per_s", true},
    {"P50 MS", add_ms, "p50_ms", true},
    {"P99 MS", add_ms, "p99_ms", true},
    {"CPU %", add_tenths, "cpu_percent", true},
    {"RSS MIB", add_mib, "rss_bytes", true},
    {NULL, NULL, NULL, false},
};

struct table {
    const struct column *columns; /* up to one without a title */
    const json_t **rows;
    size_t row_count;
    bool has_colour;
};

static void add_request(struct strbuf *out, const json_t *request)
{
    add_member(out, request, "method");
    strbuf_addch(out, ' ');
    add_member(out, request, "target");
    strbuf_addstr(out, " for ");
    add_duration(out, number(request, "ms"));
}

/* The requests that it runs, the longest first: a pool of threads can run several. */
static void add_requests(struct strbuf *out, const json_t *worker)
{
    const json_t *request = json_object_get(worker, "request"), *other;
    size_t i;

    if (!json_is_object(request)) {
        strbuf_addch(out, '-');
        return;
    }
    add_request(out, request);
    json_array_foreach(json_object_get(worker, "others"), i, other)
    {
        strbuf_addstr(out, ", ");
        add_request(out, other);
    }
}

static int width_of(const struct table *t, const struct column *column)
{
    struct strbuf cell = {0};
    size_t width = strlen(column->title);

    for (size_t i = 0; i < t->row_count; i++) {
        strbuf_reset(&cell);
        column->add(&cell, t->rows[i], column->key);
        width = cell.len > width ? cell.len : width;
    }
    strbuf_release(&cell);
    return (int)width;
}

static const char *row_colour(const json_t *worker)
{
    const char *phase = json_string_value(json_object_get(worker, "phase"));

    if (!phase || strcmp(phase, "ready") == 0)
        return "";
    return strcmp(phase, "killing") == 0 ? "\x1b[31m" : "\x1b[33m"; /* red, yellow */
}

/* Column by column, so that each is measured once. */
static void add_table(struct strbuf *out, const struct table *t)
{
    struct strbuf *lines = xcalloc(t->row_count + 1, sizeof(*lines)), cell = {0};
    struct strbuf *titles = &lines[t->row_count];

    for (const struct column *column = t->columns; column->title; column++) {
        int width = width_of(t, column), aligned = column->is_number ? width : -width;

        strbuf_addf(titles, "%*s  ", aligned, column->title);
        for (size_t i = 0; i < t->row_count; i++) {
            strbuf_reset(&cell);
            column->add(&cell, t->rows[i], column->key);
            strbuf_addf(&lines[i], "%*s  ", aligned, cell.data);
        }
    }
    strbuf_addf(out, t->has_colour ? "\x1b[7m%sREQUEST\x1b[0m\n" : "%sREQUEST\n", titles->data);
    for (size_t i = 0; i < t->row_count; i++) {
        const char *colour = t->has_colour ? row_colour(t->rows[i]) : "";

        add_requests(&lines[i], t->rows[i]);
        strbuf_addf(out, "%s%s%s\n", colour, lines[i].data, *colour ? "\x1b[0m" : "");
        strbuf_release(&lines[i]);
    }
    strbuf_release(titles);
    strbuf_release(&cell);
    free(lines);
}

/* ---- in which order ---------------------------------------------------------------------- */

static double rank_of(const json_t *worker, enum top_order order)
{
    switch (order) {
    case TOP_NUMBER: break; /* the order of the server */
    case TOP_REQUESTS: return json_number_value(json_object_get(worker, "requests_per_s"));
    case TOP_CPU: return json_number_value(json_object_get(worker, "cpu_percent"));
    case TOP_MEMORY: return (double)number(worker, "rss_bytes");
    case TOP_TIME:
        return json_is_object(json_object_get(worker, "request"))
                   ? 1 + (double)number(json_object_get(worker, "request"), "ms")
                   : 0;
    }
    return 0;
}

struct ranked {
    double rank;
    size_t index;
    const json_t *worker;
};

static int by_rank(const void *a, const void *b)
{
    const struct ranked *v = a, *w = b;

    if (v->rank != w->rank)
        return v->rank > w->rank ? -1 : 1;
    return (v->index > w->index) - (v->index < w->index);
}

static void add_workers(struct strbuf *out, const json_t *status, const struct column *columns,
                        enum top_order order, bool has_colour)
{
    const json_t *workers = json_object_get(status, "workers");
    size_t count = json_array_size(workers);
    struct ranked *ranked = xcalloc(count + 1, sizeof(*ranked));
    struct table table = {.columns = columns, .row_count = count, .has_colour = has_colour};

    for (size_t i = 0; i < count; i++) {
        const json_t *worker = json_array_get(workers, i);

        ranked[i] = (struct ranked){rank_of(worker, order), i, worker};
    }
    qsort(ranked, count, sizeof(*ranked), by_rank);
    table.rows = xcalloc(count + 1, sizeof(*table.rows));
    for (size_t i = 0; i < count; i++)
        table.rows[i] = ranked[i].worker;
    strbuf_addch(out, '\n');
    add_table(out, &table);
    free(table.rows);
    free(ranked);
}

/* ---- answers ----------------------------------------------------------------------------- */

static void add_status(struct strbuf *out, const json_t *answer)
{
    add_server(out, answer);
    add_application(out, answer);
    add_listeners(out, answer);
    add_last_reload(out, answer);
    add_worker_count(out, answer);
    add_workers(out, answer, status_columns, TOP_NUMBER, false);
}

static void add_top(struct strbuf *out, const json_t *answer, enum top_order order, bool has_colour)
{
    add_server(out, answer);
    add_application(out, answer);
    add_last_reload(out, answer);
    add_load(out, answer);
    add_worker_count(out, answer);
    add_workers(out, answer, top_columns, order, has_colour);
}

static void add_top_once(struct strbuf *out, const json_t *answer)
{
    add_top(out, answer, TOP_NUMBER, false);
}

static void add_item(struct strbuf *out, const json_t *value, bool is_word)
{
    const char *text = json_string_value(value);

    if (text && is_word)
        add_plain(out, text);
    else if (text)
        text_add_quoted(out, text);
    else if (json_is_integer(value))
        strbuf_addf(out, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        strbuf_addstr(out, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
}

/* A setting's value as in the file: words such as gthread and 30s have quotes in JSON only. */
static void add_value(struct strbuf *out, const json_t *setting, const char *member)
{
    const char *key = json_string_value(json_object_get(setting, "key"));
    const struct setting *s = key ? setting_find(key) : NULL;
    const json_t *value = json_object_get(setting, member), *item;
    size_t i;

    if (!json_is_array(value)) {
        add_item(out, value, s && s->type != SETTING_STRING && s->type != SETTING_LIST);
        return;
    }
    strbuf_addch(out, '[');
    json_array_foreach(value, i, item)
    {
        strbuf_addstr(out, i > 0 ? ", " : "");
        add_item(out, item, false);
    }
    strbuf_addch(out, ']');
}

/* Like gcorn --print-config, but without secret values: read with -c it gives the others. */
static void add_config(struct strbuf *out, const json_t *answer)
{
    const json_t *setting;
    size_t i;

    json_array_foreach(json_object_get(answer, "settings"), i, setting)
    {
        bool is_secret = json_is_true(json_object_get(setting, "is_secret"));
        size_t start = out->len;

        strbuf_addstr(out, is_secret ? "# " : "");
        add_member(out, setting, "key");
        strbuf_addstr(out, ": ");
        if (is_secret)
            strbuf_addstr(out, "not shown");
        else
            add_value(out, setting, "value");
        do
            strbuf_addch(out, ' ');
        while (out->len - start < COMMENT_COLUMN);
        strbuf_addstr(out, "# ");
        add_member(out, setting, "origin");
        if (json_is_true(json_object_get(setting, "is_changed"))) {
            strbuf_addstr(out, "; at the start ");
            if (is_secret)
                strbuf_addstr(out, "another value");
            else
                add_value(out, setting, "was");
        }
        strbuf_addch(out, '\n');
    }
}

static void add_reload(struct strbuf *out, const json_t *answer)
{
    strbuf_addf(out, "reloaded: generation %" PRIu64 " serves\n", number(answer, "generation"));
}

static void add_workers_wanted(struct strbuf *out, const json_t *answer)
{
    strbuf_addf(out, "workers wanted: %" PRIu64 ", until a reload (the setting is %" PRIu64 ")\n",
                number(answer, "workers_wanted"), number(answer, "workers_setting"));
}

static void add_reopen(struct strbuf *out, const json_t *answer)
{
    (void)answer;
    strbuf_addstr(out, "the log files are reopened\n");
}

static void add_stop(struct strbuf *out, const json_t *answer)
{
    (void)answer;
    strbuf_addstr(out, "the server is stopping\n");
}

static void add_dumps(struct strbuf *out, const json_t *answer)
{
    const json_t *dump;
    size_t i;

    json_array_foreach(json_object_get(answer, "dumps"), i, dump)
    {
        const char *text = json_string_value(json_object_get(dump, "text"));

        strbuf_addf(out, "%sworker %" PRIu64 ", generation %" PRIu64 "\n", i > 0 ? "\n" : "",
                    number(dump, "number"), number(dump, "generation"));
        while (text && *text) { /* line by line: of control characters only newlines are kept */
            size_t len = strcspn(text, "\n");
            char *line = xasprintf("%.*s", (int)len, text);

            add_plain(out, line);
            strbuf_addch(out, '\n');
            free(line);
            text += len + (text[len] == '\n');
        }
    }
}

static void add_upgrade(struct strbuf *out, const json_t *answer)
{
    strbuf_addf(out, "upgraded: master %" PRIu64 " serves\n", number(answer, "pid"));
}

static const struct {
    const char *command;
    void (*add)(struct strbuf *out, const json_t *answer);
} shown[] = {
    {"status", add_status},          {"top", add_top_once},  {"config", add_config},
    {"reload", add_reload},          {"reopen", add_reopen}, {"stop", add_stop},
    {"workers", add_workers_wanted}, {"dump", add_dumps},    {"upgrade", add_upgrade},
};

/* Returns the JSON of an answer that is ok; else NULL with *status, and appends the reason. */
static json_t *load(struct strbuf *out, const char *command, const struct strbuf *answer,
                    enum ctl_status *status)
{
    json_error_t why;
    json_t *root = json_loadb(answer->data, answer->len, 0, &why);

    *status = CTL_DONE;
    if (!root) {
        strbuf_addstr(out, "the answer is not JSON: ");
        add_plain(out, why.text);
        *status = CTL_UNREACHABLE;
    } else if (!json_is_true(json_object_get(root, "ok"))) {
        strbuf_addf(out, "%s: ", command);
        add_member(out, root, "error");
        *status = CTL_REFUSED;
    }
    if (*status != CTL_DONE) {
        json_decref(root);
        return NULL;
    }
    return root;
}

enum ctl_status show_answer(struct strbuf *out, const char *command, const struct strbuf *answer)
{
    enum ctl_status status;
    json_t *root = load(out, command, answer, &status);

    for (size_t i = 0; root && i < ARRAY_LEN(shown); i++) {
        if (strcmp(shown[i].command, command) == 0)
            shown[i].add(out, root);
    }
    json_decref(root);
    return status;
}

enum ctl_status show_top(struct strbuf *out, const struct strbuf *answer, enum top_order order,
                         bool has_colour)
{
    enum ctl_status status;
    json_t *root = load(out, "top", answer, &status);

    if (root)
        add_top(out, root, order, has_colour);
    json_decref(root);
    return status;
}
