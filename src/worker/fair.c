/* SPDX-License-Identifier: MIT
 *
 * See fair.h.
 */
#include "worker/fair.h"

void fair_note_wait(struct fair *f, uint64_t waited_ms, uint64_t now_ms)
{
    if (waited_ms <= FAIR_WAIT_MS)
        return;
    if (f->memory_ms == 0 || now_ms > f->until_ms + f->memory_ms)
        f->memory_ms = FAIR_MEMORY_MS;
    else if (now_ms >= f->until_ms && f->memory_ms < FAIR_MEMORY_MAX_MS)
        f->memory_ms *= 2; /* connections were kept anew, and one of them waited at once */
    f->until_ms = now_ms + f->memory_ms;
}

bool fair_lets_go(const struct fair *f, uint64_t now_ms)
{
    return f->enabled && now_ms < f->until_ms;
}
