/* SPDX-License-Identifier: MIT
 *
 * See timers.h.
 */
#include "worker/loop/timers.h"

#include <assert.h>
#include <stddef.h>

void timers_init(struct timers *t)
{
    for (int kind = 0; kind < TIMER_KINDS; kind++)
        t->heads[kind].prev = t->heads[kind].next = &t->heads[kind];
}

void timer_init(struct timer *timer)
{
    timer->prev = timer->next = timer;
    timer->kind = TIMER_NONE;
}

void timer_clear(struct timer *timer)
{
    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer_init(timer);
}

void timer_set(struct timers *t, struct timer *timer, enum timer_kind kind, uint64_t now_ms)
{
    struct timer *head = &t->heads[kind];

    timer->prev->next = timer->next;
    timer->next->prev = timer->prev;
    timer->prev = head->prev;
    timer->next = head;
    head->prev->next = timer;
    head->prev = timer;
    timer->deadline_ms = now_ms + t->length_ms[kind];
    timer->kind = kind;
}

struct timer *timers_first(struct timers *t, enum timer_kind kind)
{
    struct timer *head = &t->heads[kind];

    return head->next == head ? NULL : head->next;
}

struct timer *timers_after(struct timers *t, const struct timer *timer)
{
    return timer->next == &t->heads[timer->kind] ? NULL : timer->next;
}

struct timer *timers_late(struct timers *t, uint64_t now_ms)
{
    for (int kind = 0; kind < TIMER_KINDS; kind++) {
        struct timer *first = timers_first(t, (enum timer_kind)kind);

        assert(!first || (int)first->kind == kind);
        if (first && first->deadline_ms <= now_ms)
            return first;
    }
    return NULL;
}

uint64_t timers_next_ms(struct timers *t)
{
    uint64_t next = UINT64_MAX;

    for (int kind = 0; kind < TIMER_KINDS; kind++) {
        struct timer *first = timers_first(t, (enum timer_kind)kind);

        if (first && first->deadline_ms < next)
            next = first->deadline_ms;
    }
    return next;
}
