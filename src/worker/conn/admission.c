/* SPDX-License-Identifier: MIT
 *
 * See admission.h. One that is refused with 408 lingers, so it is the last of those that come first
 * when the next try is made: room takes up to two steps.
 */
#include "worker/conn/admission.h"

#include <assert.h>

#include "base/log.h"
#include "base/util.h"
#include "worker/conn/conn.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

enum {
    ADMISSION_TRIES = 8,
    ADMISSION_LOOKS = 64, /* at bodies that come */
    LOG_EVERY_MS = 10000,
};

void admission_body_begins(struct worker *w, struct stream *s)
{
    struct admission *r = &w->admission;

    s->x->body_ms = worker_client_ms(w);
    s->x->body_older = r->newest;
    s->x->body_newer = NULL;
    if (r->newest)
        r->newest->x->body_newer = s;
    else
        r->oldest = s;
    r->newest = s;
}

void admission_body_ends(struct worker *w, struct stream *s)
{
    struct admission *r = &w->admission;

    assert((s->x->body_older ? s->x->body_older->x->body_newer : r->oldest) == s);
    assert((s->x->body_newer ? s->x->body_newer->x->body_older : r->newest) == s);
    if (s->x->body_older)
        s->x->body_older->x->body_newer = s->x->body_newer;
    else
        r->oldest = s->x->body_newer;
    if (s->x->body_newer)
        s->x->body_newer->x->body_older = s->x->body_older;
    else
        r->newest = s->x->body_older;
}

static struct conn *first_of(struct worker *w, enum timer_kind kind)
{
    return (struct conn *)(void *)timers_first(&w->timers, kind);
}

/* An answer of the admin process can be had again; a probe cannot wait. */
static struct conn *slowest_reader(struct worker *w)
{
    return w->args->builtin ? first_of(w, TIMER_WRITE) : NULL;
}

/* Of a body that is read as it comes, and may be refused: the next after it, or the first. */
static struct conn *next_received(struct worker *w, const struct conn *after)
{
    struct timer *t =
        after ? timers_after(&w->timers, &after->timer) : timers_first(&w->timers, TIMER_BODY);

    for (int i = 0; t && i < ADMISSION_LOOKS; i++, t = timers_after(&w->timers, t)) {
        struct conn *c = (struct conn *)(void *)t;

        if (c->h1.phase == STREAM_RECEIVING && c->h1.env->response.phase == RESPONSE_OPEN)
            return c;
    }
    return NULL;
}

bool admission_is_possible(struct worker *w)
{
    return first_of(w, TIMER_LINGER) || first_of(w, TIMER_LINGER_WHOLE) ||
           first_of(w, TIMER_KEEPALIVE) || first_of(w, TIMER_HEADER) || w->admission.oldest ||
           next_received(w, NULL) || slowest_reader(w);
}

static struct conn *oldest_head(struct worker *w)
{
    struct conn *c = first_of(w, TIMER_HEADER);

    if (!c)
        return NULL;
    uint64_t since_ms = c->timer.deadline_ms - w->timers.length_ms[TIMER_HEADER];
    return worker_client_ms(w) >= since_ms + ADMISSION_AGE_MS ? c : NULL;
}

/* Of the eight that have been silent for longest, the slowest, if it is slower than `least`. */
static struct conn *slower_received(struct worker *w, uint64_t least)
{
    struct conn *c = NULL, *slowest = NULL;

    for (int i = 0; i < ADMISSION_BODIES && (c = next_received(w, c)); i++) {
        const struct body_pace *pace = &c->h1.x->pace;
        uint64_t took_ms = pace->took_ms + worker_client_ms(w) - pace->since_ms;

        if (took_ms < ADMISSION_AGE_MS)
            continue;
        uint64_t rate = request_body_len(&c->h1.env->request) * 1000 / took_ms;
        if (rate < least) {
            least = rate;
            slowest = c;
        }
    }
    return slowest;
}

static struct conn *slowest_body(struct worker *w)
{
    uint64_t now_ms = worker_client_ms(w), least = UINT64_MAX;
    struct stream *s = w->admission.oldest, *slowest = NULL;

    for (int i = 0; s && i < ADMISSION_BODIES; s = s->x->body_newer, i++) {
        uint64_t took_ms = now_ms - s->x->body_ms;

        if (took_ms < ADMISSION_AGE_MS) /* and so have those after it */
            break;
        uint64_t rate = s->env->request.body.len * 1000 / took_ms;
        if (rate < least) {
            least = rate;
            slowest = s;
        }
    }
    struct conn *received = slower_received(w, least);
    return received || !slowest ? received : conn_of(slowest);
}

static struct conn *next_to_go(struct worker *w)
{
    struct conn *c;

    if ((c = first_of(w, TIMER_LINGER_WHOLE)) || (c = first_of(w, TIMER_LINGER)) ||
        (c = first_of(w, TIMER_KEEPALIVE)) || (c = oldest_head(w)))
        return c;
    c = slowest_body(w);
    return c ? c : slowest_reader(w);
}

static void log_gave_way(struct admission *r, const struct worker *w)
{
    uint64_t now = w->now_ns / 1000000;

    r->gave_way++;
    if (r->logged_ms != 0 && now < r->logged_ms + LOG_EVERY_MS)
        return;
    log_warnx(
        "Worker full (pid: %d): %zu connections are open; answered %u unfinished requests 408 "
        "to make room for new ones (logged at most every %d s)",
        (int)w->pid, w->open_conns, r->gave_way, LOG_EVERY_MS / 1000);
    r->logged_ms = now;
    r->gave_way = 0;
}

bool admission_make_room(struct worker *w, size_t max_open)
{
    struct conn *c;

    for (int tries = 0; tries < ADMISSION_TRIES && w->open_conns > max_open; tries++) {
        c = next_to_go(w);
        if (!c)
            break;
        if (conn_give_way(c))
            log_gave_way(&w->admission, w);
    }
    return w->open_conns <= max_open;
}
