/* SPDX-License-Identifier: MIT
 *
 * See fair.h.
 */
#include "worker/fair.h"

void fair_note_call(struct fair *f, uint64_t serial, uint64_t took_ms, uint64_t now_ms)
{
    if (f->last_serial != 0 && serial != f->last_serial)
        f->shared_until_ms = now_ms + FAIR_MEMORY_MS;
    f->last_serial = serial;
    if (took_ms > FAIR_SLOW_MS && now_ms < f->shared_until_ms)
        f->until_ms = now_ms + FAIR_MEMORY_MS;
}

void fair_note_wait(struct fair *f, uint64_t serial, uint64_t waited_ms, uint64_t now_ms)
{
    if (waited_ms > FAIR_SLOW_MS && serial != f->last_serial)
        f->until_ms = now_ms + FAIR_MEMORY_MS;
}

bool fair_lets_go(const struct fair *f, uint64_t now_ms)
{
    return f->enabled && now_ms < f->until_ms;
}
