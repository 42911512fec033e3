/* SPDX-License-Identifier: MIT
 *
 * dump - the stacks of workers (system/trace/stacks.h), for a client of the control socket. One
 * worker after the other, each by a separate helper process, which takes that worker's user; the
 * workers go on serving. The members of the answer:
 *
 *   "dumps": [{"number": 0, "pid": 4711, "generation": 2, "text": "process 4711 ..."}]
 */
#ifndef GCORN_MASTER_POSTMORTEM_DUMP_H
#define GCORN_MASTER_POSTMORTEM_DUMP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/strbuf.h"

struct stack_logs;

enum { DUMPS_MAX = 4 }; /* at once: helpers are for other things too */

/* A dump that a client asked for. Its processes are chosen when it begins. */
struct dump_request {
    uint64_t number; /* 0: free */
    struct dumps *all;
    pid_t *pids; /* owned */
    size_t count;
    size_t next;
    struct strbuf members;
};

struct dumps {
    struct stack_logs *stack_logs; /* borrowed */
    /* Called when a dump is complete: its members of the answer, after "ok". */
    void (*done)(void *arg, uint64_t dump, const char *members, size_t len);
    void *arg;
    uint64_t last;
    struct dump_request list[DUMPS_MAX];
};

/* What control_ops.dump does; the same contract. */
uint64_t dump_begin(struct dumps *dumps, pid_t pid, const char **why);

/* Forgets all dumps that are under way. */
void dumps_release(struct dumps *dumps);

#endif
