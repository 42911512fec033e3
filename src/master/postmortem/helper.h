/* SPDX-License-Identifier: MIT
 *
 * helper - one job in a process of its own, forked off the master without blocking it: for work
 * that is slow or may crash. The job writes a text, which the master reads bit by bit; when the
 * process has ended, whatever the reason, the text comes to a callback.
 *
 * What the job has written until it crashes or its time is over arrives too.
 */
#ifndef GCORN_MASTER_POSTMORTEM_HELPER_H
#define GCORN_MASTER_POSTMORTEM_HELPER_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/strbuf.h"

enum {
    HELPERS_MAX = 8, /* at once */
    HELPER_TEXT_MAX = 1 << 20,
    HELPER_KEEPS_MAX = 80,
    HELPER_GRACE_S = 2,
    HELPER_MEMORY_MAX = 1 << 30, /* beyond what the master has: bytes of a job that has gone mad */
};

/* The text is NUL-ended and borrowed; status is the process's wait status: not 0 when the text is
 * only the beginning. */
typedef void helper_done(void *data, const char *text, size_t len, int status);

struct helper_job {
    /* In the child. May append HELPER_TEXT_MAX bytes to out and not one more. */
    void (*work)(const void *arg, struct strbuf *out);
    const void *arg;
    /* Descriptors that the job needs; the child closes all others but the standard ones and the
     * log's. */
    int keeps[HELPER_KEEPS_MAX];
    size_t keep_count;
    unsigned time_s; /* then SIGALRM ends it; SIGKILL HELPER_GRACE_S later */
    /* In the master, once, never from inside helper_start. */
    helper_done *done;
    void *data;
};

struct helper {
    pid_t pid; /* 0: free */
    int fd;    /* the text comes from here; -1: it has ended */
    struct ev_io io;
    struct ev_timer overdue;
    struct strbuf text;
    helper_done *done;
    void *data;
};

struct helpers {
    struct ev_loop *loop;
    struct helper list[HELPERS_MAX];
};

/* The struct may not move from now on. */
void helpers_init(struct helpers *h, struct ev_loop *loop);

/* Starts a job; what it points to is needed only until this returns. 0, or -1 with errno: EBUSY
 * when HELPERS_MAX run already. */
int helper_start(struct helpers *h, const struct helper_job *job);

/* Of a child that was reaped: was it a helper? Then it is done. */
bool helpers_reaped(struct helpers *h, pid_t pid, int status);

/* Is this process one? */
bool helpers_have(const struct helpers *h, pid_t pid);

/* Is one at work? */
bool helpers_busy(const struct helpers *h);

/* Ends them; their jobs are never done. */
void helpers_close(struct helpers *h);

#endif
