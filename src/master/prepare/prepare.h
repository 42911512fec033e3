/* SPDX-License-Identifier: MIT
 *
 * prepare/ is what a reload does apart from the master: a process opens what the new settings name,
 * and hands it over.
 *
 * prepare - the process that prepares a reload. What may block or fail for want of memory (reading
 * settings and disks, resolving names, copying the application) happens in it, so the master goes on
 * meanwhile, and only the reload fails. It hands over what it has opened (prepared.h) and ends.
 */
#ifndef GCORN_MASTER_PREPARE_PREPARE_H
#define GCORN_MASTER_PREPARE_PREPARE_H

#include <ev.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "master/prepare/prepared.h"

enum prepare_state {
    PREPARE_NONE,
    PREPARE_WAITS, /* the process could not be started, and err says why: it is tried again */
    PREPARE_RUNS,
    PREPARE_DONE,   /* it has ended, and the record is whole */
    PREPARE_FAILED, /* it has ended, and err says why */
};

struct prepare {
    enum prepare_state state;
    pid_t pid; /* 0: none */
    int fd;    /* to it; -1: none */
    void (*work)(void *arg, int fd);
    void *arg;
    uint64_t retry_ms; /* PREPARE_WAITS: when it is tried again */
    char step[80];     /* what it does, for people */
    bool is_whole;     /* the record */
    bool has_failed;   /* it has said so: err */
    struct error err;
    struct prepared record;
    bool logs_reopened; /* since it began: the logs that it has opened may be rotated away */
    struct ev_loop *loop;
    struct ev_io io;
};

void prepare_init(struct prepare *p, struct ev_loop *loop, void (*work)(void *arg, int fd),
                  void *arg);

/* Starts the process, which calls work(arg, fd): that reports to fd by prepare_step,
 * prepare_report_failure or prepared_send_all. PREPARE_RUNS or PREPARE_WAITS from then on. Its end
 * is known when it is reaped. */
enum { PREPARE_RETRY_MS = 1000 };
void prepare_begin(struct prepare *p);

/* In the process: what it does next, and why nothing comes of it. */
void prepare_step(int fd, const char *text);
void prepare_report_failure(int fd, const struct error *err);

/* Of a child that was reaped: was it this process? Then the state is known. */
bool prepare_reaped(struct prepare *p, pid_t pid, int status);

/* Kills the process if it runs, and drops what it has handed over. Waits for nothing. */
void prepare_end(struct prepare *p);

#endif
