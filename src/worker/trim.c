/* SPDX-License-Identifier: MIT
 *
 * See trim.h. Both cost a walk over memory, so they are done once after a burst, and never while
 * there is something to do.
 */
#include "worker/trim.h"

#include <assert.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/compat.h"
#include "worker/loop/state.h"

enum { BURST_MIN = 64 }; /* fewer connections leave nothing that is worth it */

/* The whole pages of a table behind what is used: zeros from now on. */
static void give_back(void *table, size_t used, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t kept = (used + page - 1) / page * page;

    if (kept < size) /* cannot fail: the range is mapped so */
        (void)madvise((char *)table + kept, size - kept, MADV_DONTNEED);
}

/* True: the place is free and the connection is in no list. A woken connection may be freed before
 * its turn, while it still links to others in the list of wake.h. */
static bool is_unused(const struct conn *c)
{
    return c->state == CONN_FREE && !atomic_load(&c->h1.is_due);
}

/* The table ends behind the last connection that is open; the free ones before it are taken again
 * from the front on, so that its end becomes free in time. */
static void trim_conns(struct worker *w)
{
    size_t used = w->table_used;

    while (used > 0 && is_unused(&w->conns[used - 1]))
        used--;
    w->table_used = used;
    w->free_streams = NULL;
    for (size_t i = used; i-- > 0;) {
        struct conn *c = &w->conns[i];

        if (c->state == CONN_FREE) {
            c->h1.next = w->free_streams;
            w->free_streams = &c->h1;
        }
    }
    give_back(w->conns, used * sizeof(*w->conns), w->max_conns * sizeof(*w->conns));
}

/* The same for what is lent to them. */
static void trim_exchanges(struct worker *w)
{
    size_t used = w->exchanges_used;

    while (used > 0 && !w->exchanges[used - 1].is_lent)
        used--;
    assert(used <= w->max_conns);
    w->exchanges_used = used;
    w->free_exchanges = NULL;
    for (size_t i = used; i-- > 0;) {
        struct exchange *x = &w->exchanges[i];

        if (!x->is_lent) {
            x->next = w->free_exchanges;
            w->free_exchanges = x;
        }
    }
    give_back(w->exchanges, used * sizeof(*w->exchanges), w->max_conns * sizeof(*w->exchanges));
}

static bool was_burst(const struct worker *w)
{
    return w->peak_conns >= BURST_MIN && w->open_conns <= w->peak_conns / 2;
}

/* The last connections of a burst may have been open when its memory was given back, and they are
 * at the table's end. */
static bool has_free_end(const struct worker *w)
{
    return w->table_used >= BURST_MIN && w->open_conns <= w->table_used / 2 &&
           is_unused(&w->conns[w->table_used - 1]);
}

void trim_when_quiet(struct worker *w)
{
    bool is_quiet = w->request_count == w->beat_requests;

    buffer_pool_trim(&w->bodies);

    w->beat_requests = w->request_count;
    if (!is_quiet || (!was_burst(w) && !has_free_end(w)))
        return;
    w->peak_conns = w->open_conns;
    trim_conns(w);
    trim_exchanges(w);
    (void)malloc_trim(0); /* whether there was anything to give back makes no difference */
}
