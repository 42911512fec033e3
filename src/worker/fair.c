/* SPDX-License-Identifier: MIT
 *
 * See fair.h.
 */
#include "worker/fair.h"

#include <stdatomic.h>

#include "system/scoreboard.h"

/* Without order: a worker that learns of it a moment later lets the next answer go. */
static uint64_t get(const _Atomic uint64_t *time)
{
    return atomic_load_explicit(time, memory_order_relaxed);
}

/* A memory that is still fresh is not written anew: it would only cost the others their cache. */
static void remember(_Atomic uint64_t *time, uint64_t now_ms)
{
    if (get(time) < now_ms + FAIR_MEMORY_MS / 2)
        atomic_store_explicit(time, now_ms + FAIR_MEMORY_MS, memory_order_relaxed);
}

void fair_note_call(struct fair *f, uint64_t serial, uint64_t took_ms, uint64_t now_ms)
{
    struct commons *c = f->commons;

    if (f->last_serial != 0 && serial != f->last_serial)
        remember(&c->shared_until_ms, now_ms);
    f->last_serial = serial;
    if (took_ms > FAIR_SLOW_MS && now_ms < get(&c->shared_until_ms))
        remember(&c->slow_until_ms, now_ms);
}

void fair_note_wait(struct fair *f, uint64_t serial, uint64_t waited_ms, uint64_t now_ms)
{
    if (waited_ms > FAIR_SLOW_MS && serial != f->last_serial)
        remember(&f->commons->slow_until_ms, now_ms);
}

bool fair_lets_go(const struct fair *f, uint64_t now_ms)
{
    return f->enabled && now_ms < get(&f->commons->slow_until_ms);
}
