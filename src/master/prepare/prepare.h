/* SPDX-License-Identifier: MIT
 *
 * prepare/ is the part of a reload outside the master: a process opens the files and sockets that
 * the new settings name, and hands them over.
 *
 * prepare - the process that prepares a reload. Work that may block or run out of memory (reading
 * settings and disks, resolving names, copying the application) is done in it, so the master goes
 * on meanwhile, and only the reload can fail. The process hands over the descriptors (prepared.h)
 * and ends.
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
    PREPARE_WAITS, /* the process could not be started (err); it is tried again */
    PREPARE_RUNS,
    PREPARE_DONE,   /* it has ended, and the record is complete */
    PREPARE_FAILED, /* it has ended, and err says why */
};

struct prepare_file;

struct prepare {
    enum prepare_state state;
    pid_t pid; /* 0: none */
    int fd;    /* to it; -1: none */
    void (*work)(void *arg, int fd);
    void *arg;
    uint64_t retry_ms; /* PREPARE_WAITS: when it is tried again */
    char step[80];     /* what it does, for logs */
    bool is_whole;     /* the record */
    bool has_failed;   /* it has reported err */
    struct error err;
    struct prepared record;
    struct prepare_file *files; /* temporary names, also of processes that were killed */
    bool logs_reopened;         /* since it began: the logs that it opened may be rotated */
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

/* In the process: report the next step, and the reason of a failure. */
void prepare_step(int fd, const char *text);
void prepare_report_failure(int fd, const struct error *err);

/* In the process: reports the temporary name of a socket's file that is about to be made (struct
 * file_notice; fd is a pointer to the descriptor): the master removes it when the process has ended
 * without doing so. */
void prepare_note_file(void *fd, const char *path);

/* A child was reaped. If it was this process, sets the state and returns true. */
bool prepare_reaped(struct prepare *p, pid_t pid, int status);

/* Kills the process if it runs, and closes what it has handed over. Does not wait: files that it
 * may still make are removed when it is reaped. */
void prepare_end(struct prepare *p);

/* At the end of the master: removes the files of processes that are not reaped yet, and frees. */
void prepare_release(struct prepare *p);

#endif
