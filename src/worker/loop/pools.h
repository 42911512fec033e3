/* SPDX-License-Identifier: MIT
 *
 * pools - what connections and requests borrow from their worker: the table of connections, the
 * exchanges, environs.
 */
#ifndef GCORN_WORKER_LOOP_POOLS_H
#define GCORN_WORKER_LOOP_POOLS_H

#include "worker/loop/state.h"

/* Maps the tables, for config->worker_connections. Exits when there is no memory. */
void pools_init(struct worker *w);

/* A fresh environ, for a stream's request; s is NULL where no client has sent it. And back, ended. */
struct gcorn_environ *worker_take_environ(struct worker *w, const struct http_peer *peer,
                                          struct stream *s);
void worker_keep_environ(struct worker *w, struct gcorn_environ *env);

/* A conn in CONN_FREE, NULL when there are max_conns; and back. */
struct conn *worker_take_conn(struct worker *w);
void worker_give_conn(struct worker *w, struct conn *c);

/* An exchange with nothing in it, one for each connection; it is given back so. */
static inline struct exchange *worker_lend_exchange(struct worker *w)
{
    struct exchange *x = w->free_exchanges;

    if (x)
        w->free_exchanges = x->next;
    else
        x = &w->exchanges[w->exchanges_used++];
    x->is_lent = true;
    return x;
}

static inline void worker_give_exchange(struct worker *w, struct exchange *x)
{
    x->is_lent = false;
    x->next = w->free_exchanges;
    w->free_exchanges = x;
}

#endif
