/* SPDX-License-Identifier: MIT
 *
 * helper - one job in a separate process, forked from the master without blocking it: for work that
 * is slow or may crash. The job writes a text, which the master reads as it comes; when the process
 * has ended, for whatever reason, the master passes the text to a callback.
 *
 * A job that crashes or runs out of time delivers the text that it has written so far.
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
    HELPER_MEMORY_MAX = 1 << 30, /* bytes beyond the master's own, against a job out of control */
};

/* The text ends with NUL and is borrowed; status is the process's wait status: when it is not 0,
 * the text is incomplete. */
typedef void helper_done(void *data, const char *text, size_t len, int status);

struct helper_job {
    /* Runs in the child. Appends at most HELPER_TEXT_MAX bytes to out. */
    void (*work)(const void *arg, struct strbuf *out);
    const void *arg;
    /* Descriptors that the job needs; the child closes all others but the standard ones and the
     * log's. */
    int keeps[HELPER_KEEPS_MAX];
    size_t keep_count;
    unsigned time_s; /* then SIGALRM ends it; SIGKILL HELPER_GRACE_S later */
    /* Called in the master, once, never from inside helper_start. */
    helper_done *done;
    void *data;
};

struct helper {
    pid_t pid; /* 0: free */
    int fd;    /* the pipe that the text comes from; -1: it has ended */
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

/* Starts a job; the data that it points to may be freed when this returns. Returns 0, or -1 with
 * errno: EBUSY when HELPERS_MAX jobs run already. */
int helper_start(struct helpers *h, const struct helper_job *job);

/* A child was reaped. If it was a helper, calls its `done` and returns true. */
bool helpers_reaped(struct helpers *h, pid_t pid, int status);

/* Is this process a helper? */
bool helpers_have(const struct helpers *h, pid_t pid);

/* Is one at work? */
bool helpers_busy(const struct helpers *h);

/* Ends them; their jobs are never done. */
void helpers_close(struct helpers *h);

#endif
