/* SPDX-License-Identifier: MIT
 *
 * See pools.h.
 */
#include "worker/loop/pools.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "system/code/sanitizer.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

/* splitmix64: consecutive numbers into ones that look like nothing, so ids of workers with
 * different seeds do not meet. */
static uint64_t next_request_id(struct worker *w)
{
    uint64_t z = w->http.id_seed + ++w->request_count * UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

struct gcorn_environ *worker_take_environ(struct worker *w, const struct http_peer *peer,
                                          struct stream *s)
{
    struct gcorn_environ *env =
        w->spare_count > 0 ? w->spare[--w->spare_count] : xcalloc(1, sizeof(*env));

    environ_init(env, &w->http, peer, next_request_id(w));
    env->stream = s;
    return env;
}

void worker_keep_environ(struct worker *w, struct gcorn_environ *env)
{
    if (w->spare_count < WORKER_SPARE_ENVIRONS) {
        w->spare[w->spare_count++] = env;
    } else {
        environ_release(env);
        free(env);
    }
}

struct conn *worker_take_conn(struct worker *w)
{
    struct stream *s = w->free_streams;
    struct conn *c;

    if (s) {
        w->free_streams = s->next;
        c = conn_of(s);
    } else if (w->table_used < w->max_conns) {
        c = &w->conns[w->table_used++];
    } else {
        return NULL;
    }
    w->slot->connections_open = ++w->open_conns;
    if (w->open_conns > w->peak_conns)
        w->peak_conns = w->open_conns;
    w->slot->counts.connections++;
    return c;
}

void worker_give_conn(struct worker *w, struct conn *c)
{
    assert(w->open_conns > 0 && c->state == CONN_FREE && !c->h1.x);
    c->h1.next = w->free_streams;
    w->free_streams = &c->h1;
    w->slot->connections_open = --w->open_conns;
    accept_note_gone(w);
    if (worker_is_drained(w))
        ev_break(w->loop, EVBREAK_ALL);
}

/* A mapping of its own: only what is used takes memory, and it can be walked when the heap is
 * broken. */
static void *map_table(size_t count, size_t size)
{
    void *table = mmap(NULL, count * size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (table == MAP_FAILED)
        fatal("cannot map a table of %zu connections: %s", count, ascii_error(errno));
    if (__lsan_register_root_region)
        __lsan_register_root_region(table, count * size);
    return table;
}

void pools_init(struct worker *w)
{
    w->max_conns = (size_t)w->config->worker_connections;
    w->in = xmalloc(WORKER_IN_SIZE);
    w->conns = map_table(w->max_conns, sizeof(*w->conns));
    w->exchanges = map_table(w->max_conns, sizeof(*w->exchanges));
}
