/* SPDX-License-Identifier: MIT
 *
 * See fair.h.
 */
#include "worker/fair.h"

void fair_note(struct fair *f, uint64_t took_ms, uint64_t now_ms)
{
    if (took_ms > FAIR_SLOW_MS)
        f->slow_until_ms = now_ms + FAIR_MEMORY_MS;
}

bool fair_lets_go(const struct fair *f, uint64_t now_ms)
{
    return f->enabled && now_ms < f->slow_until_ms;
}
