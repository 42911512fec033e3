/* SPDX-License-Identifier: MIT
 *
 * See posts.h.
 */
#include "worker/callback/posts.h"

#include <errno.h>
#include <ev.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/util.h"
#include "worker/callback/app_threads.h"
#include "worker/callback/callback.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

struct post {
    struct post *next;
    gcorn_call_fn *fn;
    void *arg;
};

struct posts {
    struct post *_Atomic latest; /* the latest first; &closed: no more are taken */
    struct post *due;            /* in order */
    struct ev_async turn;
};

static struct post closed;

/* Appends what has come, in order, to what is left over. What it leaves in its place is NULL, or
 * &closed. */
static void take(struct posts *p, struct post *left)
{
    struct post *latest = atomic_load(&p->latest), *first = NULL, **end = &p->due;

    if (latest == &closed)
        return;
    latest = atomic_exchange(&p->latest, left); /* only the loop's thread closes it */
    while (latest) {
        struct post *next = latest->next;

        latest->next = first;
        first = latest;
        latest = next;
    }
    while (*end)
        end = &(*end)->next;
    *end = first;
}

static void run_first(struct worker *w)
{
    struct post *post = w->posts->due;
    const struct post what = *post;

    w->posts->due = post->next;
    free(post);
    callback_run(w, "POST", what.fn, what.arg);
}

/* Runs the posts; when there are many, other events get their turn in between. */
static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct worker *w = async->data;

    (void)revents;
    worker_look_at_clock(w);
    take(w->posts, NULL);
    while (w->posts->due && !worker_pass_is_long(w))
        run_first(w);
    if (w->posts->due)
        ev_async_send(loop, async);
    app_threads_join_ended(w);
}

void posts_init(struct worker *w)
{
    w->posts = xcalloc(1, sizeof(*w->posts));
    ev_async_init(&w->posts->turn, on_turn);
    w->posts->turn.data = w;
    ev_async_start(w->loop, &w->posts->turn);
}

void posts_wake(struct worker *w)
{
    ev_async_send(w->loop, &w->posts->turn);
}

static void run_taken(struct worker *w)
{
    while (w->posts->due)
        run_first(w);
}

void posts_run(struct worker *w)
{
    worker_look_at_clock(w);
    take(w->posts, NULL);
    run_taken(w);
}

void posts_close(struct worker *w, uint64_t until_ms)
{
    struct post *none = NULL;

    do {
        posts_run(w);
        none = NULL;
    } while (!atomic_compare_exchange_strong(&w->posts->latest, &none, &closed) &&
             now_ms() < until_ms);
    take(w->posts, &closed);
    run_taken(w);
}

int post_to_loop(gcorn_call_fn *fn, void *arg)
{
    struct worker *w = worker_this();

    if (!w || !w->posts) {
        errno = ENOTSUP;
        return -1;
    }
    struct post *post = xmalloc(sizeof(*post)), *latest = atomic_load(&w->posts->latest);
    *post = (struct post){.fn = fn, .arg = arg};
    do {
        if (latest == &closed) {
            free(post);
            errno = ESHUTDOWN;
            return -1;
        }
        post->next = latest;
    } while (!atomic_compare_exchange_weak(&w->posts->latest, &latest, post));
    posts_wake(w);
    return 0;
}
