/* SPDX-License-Identifier: MIT
 *
 * See call_pool.h. Two queues of connections under one lock: those that wait for a thread, in
 * order, and those whose call is over, which the loop's thread takes whole when it is woken.
 *
 * What requests share is only read, but for the date of answers: each thread has its own copy of
 * the context, in which it sets that, and lends it to the request while it runs.
 */
#include "worker/call/call_pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/ascii.h"
#include "base/log.h"
#include "base/util.h"
#include "worker/conn/queue_delay.h"
#include "worker/crash/crash.h"
#include "worker/call/forked.h"
#include "worker/worker.h"

struct queue {
    struct conn *first, **end;
};

struct pool_thread {
    struct pool *pool;
    unsigned number;
    pthread_t handle;
    _Atomic pid_t id;
    const struct conn *_Atomic serving;
    struct slot_call *shown; /* what it runs, in the slot */
    struct http_context http;
};

struct pool {
    struct worker *worker;
    size_t handed_count; /* to it, and not back yet; the loop's */
    struct ev_async turn;
    struct ev_prepare rest;

    pthread_mutex_t lock;
    pthread_cond_t come; /* something waits, or it is over */
    struct queue waiting, called;
    bool ends;

    unsigned count;
    struct pool_thread threads[];
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void queue_put(struct queue *q, struct conn *c)
{
    c->next = NULL;
    *q->end = c;
    q->end = &c->next;
}

static struct conn *queue_take(struct queue *q)
{
    struct conn *c = q->first;

    if (c && !(q->first = c->next))
        q->end = &q->first;
    return c;
}

/* ---- a thread ---------------------------------------------------------------------------- */

static void run_handler(struct pool_thread *t, struct conn *c)
{
    const struct app *app = &t->pool->worker->app;

    if (app->on_pre_request)
        app->on_pre_request(c->env);
    response_run(c->env, app->handler);
}

static void run_call(struct pool_thread *t, struct conn *c)
{
    struct worker *w = t->pool->worker;
    struct gcorn_environ *env = c->env;

    env->context = &t->http;
    http_context_set_date(&t->http, time(NULL));
    worker_show_call(t->shown, c->x->call.kind == CALL_END ? NULL : c, env,
                     c->x->call.taken_ns / 1000000);
    atomic_store(&t->serving, c);
    switch (c->x->call.kind) {
    case CALL_HANDLER: run_handler(t, c); break;
    case CALL_NEXT:
        c->x->more = framing_h1_next(env, &c->x->out, &c->x->piece, &c->x->piece_len);
        break;
    case CALL_END: worker_end_environ(w, env); break;
    }
    crash_end_recovered();
    forked_check();
    atomic_store(&t->serving, NULL);
    slot_call_end(t->shown);
    atomic_store_explicit(&t->shown->until_ms, 0, memory_order_relaxed);
    env->context = &w->http;
}

/* The next connection for this thread; NULL: it is to end. What is over must be ended in any case.
 */
static struct conn *wait_for_call(struct pool *p)
{
    struct conn *c;

