/* SPDX-License-Identifier: MIT
 *
 * push - what a handler hands on before it returns (gcorn_send): framed bytes between its call and
 * the loop's thread, which alone sends. In the class sync the two are one thread, and the bytes go
 * to the socket at once.
 *
 * What the socket does not take waits: in memory, then in a file (stream_spool), in order: what lies
 * in `ready` is older than what lies in `file`. When both are full, the call waits.
 */
#ifndef GCORN_WORKER_CALL_PUSH_H
#define GCORN_WORKER_CALL_PUSH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/overflow.h"
#include "base/strbuf.h"
#include "worker/loop/types.h"

struct worker;

enum push_end {
    PUSH_GOES_ON,
    PUSH_CLIENT_GONE,
    PUSH_WRITE_TIMEOUT,
    PUSH_STOPPED,
    PUSH_LOST, /* bytes that waited cannot be read any more */
};

/* From the first gcorn_send of a request until all that was pushed is sent. */
struct push {
    struct stream *stream;
    struct push *next;   /* in the class's list of those that have something for the loop */
    bool is_listed;      /* in it; the class's lock guards both */
    struct strbuf frame; /* the call's: what it pushes now */
    bool file_failed;    /* the call's: it was logged */
    struct overflow file;

    _Atomic uint8_t end; /* enum push_end: no more is sent; the call hears it */
    uint64_t stalled_ms; /* in the class sync: since when a wait has brought nothing, or 0 */
    uint64_t alive_ms;   /* the same: when the master heard of the worker last */
    uint64_t obeyed_ms;  /* the same: when it was last asked for orders */
    uint64_t asked_ms;   /* when gcorn_send was last called */

    pthread_mutex_t lock;            /* guards what follows */
    pthread_cond_t taken;            /* the loop has taken bytes, or the push has ended */
    struct strbuf ready;             /* for the loop */
    unsigned take_count, seen_count; /* of the loop; when the call last looked for room */
    size_t in_out;                   /* bytes in x->out, which may be sent by now */
    uint8_t stage;                   /* enum answer_stage, once these bytes are on their way */
    size_t counted;                  /* in worker.pushed_bytes */
};

/* Any thread. */
static inline enum push_end push_ended(const struct push *p)
{
    return (enum push_end)atomic_load(&p->end);
}

/* How long a wait for the client lasts before the call looks at other things. */
#define PUSH_WAIT_MS(w) ((w)->draining ? 50 : 500)

/* gcorn_send, as in http/host.h. The thread of the call. */
int push_send(struct gcorn_environ *env, const void *data, size_t len);

/* All further functions are the loop's thread's. */

/* All of x->out is sent: moves the next bytes there. False: there are none now, or the push has
 * ended. */
bool push_take(struct stream *s);

/* No more is sent: the call hears it at its next gcorn_send, or now if it waits. The first end
 * counts. */
void push_end(struct push *p, enum push_end end);

/* The access log's word for it. */
const char *push_end_name(enum push_end end);

/* Drops what is not sent, in x->out, too, and does not count it as sent. The call is over. */
void push_drop_unsent(struct stream *s);

/* The answer ends with what is in x->out: drops the rest, does not count it as sent, and frees
 * x->push. The call is over. */
void push_cut(struct stream *s);

/* Frees x->push, which is NULL from then on. The call is over. */
void push_release(struct stream *s);

#endif
