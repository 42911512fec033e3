/* SPDX-License-Identifier: MIT
 *
 * access_log_writer - a worker's access log. Lines wait in the worker's slot and are written together
 * at the end of a pass of the loop, each whole. When a worker is killed, the master writes the lines
 * that its slot holds.
 *
 * A full pipe costs lines, never time: they are dropped and counted, and the error log says so.
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
    size_t len;         /* bytes that wait; slot->log_len is a copy, which may be overwritten */
    size_t early_len;   /* length of the last line if its answer is still being sent; else 0 */
    uint64_t lost;      /* lines dropped and not reported yet */
    int lost_errno;     /* errno of the last of them */
    uint64_t say_at_ms; /* the next report is not before this */
    bool is_last;       /* the worker is dying */
    void *memory;       /* a mapping for its last lines; takes no memory until it is used */
};

/* All arguments are borrowed; the slot holds the worker's number. fd -1: there is no access log, and
 * the other functions do nothing. Returns 0, or -1 with err when the format is invalid. */
int access_log_writer_init(struct access_log_writer *a, struct slot *slot, const char *format,
                           int fd, struct error *err);

/* fd refers to another file now. */
void access_log_writer_reopened(struct access_log_writer *a);

/* Adds the line of an answer that has ended, unless access_log_writer_add_early has added it. */
void access_log_writer_add(struct access_log_writer *a, struct gcorn_environ *env,
                           uint64_t duration_ns);

/* Adds the line of an answer whose last bytes are about to be sent: the client may have them, and
 * the worker be killed, before send returns. The answer then ends (access_log_writer_add), or its client
 * keeps it waiting and it will have another line: access_log_writer_take_back. */
void access_log_writer_add_early(struct access_log_writer *a, struct gcorn_environ *env,
                                 uint64_t duration_ns);
void access_log_writer_take_back(struct access_log_writer *a);

/* Writes the lines that wait. Reports dropped lines, at most every 10 s. */
void access_log_writer_write(struct access_log_writer *a);

/* The last write: also reports the dropped lines that are not reported yet. */
void access_log_writer_end(struct access_log_writer *a);

/* The worker is dying: from now on lines are made without malloc, in the writer's mapping, and dropped
 * lines are counted but not reported. Async-signal-safe, as access_log_writer_add is then. */
void access_log_writer_last(struct access_log_writer *a);

#endif
