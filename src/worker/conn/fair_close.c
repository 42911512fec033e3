/* SPDX-License-Identifier: MIT
 *
 * See fair_close.h.
 */
#include "worker/conn/fair_close.h"

#include <stdatomic.h>

#include "system/ipc/scoreboard.h"

/* Without order: a worker that learns of it a moment later lets the next answer go. */
static uint64_t get(const _Atomic uint64_t *time)
{
    return atomic_load_explicit(time, memory_order_relaxed);
}

/* Is this time not over yet? No worker stores one that is much further off than FAIR_CLOSE_MEMORY_MS:
 * that is a stray write, which must not last for ever. */
static bool is_ahead(uint64_t time, uint64_t now_ms)
{
    return time - now_ms < 2 * FAIR_CLOSE_MEMORY_MS;
}

/* A memory that is still fresh is not written again: it would only cost the others their cache. */
static void remember(_Atomic uint64_t *time, uint64_t now_ms)
{
    if (!is_ahead(get(time), now_ms + FAIR_CLOSE_MEMORY_MS / 2))
        atomic_store_explicit(time, now_ms + FAIR_CLOSE_MEMORY_MS - 1, memory_order_relaxed);
}

void fair_close_note_call(struct fair_close *f, uint64_t serial, uint64_t took_ms, uint64_t now_ms)
{
    struct shared_hints *c = f->hints;

    if (f->last_serial != 0 && serial != f->last_serial)
        remember(&c->shared_until_ms, now_ms);
    f->last_serial = serial;
    if (took_ms > FAIR_CLOSE_SLOW_MS && is_ahead(get(&c->shared_until_ms), now_ms))
        remember(&c->slow_until_ms, now_ms);
}

void fair_close_note_wait(struct fair_close *f, uint64_t serial, uint64_t waited_ms,
                          uint64_t now_ms)
{
    if (waited_ms > FAIR_CLOSE_SLOW_MS && serial != f->last_serial)
        remember(&f->hints->slow_until_ms, now_ms);
}

bool fair_close_is_due(const struct fair_close *f, uint64_t now_ms)
{
    return f->enabled && is_ahead(get(&f->hints->slow_until_ms), now_ms);
}
