/* SPDX-License-Identifier: MIT
 *
 * See trim.h. Both cost a walk over memory, so they are done once after a burst, and never while
 * there is something to do.
 */
#include "worker/trim.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "worker/worker.h"

enum { BURST_MIN = 64 }; /* fewer connections leave nothing that is worth it */

/* The table ends behind the last connection that is open; the free ones before it are taken again
 * from the front on, so that its end becomes free in time. */
static void trim_table(struct worker *w)
{
    size_t used = w->table_used, page = (size_t)sysconf(_SC_PAGESIZE);

    while (used > 0 && w->conns[used - 1].state == CONN_FREE)
        used--;
    w->table_used = used;
    w->free_conns = NULL;
    for (size_t i = used; i-- > 0;) {
        struct conn *c = &w->conns[i];

        if (c->state == CONN_FREE) {
            c->next = w->free_conns;
            w->free_conns = c;
        }
    }
    size_t kept = (used * sizeof(*w->conns) + page - 1) / page * page;
    size_t size = w->max_conns * sizeof(*w->conns);
    if (kept < size) /* zeros from now on: CONN_FREE. Cannot fail: the range is mapped so */
        (void)madvise((char *)w->conns + kept, size - kept, MADV_DONTNEED);
}

void trim_when_quiet(struct worker *w)
{
    bool is_quiet = w->request_count == w->beat_requests;

    w->beat_requests = w->request_count;
    if (!is_quiet || w->peak_conns < BURST_MIN || w->open_conns > w->peak_conns / 2)
        return;
    w->peak_conns = w->open_conns;
    trim_table(w);
    (void)malloc_trim(0); /* whether there was anything to give back makes no difference */
}
