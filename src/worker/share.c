/* SPDX-License-Identifier: MIT
 *
 * See share.h. Slots are read while their owners write them, and are trusted with nothing: what a
 * wrong one can do is to have connections taken by others, or a moment later (accept.c).
 */
#include "worker/share.h"

#include <stdbool.h>

#include "system/scoreboard.h"

static bool is_free(const struct slot *s)
{
    switch (slot_get_state(s)) {
    case SLOT_IDLE: return true;
    case SLOT_CALLING: return slot_call_count(s) > 1 && slot_busy_since_ms(s) == 0;
    default: return false;
    }
}

uint64_t share_limit(struct scoreboard *scoreboard, const struct slot *own)
{
    uint64_t fewest = slot_get_number(&own->connections_open), held = fewest;
    unsigned used = scoreboard ? scoreboard_used(scoreboard) : 0;

    if (held <= SHARE_SLACK)
        return UINT64_MAX;
    for (unsigned i = 0; i < used; i++) {
        const struct slot *s = scoreboard_slot(scoreboard, i);
        uint64_t theirs = slot_get_number(&s->connections_open);

        if (theirs < fewest && s->generation == own->generation && is_free(s))
            fewest = theirs;
    }
    return fewest < held ? fewest + fewest / 8 + SHARE_SLACK : UINT64_MAX;
}