    for (;;) {
        while ((c = queue_take(&p->waiting)) && p->ends && c->x->call.kind != CALL_END)
            continue;
        if (c || p->ends)
            return c;
        (void)pthread_cond_wait(&p->come, &p->lock);
    }
}

static void *run_thread(void *arg)
{
    struct pool_thread *t = arg;
    struct pool *p = t->pool;
    struct conn *c;

    atomic_store(&t->id, (pid_t)syscall(SYS_gettid));
    crash_init_thread();
    (void)pthread_mutex_lock(&p->lock);
    while ((c = wait_for_call(p))) {
        (void)pthread_mutex_unlock(&p->lock);
        c->x->call.thread = t->number;
        c->x->call.taken_ns = now_ns();
        c->x->call.turned_away =
            c->x->call.kind == CALL_HANDLER
                ? arrival_too_late(c, (c->x->call.taken_ns - c->x->arrived_ns) / 1000000)
                : 0;
        if (c->x->call.turned_away == 0)
            run_call(t, c);
        (void)pthread_mutex_lock(&p->lock);
        queue_put(&p->called, c);
        ev_async_send(p->worker->loop, &p->turn);
    }
    (void)pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* ---- the loop's thread ------------------------------------------------------------------- */

static struct conn *take_called(struct pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    struct conn *c = p->called.first;
    queue_init(&p->called);
    (void)pthread_mutex_unlock(&p->lock);
    return c;
}

static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct pool *p = async->data;
    struct worker *w = p->worker;
    struct conn *c = take_called(p);

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    while (c) {
        struct conn *next = c->next;

        if (--p->handed_count == 0)
            w->slot->state = w->draining ? SLOT_DRAINING : SLOT_IDLE;
        conn_called(c);
        c = next;
    }
    accept_update(w);
}

static void on_rest(struct ev_loop *loop, struct ev_prepare *rest, int revents)
{
    (void)loop;
    (void)rest;
    (void)revents;
    crash_rest();
}

void pool_hand_over(struct pool *p, struct conn *c, enum call_kind kind)
{
    struct worker *w = p->worker;

    c->x->call = (struct call){.kind = kind, .handed_ns = w->now_ns};
    p->handed_count++;
    if (!w->draining)
        w->slot->state = SLOT_CALLING;
    (void)pthread_mutex_lock(&p->lock);
    queue_put(&p->waiting, c);
    (void)pthread_cond_signal(&p->come);
    (void)pthread_mutex_unlock(&p->lock);
    if (pool_is_busy(p))
        accept_update(w);
}

bool pool_is_busy(const struct pool *p)
{
    return p->handed_count >= p->count;
}

/* It blocks what the loop's thread blocks, which is nothing: programs that a handler starts inherit
 * the mask, and posix_spawn, system and popen give no chance to change it. */
static void start(struct pool_thread *t)
{
    char name[16];
    sigset_t before, blocked;

    (void)pthread_sigmask(SIG_BLOCK, NULL, &before);
    blocked = before;
    crash_spare_fatal(&blocked);
    (void)pthread_sigmask(SIG_SETMASK, &blocked, NULL);
    int error = pthread_create(&t->handle, NULL, run_thread, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        fatal("cannot start thread %u of %u: %s", t->number + 1, t->pool->count,
              ascii_error(error));
    (void)snprintf(name, sizeof(name), "gcorn-call-%u", t->number);
    (void)pthread_setname_np(t->handle, name); /* for people who look at it */
}

struct pool *pool_new(struct worker *w, unsigned count)
{
    struct pool *p = xcalloc(1, sizeof(*p) + count * sizeof(p->threads[0]));

    p->worker = w;
    p->count = count;
    w->slot->call_count = count;
    queue_init(&p->waiting);
    queue_init(&p->called);
    (void)pthread_mutex_init(&p->lock, NULL); /* these cannot fail: the defaults */
    (void)pthread_cond_init(&p->come, NULL);
    ev_async_init(&p->turn, on_turn);
    p->turn.data = p;
    ev_async_start(w->loop, &p->turn);
    ev_prepare_init(&p->rest, on_rest);
    ev_prepare_start(w->loop, &p->rest);
    for (unsigned i = 0; i < count; i++) {
        w->slot->calls[i] = (struct slot_call){.started_ms = 0};
        p->threads[i] = (struct pool_thread){
            .pool = p, .number = i, .shown = &w->slot->calls[i], .http = w->http};
        start(&p->threads[i]);
    }
    return p;
}

void pool_stop(struct pool *p)
{
    (void)pthread_mutex_lock(&p->lock);
    p->ends = true;
    (void)pthread_cond_broadcast(&p->come);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        (void)pthread_join(p->threads[i].handle, NULL);
    ev_async_stop(p->worker->loop, &p->turn);
    ev_prepare_stop(p->worker->loop, &p->rest);
    for (struct conn *c = p->called.first; c; c = c->next) {
        if (c->x->call.kind == CALL_END)
            conn_forget_request(c);
    }
    free(p);
}

/* ---- for a crash ------------------------------------------------------------------------- */

unsigned pool_count(const struct pool *p)
{
    return p->count;
}

pid_t pool_thread_id(const struct pool *p, unsigned i)
{
    return atomic_load(&p->threads[i].id);
}

const struct conn *pool_serving(const struct pool *p, unsigned i)
{
    return atomic_load(&p->threads[i].serving);
}
