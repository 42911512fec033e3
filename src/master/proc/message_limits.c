/* SPDX-License-Identifier: MIT
 *
 * See message_limits.h.
 */
#include "master/proc/message_limits.h"

enum { SECOND_MS = 1000 };

#define BIT(type) (1u << (type))

/* The messages that must have come before, and those that must not. */
static const struct rule {
    unsigned after, not_after;
} rules[] = {
    [UP_READY] = {0, BIT(UP_READY) | BIT(UP_BOOTFAIL)},
    [UP_HEARTBEAT] = {BIT(UP_READY), 0},
    [UP_BOOTFAIL] = {0, BIT(UP_READY) | BIT(UP_BOOTFAIL)},
    [UP_DYING] = {0, BIT(UP_DYING)},
    [UP_CRASHED] = {0, BIT(UP_CRASHED)}, /* DYING may not have fitted in the pipe */
    [UP_RECYCLE] = {BIT(UP_READY), 0},
};

bool speech_count(struct speech *s, uint64_t now_ms)
{
    if (now_ms - s->second_ms >= SECOND_MS) {
        s->second_ms = now_ms;
        s->count = 0;
    }
    return ++s->count <= SPEECH_SECOND_MAX;
}

bool speech_take(struct speech *s, enum up_type type)
{
    const struct rule *rule = &rules[type];

    if ((s->said & rule->after) != rule->after || (s->said & rule->not_after) != 0)
        return false;
    s->said |= BIT(type);
    return true;
}

bool speech_has_said(const struct speech *s, enum up_type type)
{
    return (s->said & BIT(type)) != 0;
}
