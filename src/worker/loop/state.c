/* SPDX-License-Identifier: MIT
 *
 * See state.h.
 */
#include "worker/loop/state.h"

/* For signal handlers and the functions of gcorn.h, which are given no worker. */
static struct worker *the_worker;

struct worker *worker_this(void)
{
    return the_worker;
}

void worker_set_this(struct worker *w)
{
    the_worker = w;
}
