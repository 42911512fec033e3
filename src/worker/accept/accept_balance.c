/* SPDX-License-Identifier: MIT
 *
 * See accept_balance.h. Slots are read while their owners write them, and are trusted with nothing:
 * what a wrong one can do is to have connections taken by others, or a moment later (accept.c).
 */
#include "worker/accept/accept_balance.h"

#include <stdbool.h>

#include "system/ipc/scoreboard.h"

static bool is_free(const struct slot *s, enum slot_state state)
{
    return state == SLOT_IDLE || (slot_call_count(s) > 1 && slot_busy_since_ms(s) == 0);
}

uint64_t accept_balance_limit(struct scoreboard *scoreboard, const struct slot *own)
{
    uint64_t held = slot_get_number(&own->connections_open), limit = UINT64_MAX;
    unsigned used = scoreboard && held > ACCEPT_BALANCE_SLACK ? scoreboard_used(scoreboard) : 0;

    for (unsigned i = 0; i < used; i++) {
        const struct slot *s = scoreboard_slot(scoreboard, i);
        uint64_t theirs = slot_get_number(&s->connections_open);
        enum slot_state state = slot_get_state(s);

        if (theirs >= held || s->generation != own->generation ||
            (state != SLOT_IDLE && state != SLOT_CALLING))
            continue;
        uint64_t allowed = is_free(s, state) ? theirs + theirs / 8 + ACCEPT_BALANCE_SLACK
                                             : theirs * 2 + ACCEPT_BALANCE_BUSY_SLACK;
        limit = allowed < limit ? allowed : limit;
    }
    return limit;
}
