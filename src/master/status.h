/* SPDX-License-Identifier: MIT
 *
 * status - what the server is and does right now, as plain values and as JSON. Requests are named
 * as the workers' slots say, which are untrusted: they are read once, bounded, and escaped.
 *
 *   {"ok": true, "version": "0.1.0", "state": "serving", "pid": 4711, "uptime_ms": 61000,
 *    "generation": 2, "application": "app.so:handler", "build_id": "3f...", "workers_wanted": 2,
 *    "listeners": ["http://127.0.0.1:8000"],
 *    "last_reload": {"ok": false, "generation": 2, "error": "...", "at": "2026-11-22T12:34:56Z"},
 *    "workers": [{"number": 0, "pid": 4712, "generation": 2, "phase": "ready", "state": "calling",
 *                 "requests": 12, "connections": 3,
 *                 "request": {"method": "GET", "target": "/slow", "ms": 1200}}]}
 *
 * build_id, last_reload, its error and a worker's request may be null; the generation of
 * last_reload is the one that served after it. Phases are the master's view, states the worker's
 * own.
 */
#ifndef GCORN_MASTER_STATUS_H
#define GCORN_MASTER_STATUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct listener;
struct plan;
struct scoreboard;
struct strbuf;

/* One worker process. */
struct status_worker {
    unsigned number;
    pid_t pid;
    unsigned generation;
    const char *phase;
    const char *state;
    uint64_t requests;
    uint64_t connections;
    bool is_calling; /* then what, and for how long */
    char method[16];
    char target[512]; /* without the query, which may hold secrets */
    uint64_t call_ms;
};

/* How the last reload ended. */
struct status_reload {
    time_t at; /* by the wall clock, for people; 0: there was none */
    bool ok;
    unsigned generation; /* that serves since then */
    char why[1000];
};

struct status {
    const char *state; /* starting, serving, reloading, stopping */
    pid_t pid;
    uint64_t uptime_ms;
    unsigned generation;
    const char *app;
    const char *build_id; /* "" when it has none */
    unsigned workers_wanted;
    struct listener *const *listeners;
    size_t listener_count;
    const struct status_reload *last_reload;
    struct status_worker *workers; /* owned */
    size_t worker_count;
};

/* Fills in the workers, one for each process, in the order of their numbers. */
void status_set_workers(struct status *s, const struct plan *plan, struct scoreboard *scoreboard,
                        uint64_t now_ms);

void status_add_json(struct strbuf *out, const struct status *s);

void status_release(struct status *s);

#endif
