/* SPDX-License-Identifier: MIT
 *
 * status - the present state of the server, as plain values and as JSON. The names of requests come
 * from the workers' slots, which are untrusted: they are read once, bounded, and escaped.
 *
 *   {"ok": true, "version": "0.1.0", "state": "serving", "pid": 4711, "uptime_ms": 61000,
 *    "generation": 2, "application": "app.so:handler", "build_id": "3f...", "workers_wanted": 2,
 *    "requests_per_s": 812.5, "p50_ms": 1.25, "p99_ms": 14.002,
 *    "listeners": ["http://127.0.0.1:8000"],
 *    "last_reload": {"ok": false, "generation": 2, "error": "...", "at": "2026-11-22T12:34:56Z"},
 *    "workers": [{"number": 0, "pid": 4712, "generation": 2, "phase": "ready", "state": "calling",
 *                 "requests": 12, "connections": 3, "in_flight": 1,
 *                 "messages_published": 7, "messages_delivered": 6, "messages_lost": 0,
 *                 "requests_per_s": 406.2, "p50_ms": 1.25, "p99_ms": 14.002,
 *                 "cpu_percent": 41.7, "rss_bytes": 5238784,
 *                 "request": {"method": "GET", "target": "/slow", "ms": 1200},
 *                 "others": []}]}
 *
 * A worker's `request` is the one that has run for longest, `others` are those of its other
 * threads. build_id, last_reload, its error and a worker's request may be null; the generation of
 * last_reload is the one that served after it. Phases are the master's view, states the worker's
 * own. Rates are those of the last one to two seconds (rates.h), of the server or of one worker:
 * p50_ms and p99_ms are null when no request was answered, rss_bytes when the process has gone.
 *
 * The settings come in the order of their table:
 *
 *   {"ok": true, "settings": [{"key": "workers", "value": "4", "origin": "command line",
 *                              "is_secret": false, "is_changed": true, "was": "2"}]}
 *
 * Values are texts as --print-config prints them, and null when they are secret. is_changed: the
 * server was started with another value, which is in "was"; else, and for a secret, that is null.
 */
#ifndef GCORN_MASTER_OPERATOR_STATUS_H
#define GCORN_MASTER_OPERATOR_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct config;
struct listener;
struct plan;
struct samples;
struct scoreboard;
struct strbuf;

/* Rates of the last one to two seconds. */
struct status_rates {
    double requests_per_s;
    double p50_ms, p99_ms; /* negative: no request was answered */
};

/* A call that runs, and for how long. */
struct status_call {
    char method[40];  /* as of struct slot_call */
    char target[512]; /* without the query, which may hold secrets */
    uint64_t ms;
};

/* One worker process. */
struct status_worker {
    unsigned number;
    pid_t pid;
    unsigned generation;
    const char *phase;
    const char *state;
    uint64_t requests;
    uint64_t connections;
    uint64_t in_flight;
    uint64_t published, delivered, messages_lost;
    struct status_rates rates;
    double cpu_percent;
    uint64_t rss_bytes;        /* 0: the process has ended */
    struct status_call *calls; /* owned; the running ones, the longest first */
    size_t call_count;
};

/* How the last reload ended. */
struct status_reload {
    time_t at; /* by the wall clock; 0: no reload so far */
    bool ok;
    unsigned generation; /* the one that serves since then */
    char why[1000];
};

struct status {
    const char *state; /* starting, serving, reloading, stopping */
    pid_t pid;
    uint64_t uptime_ms;
    unsigned generation;
    const char *app;
    const char *build_id; /* "": the application has none */
    unsigned workers_wanted;
    struct status_rates rates;
    struct listener *const *listeners;
    size_t listener_count;
    const struct status_reload *last_reload;
    struct status_worker *workers; /* owned */
    size_t worker_count;
};

/* Fills in the workers, one for each process, in the order of their numbers, and the rates. */
void status_set_workers(struct status *s, const struct plan *plan, struct scoreboard *scoreboard,
                        const struct samples *samples, uint64_t now_ms);

void status_add_json(struct strbuf *out, const struct status *s);

/* The values of all settings, in the table's order, to be compared with later ones. The caller
 * frees them by status_free_config. */
char **status_keep_config(const struct config *c);
void status_free_config(char **values); /* NULL is allowed */

/* Appends the current settings. Each "value" is JSON that means the same in the settings file:
 * numbers, booleans, texts, lists of texts, and null for none; durations and sizes with a unit
 * ("30s") and modes ("022") are texts. "was" is the value at the start, if that was different. Both
 * are null for secret settings. at_start comes from status_keep_config at the start. */
void status_add_config_json(struct strbuf *out, const struct config *c, char *const *at_start);

void status_release(struct status *s);

#endif
