/* SPDX-License-Identifier: MIT
 *
 * types - what everything in a worker works on: a connection, a stream (one request and its answer)
 * and an exchange (what a stream has only while bytes of it are in flight).
 *
 * A connection of HTTP/1 embeds its one stream. The states of the two are changed by conn_set alone
 * (conn/conn.h).
 */
#ifndef GCORN_WORKER_LOOP_TYPES_H
#define GCORN_WORKER_LOOP_TYPES_H

#include <ev.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "http/environ.h"
#include "worker/loop/timers.h"
#include "worker/wire/wire.h"

struct worker;

/* What a connection's socket is for. */
enum conn_state {
    CONN_FREE,   /* none: the place in the table is unused */
    CONN_OPEN,   /* requests and answers */
    CONN_LINGER, /* answered for the last time; waits for the client to close (RFC 9112 9.6) */
    CONN_CLOSED, /* none: it is closed, and a thread still ends its request (call.h) */
    CONN_STATES,
};

/* What a request does. From STREAM_BODY on it is in a list of the worker. */
enum stream_phase {
    STREAM_NONE,      /* no request: the connection is idle, lingers or is closed */
    STREAM_HEAD,      /* its head is coming, or the connection's first is awaited */
    STREAM_READY,     /* it has unparsed bytes, or more to send, and waits in the run queue */
    STREAM_CALLING,   /* a thread has it, or it waits for one (stream_lend) */
    STREAM_SENDING,   /* the client does not take the answer fast enough */
    STREAM_BODY,      /* its body is coming */
    STREAM_DUPLEX,    /* as SENDING, while the body still comes that the application reads */
    STREAM_PUSHING,   /* as SENDING, of what a call pushes that a thread still runs (call/push.h) */
    STREAM_WAITING,   /* the application has nothing to send yet */
    STREAM_PAUSED,    /* the same, and nothing more is read from the client meanwhile */
    STREAM_RECEIVING, /* the same, and the body comes that the application reads */
    STREAM_PHASES,
};

enum call_kind {
    CALL_HEAD,    /* gcorn_on_head of a request whose body is to come, and as CALL_HANDLER */
    CALL_HANDLER, /* the request's, and the hooks that come before it */
    CALL_NEXT,    /* the next piece of its answer, where application code makes it */
    CALL_END,     /* the request is over: close, deferred functions, gcorn_on_post_request */
};

/* A request's last call, or the one that runs. */
struct call {
    enum call_kind kind;
    unsigned slot_index; /* in the slot's calls */
    int refusal; /* the status with which the request is refused instead of being run, or 0 */
    bool closes; /* as it was handed over: every answer says Connection: close */
    bool woken;  /* since it was handed over: next is to be called again (the loop's) */
    uint64_t handed_ns; /* to the class of workers */
    uint64_t taken_ns;  /* by a thread */
};

/* When a request's application wants to be asked again. */
struct alarm {
    uint64_t at_ms;         /* gcorn_now()'s clock; 0: it is not set */
    struct ev_timer *timer; /* in the request's arena; NULL: never needed yet */
};

/* How far an answer is: one store, for a crash may not trust the environ's memory. */
enum answer_stage {
    ANSWER_NOT_BEGUN,
    ANSWER_BEGUN,    /* its head has left the application's hands */
    ANSWER_BY_CLOSE, /* the same, and it ends with the connection */
};

/* The time that a body takes which is read as it comes: only while the worker reads it, in client
 * time. */
struct body_pace {
    uint64_t since_ms; /* what follows is counted up to here */
    uint64_t took_ms;
    uint64_t gap_ms; /* of that, since the last bytes */
};

/* How a client that is not served any more is read: see conn/linger.h. */
struct lingering {
    uint64_t announced; /* bytes of a refused body that are not read yet; 0: unknown */
    uint64_t came;      /* bytes read since */
    uint64_t since_ms;  /* when the answer was sent */
};

/* Lent by the worker, out of a mapping of its own, where a crash finds it. Its buffers
 * are empty when it is given back. */
