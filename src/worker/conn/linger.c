/* SPDX-License-Identifier: MIT
 *
 * See linger.h.
 */
#include "worker/conn/linger.h"

#include <assert.h>

#include "worker/loop/timers.h"

void linger_begin(struct lingering *l, uint64_t came, uint64_t now_ms)
{
    l->came = came;
    l->since_ms = now_ms;
}

enum linger_next linger_note(struct lingering *l, size_t len, uint64_t min_rate, uint64_t now_ms)
{
    uint64_t took_ms = now_ms - l->since_ms;

    assert(now_ms >= l->since_ms);
    l->came += len;
    if (l->came == l->announced)
        return LINGER_WHOLE;
    if (timers_is_trickle(l->came, took_ms, LINGER_GRACE_MS, min_rate))
        return LINGER_OVER;
    return took_ms + LINGER_GAP_MS <= LINGER_MAX_MS ? LINGER_RENEW : LINGER_LAST;
}
