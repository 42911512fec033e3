/* SPDX-License-Identifier: MIT
 *
 * conn - one client connection: bytes from the socket into requests, answers back to it, in order.
 *
 * A connection holds no buffer while nothing is in flight: it reads into the worker's buffer, keeps
 * only what is incomplete, and answers through the worker's out buffer, which it takes along only
 * when the socket is full. conn_set_state is the one place that decides which events and which
 * timer a connection has.
 */
#ifndef GCORN_WORKER_CONN_CONN_H
#define GCORN_WORKER_CONN_CONN_H

#include <ev.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "http/environ.h"
#include "worker/conn/linger.h"
#include "worker/conn/peer.h"
#include "worker/call/call.h"
#include "worker/loop/timers.h"
#include "worker/call/wake.h"
#include "worker/wire/wire.h"

struct worker;

enum conn_state {
    CONN_FREE,    /* in the table, unused */
    CONN_IDLE,    /* between requests */
    CONN_HEAD,    /* a request head is coming, or the connection's first is awaited */
    CONN_QUEUED,  /* has unparsed bytes, or more to send, and waits for its turn in the loop */
    CONN_WRITE,   /* the client does not take its answer fast enough */
    CONN_BODY,    /* a request body is coming */
    CONN_WAIT,    /* the application has nothing to send yet */
    CONN_DEAF,    /* the same, and nothing more is read from the client meanwhile */
    CONN_CALLING, /* its request is in the hands of the pool (call_pool.h), or waits for them */
    CONN_LINGER,  /* answered for the last time; waits for the client to close (RFC 9112 9.6) */
};

/* What a connection has only while bytes of it are in flight: the worker lends it, out of a mapping
 * of its own, where a crash finds it. */
struct exchange {
    struct exchange *next; /* of those that are not lent */
    bool is_lent;
    bool more;            /* the answer has further pieces */
    bool may_have_queued; /* to be accepted, and was not looked at yet */

    /* For a crash, which may not trust env's memory. */
    bool answer_begun;    /* the answer's head has left the application's hands */
    bool close_delimited; /* and ends with the connection */
    bool is_head;         /* the answer has no body */
    size_t whole_len;     /* of out, before its first or next piece */

    struct strbuf in;  /* bytes behind env's request, not parsed yet */
    struct strbuf out; /* of answers, for the socket */
    size_t out_sent;   /* bytes of out that are gone */
    const char *piece; /* part of env's answer, to be sent behind out from where it lies */
    size_t piece_len;
    uint32_t turn_sent;  /* with pieces, since the socket was full */
    uint64_t request_ns; /* when the first bytes of env's request were read */
    uint64_t arrived_ns; /* when the bytes read last had come, or the turn of those that wait */
    uint64_t body_ms;    /* when its body began, in client time */
    struct conn *body_older, *body_newer; /* in CONN_BODY: see admission.h */
    struct call call;                     /* of its request, in a pool of threads */
    struct alarm alarm;                   /* when its application wants to be asked again */
};

/* The first unsent byte of out; NULL where out has no memory, to which C adds nothing, not even 0.
 */
static inline char *exchange_unsent(const struct exchange *x)
{
    return x->out.data ? x->out.data + x->out_sent : NULL;
}

struct conn {
    struct timer timer; /* first: a timer is its connection */
    struct ev_io io;
    struct conn *next; /* in the free list, in the queue, or in one of the pool's */
    uint64_t serial;   /* the how-many-eth of the worker: never reused, unlike its place */
    struct wire wire;
    enum conn_state state;
    bool closing;      /* no further request is taken */
    bool runs;         /* env's request has been given to the application */
    bool has_answered; /* a request, since it last waited for the rest of one */

    struct gcorn_environ *env; /* the request that is coming or being answered; NULL when none */
    struct exchange *x;        /* NULL while it is free, idle or lingering */
    struct lingering lingering;

    struct waiter waiter;
    struct peer peer;
};

static inline struct worker *worker_of(const struct conn *c)
{
    return c->io.data;
}

/* Takes over the wire of a connection that was accepted; there is room for it. */
void conn_open(struct worker *w, struct wire wire, const struct http_local *local,
               const void *address);

/* The timer's deadline has come. */
void conn_timed_out(struct conn *c);

/* Asks the application again whose answer waits; nothing if none does. */
void conn_wake(struct conn *c);

/* A class of workers takes the connection for a call in another thread: nothing of its answers is
 * unsent, and until conn_called the loop does nothing with it (CONN_CALLING). */
void conn_lend(struct conn *c);

/* It is handed back: the call is over. */
void conn_called(struct conn *c);

/* Its request has ended, and its environ been reset. */
void conn_forget_request(struct conn *c);

/* Does the application owe a piece of its answer? */
static inline bool conn_is_waiting(const struct conn *c)
{
    return c->state == CONN_WAIT || c->state == CONN_DEAF;
}

/* Does its client wait for an answer, or has it sent the first bytes of a request? */
static inline bool conn_has_begun(const struct conn *c)
{
    return c->runs || (c->env && request_has_begun(&c->env->request));
}

/* The connection whose request it is; NULL when it is none of a client's. */
struct conn *conn_of(const struct worker *w, const struct gcorn_environ *env);

/* Takes up what was left when the connection was queued: its answer, or bytes of requests. */
void conn_resume(struct conn *c);

/* The connection is idle and the worker would like it gone: reads it once, and closes it if there
 * is nothing. True when it is closed. */
bool conn_let_go(struct conn *c);

/* A new connection needs its place (admission.h). One that lingers is closed; any other is read
 * once, and if its request is not complete by then, it is answered 408 where it has begun, and
 * closed or left to linger. True when it was answered so. */
bool conn_give_way(struct conn *c);

/* Closes at once, whatever is in flight. */
void conn_drop(struct conn *c);

#endif