struct exchange {
    struct exchange *next; /* of those that are not lent */
    bool is_lent;
    bool more;            /* the answer has further pieces */
    bool is_head;         /* the answer has no body */
    bool may_have_queued; /* to be accepted, and was not looked at yet */
    uint8_t answer;       /* enum answer_stage */
    uint32_t turn_sent;   /* with pieces, since the socket was full */
    size_t whole_len;     /* of out, before the answer's first or next piece: for a crash */

    struct strbuf in;    /* bytes after the request, not parsed yet */
    struct strbuf early; /* of interim answers, while a thread has the stream: the socket is full */
    struct strbuf out;   /* of answers, for the socket */
    size_t out_sent;     /* bytes of out that are gone */
    const char *piece;   /* part of the answer, to be sent after out from where it lies */
    size_t piece_len;
    uint64_t request_ns; /* when the first bytes of the request were read */
    uint64_t arrived_ns; /* when the bytes read last had come, or the turn of those that wait */
    uint64_t body_ms;    /* when its body began, in client time */
    struct stream *body_older, *body_newer; /* in STREAM_BODY: see conn/admission.h */
    struct lingering lingering;
    /* Of an answer that is there before the request's last byte: */
    uint64_t unwanted; /* bytes of the body that are still to come then, to be dropped */
    bool closes;       /* the connection ends with it, whatever comes */
    struct body_pace pace;
    size_t stuck_len;  /* bytes that were unsent when the client last took some */
    struct push *push; /* what its handler pushed is not all sent; NULL: see call/push.h */
    struct call call;
    struct alarm alarm;
};

/* The first unsent byte of out; NULL where out has no memory, to which C adds nothing, not even 0.
 */
static inline char *exchange_unsent(const struct exchange *x)
{
    return x->out.data ? x->out.data + x->out_sent : NULL;
}

struct stream {
    struct gcorn_environ *env; /* the request that is coming or being answered; NULL: none */
    struct exchange *x;        /* NULL: nothing is in flight */
    struct stream *next; /* in one queue at a time: the run queue, one of a pool's, the free list */

    /* Never reset: a thread may wake the stream late, when the request has ended and the place is
     * taken again. */
    _Atomic uint64_t ticket;   /* of the request; 0: the application has not asked for one */
    struct stream *woken_next; /* of those that have been woken */
    _Atomic bool is_due;       /* it has been woken, and had no turn since */

    uint8_t phase;     /* enum stream_phase */
    bool runs;         /* the request has been given to the application */
    bool has_answered; /* a request, since it last waited for the rest of one */
    bool was_asked;    /* gcorn_on_head has seen the request, which so counts as begun */
};

struct peer_preface;

/* The other end: see conn/peer.h. */
struct peer {
    struct http_peer seen;        /* what requests see of it */
    struct peer_preface *preface; /* NULL: none is asked for */
};

struct conn {
    struct timer timer; /* first: a timer is its connection */
    struct ev_io io;
    struct wire wire;
    uint8_t state;   /* enum conn_state */
    bool closing;    /* no further request is taken */
    uint64_t serial; /* its number within this worker; unlike the table index, never reused */
    struct stream h1;
    struct peer peer;
};

_Static_assert(sizeof(struct conn) <= 224, "an idle connection is this, and what the kernel has");

static inline struct worker *worker_of(const struct conn *c)
{
    return c->io.data;
}

static inline struct conn *conn_of(const struct stream *s)
{
    return (struct conn *)(void *)((char *)(uintptr_t)s - offsetof(struct conn, h1));
}

/* The stream of a request; NULL: it is no client's. */
static inline struct stream *stream_of(const struct gcorn_environ *env)
{
    return env->stream;
}

/* Does a thread have it, or does it wait for one? */
static inline bool stream_is_lent(const struct stream *s)
{
    return s->phase == STREAM_CALLING || s->phase == STREAM_PUSHING;
}

/* Does the application owe a piece of the answer? */
static inline bool stream_is_waiting(const struct stream *s)
{
    return s->phase >= STREAM_WAITING;
}

/* Does the client wait for an answer, or has it sent the first bytes of a request? */
static inline bool stream_has_begun(const struct stream *s)
{
    return s->runs || (s->env && request_has_begun(&s->env->request));
}

#endif
