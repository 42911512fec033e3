/* SPDX-License-Identifier: MIT
 *
 * accesslines - a worker's access log: lines wait in its slot and leave together at the end of a
 * loop pass, in one write of at most a slot's log, each whole. What a worker leaves behind when it
 * is killed the master writes.
 *
 * A reader that has stalled costs lines, never time: they are counted, and the error log says so.
 */
#ifndef GCORN_WORKER_ACCESS_LOG_WRITER_H
#define GCORN_WORKER_ACCESS_LOG_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct error;
struct gcorn_environ;
struct slot;

struct access_log_writer {
    struct access_log *format; /* NULL: no access log */
    struct slot *slot;
    int fd;
    bool is_file;
    int pid;
    unsigned worker;    /* its number */
    size_t len;         /* of what waits: the truth of which slot->log_len is the copy */
    size_t early_len;   /* of its last line, of an answer that is on its way; 0: of none */
    uint64_t lost;      /* lines; not yet said */
    int lost_errno;     /* why the last of them was */
    uint64_t say_at_ms; /* not before */
    bool is_last;       /* the worker is dying */
    void *memory;       /* for its last lines; nothing until it is written to */
};

/* Everything is borrowed; the slot has its number. fd -1: there is no access log, and nothing else
 * here does anything. 0, or -1 with err: the format is none. */
int access_log_writer_init(struct access_log_writer *a, struct slot *slot, const char *format,
                           int fd, struct error *err);

/* Another file is behind fd. */
void access_log_writer_reopened(struct access_log_writer *a);

/* Adds the line of an answer that has ended, unless it was added early. */
void access_log_writer_add(struct access_log_writer *a, struct gcorn_environ *env,
                           uint64_t duration_ns);

/* Adds the line of an answer whose last bytes are about to be sent: the client may have them, and
 * the worker be killed, before send returns. The answer then ends (access_log_writer_add), or its client
 * keeps it waiting and it will have another line: access_log_writer_take_back. */
void access_log_writer_add_early(struct access_log_writer *a, struct gcorn_environ *env,
                                 uint64_t duration_ns);
void access_log_writer_take_back(struct access_log_writer *a);

/* Writes what waits. What is lost is said now and then. */
void access_log_writer_write(struct access_log_writer *a);

/* The last write: what is lost and not yet said is said. */
void access_log_writer_end(struct access_log_writer *a);

/* From now on the worker is dying: lines are made without malloc, in memory of their own, and lines
 * that are lost are counted, not logged. Async-signal-safe, as access_log_writer_add is then. */
void access_log_writer_last(struct access_log_writer *a);

#endif
