/* SPDX-License-Identifier: MIT
 *
 * call_pool - the class gthread: the loop's thread reads and writes, and calls of the application
 * run in a pool of threads.
 *
 * The loop's thread hands a connection whose request is to be run to the pool, and gets it back
 * when the call is over. Between the two its stream is STREAM_CALLING: the loop's thread does not
 * use it, and the pool's thread uses only it and its request. So neither needs a lock for its work.
 *
 * One lock protects two queues of connections: those that wait for a thread, in order, and those
 * whose call is over, which the loop's thread takes all at once when it is woken.
 *
 * Data that requests share is only read, except for the date of answers: each thread has its own
 * copy of the context, sets the date in it, and lends it to the request while it runs.
 */
#include "worker/call/call.h"

#include <assert.h>
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
#include "http/answer/body.h"
#include "worker/call/call_inline.h"
#include "worker/call/forked.h"
#include "worker/call/push.h"
#include "worker/callback/callback.h"
#include "worker/loop/clock.h"
#include "worker/loop/counts.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"

struct queue {
    struct stream *first, **end;
};

/* Bytes of interim answers, from a thread to the loop's. */
struct handed {
    struct handed *next;
    struct stream *stream;
    size_t len;
    char bytes[];
};

struct pool_thread {
    struct pool *pool;
    unsigned number;
    pthread_t handle;
    _Atomic pid_t id;
    const struct stream *_Atomic serving;
    struct slot_call *shown; /* the call that it runs, in the slot */
    struct http_context http;
};

struct pool {
    struct worker *worker;
    size_t handed_count; /* handed to it and not back yet; used by the loop's thread */
    struct ev_async turn;
    struct ev_prepare rest;

    pthread_mutex_t lock;
    pthread_cond_t come; /* a connection waits, or the pool stops */
    struct queue waiting, called;
    struct handed *handed, **handed_end;
    struct push *pushed; /* those that have something for the loop */
    bool ends;
    unsigned begun_count; /* threads that take calls */

    unsigned count;
    struct pool_thread threads[];
};

static void queue_init(struct queue *q)
{
    q->first = NULL;
    q->end = &q->first;
}

static void handed_init(struct pool *p)
{
    p->handed = NULL;
    p->handed_end = &p->handed;
}

static void queue_put(struct queue *q, struct stream *s)
{
    s->next = NULL;
    *q->end = s;
    q->end = &s->next;
}

static struct stream *queue_take(struct queue *q)
{
    struct stream *s = q->first;

    if (s && !(q->first = s->next))
        q->end = &q->first;
    return s;
}

/* ---- a thread ---------------------------------------------------------------------------- */

static void run_call(struct pool_thread *t, struct stream *s)
{
    struct worker *w = t->pool->worker;
    struct gcorn_environ *env = s->env;

    assert(!atomic_load(&t->serving));
    env->context = &t->http;
    http_context_set_date(&t->http, time(NULL));
    call_show(t->shown, s->x->call.kind == CALL_END ? NULL : s, env, s->x->call.taken_ns / 1000000);
    atomic_store(&t->serving, s);
    switch (s->x->call.kind) {
    case CALL_HEAD:
    case CALL_HANDLER: call_handler(w, env); break;
    case CALL_NEXT:
        s->x->more = framing_h1_next(env, &s->x->out, &s->x->piece, &s->x->piece_len);
        break;
    case CALL_END: call_end_environ(w, env); break;
    }
    crash_end_recovered();
    forked_check();
    atomic_store(&t->serving, NULL);
    slot_call_end(t->shown);
    atomic_store_explicit(&t->shown->until_ms, 0, memory_order_relaxed);
    env->context = &w->http;
}

/* A thread's: the stream's call is over for the loop only after it has taken this. */
static void hand_interims(struct worker *w, struct stream *s)
{
    struct pool *p = w->pool;
    struct strbuf text = {0};

    framing_h1_interims(s->env, &text);
    struct handed *h = xmalloc(sizeof(*h) + text.len);
    *h = (struct handed){.stream = s, .len = text.len};
    memcpy(h->bytes, text.data, text.len);
    strbuf_release(&text);
    (void)pthread_mutex_lock(&p->lock);
    *p->handed_end = h;
    p->handed_end = &h->next;
    ev_async_send(w->loop, &p->turn);
    (void)pthread_mutex_unlock(&p->lock);
}

/* The next connection for this thread; NULL: the thread must end. A request that is over must be
 * ended even then. */
static struct stream *wait_for_call(struct pool *p)
{
    struct stream *s;

    for (;;) {
        while ((s = queue_take(&p->waiting)) && p->ends && s->x->call.kind != CALL_END)
            continue;
        if (s || p->ends)
            return s;
        (void)pthread_cond_wait(&p->come, &p->lock);
    }
}

static void run_hook(struct pool_thread *t, const char *name, void (*hook)(unsigned number))
{
    if (!hook)
        return;
    callback_show(t->shown, "HOOK", name, strlen(name), now_ms());
    hook(t->number);
    crash_end_recovered();
    forked_check();
    slot_call_end(t->shown);
}

static void *run_thread(void *arg)
{
    struct pool_thread *t = arg;
    struct pool *p = t->pool;
    const struct app *app = &p->worker->app;
    struct stream *s;

    atomic_store(&t->id, (pid_t)syscall(SYS_gettid));
    atomic_store(&t->shown->tid, t->id);
    body_note_stack(__builtin_frame_address(0));
    crash_init_thread();
    run_hook(t, "gcorn_on_thread_start", app->on_thread_start);
    (void)pthread_mutex_lock(&p->lock);
    p->begun_count++;
    (void)pthread_cond_broadcast(&p->come); /* see wait_for_threads */
    while ((s = wait_for_call(p))) {
        (void)pthread_mutex_unlock(&p->lock);
        s->x->call.slot_index = t->number;
        s->x->call.taken_ns = now_ns();
        if (s->x->call.kind <= CALL_HANDLER)
            s->x->call.refusal =
                call_refusal(s, (s->x->call.taken_ns - s->x->arrived_ns) / 1000000);
        if (s->x->call.refusal == 0)
            run_call(t, s);
        (void)pthread_mutex_lock(&p->lock);
        queue_put(&p->called, s);
        ev_async_send(p->worker->loop, &p->turn);
    }
    (void)pthread_mutex_unlock(&p->lock);
    run_hook(t, "gcorn_on_thread_end", app->on_thread_end);
    return NULL;
}

/* ---- pushes ------------------------------------------------------------------------------ */

/* However much is pushed before its turn, the loop is woken once. */
static void send_pushed_bytes(struct worker *w, struct stream *s)
{
    struct pool *p = w->pool;
    struct push *push = s->x->push;

    (void)pthread_mutex_lock(&p->lock);
    bool was_listed = push->is_listed;
    if (!was_listed) {
        push->next = p->pushed;
        p->pushed = push;
        push->is_listed = true;
    }
    (void)pthread_mutex_unlock(&p->lock);
    if (!was_listed)
        ev_async_send(w->loop, &p->turn);
}

static bool wait_taken(struct worker *w, struct stream *s)
{
    struct pool *p = w->pool;
    struct push *push = s->x->push;
    struct timespec until;

    (void)clock_gettime(CLOCK_REALTIME, &until); /* fails only for an unknown clock */
    until.tv_nsec += PUSH_WAIT_MS(w) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_mutex_lock(&push->lock);
    if (push->take_count == push->seen_count && push_ended(push) == PUSH_GOES_ON)
        (void)pthread_cond_timedwait(&push->taken, &push->lock, &until);
    (void)pthread_mutex_unlock(&push->lock);
    (void)pthread_mutex_lock(&p->lock);
    bool ends = p->ends;
    (void)pthread_mutex_unlock(&p->lock);
    return !ends;
}

/* ---- the loop's thread ------------------------------------------------------------------- */

/* All at once: the streams of what is handed over, or pushed, are with a thread, or among those
 * called. */
static struct stream *take_called(struct pool *p, struct handed **handed, struct push **pushed)
{
    (void)pthread_mutex_lock(&p->lock);
    struct stream *s = p->called.first;
    *handed = p->handed;
    queue_init(&p->called);
    handed_init(p);
    *pushed = p->pushed;
    p->pushed = NULL;
    (void)pthread_mutex_unlock(&p->lock);
    return s;
}

static void send_all_handed(struct handed *h)
{
    while (h) {
        struct handed *next = h->next;

        send_handed(h->stream, h->bytes, h->len);
        free(h);
        h = next;
    }
}

/* Was it the first call for its request? */
static bool call_is_first(const struct stream *s)
{
    return s->x->call.kind == CALL_HEAD || (s->x->call.kind == CALL_HANDLER && !s->was_asked);
}

/* Its next place in the list is its own until it is not listed any more. */
static void send_all_pushed(struct pool *p, struct push *push)
{
    while (push) {
        struct push *next = push->next;

        (void)pthread_mutex_lock(&p->lock);
        push->is_listed = false;
        (void)pthread_mutex_unlock(&p->lock);
        if (push->stream->phase == STREAM_CALLING)
            stream_send_pushed(push->stream);
        push = next;
    }
}

static void on_turn(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct pool *p = async->data;
    struct worker *w = p->worker;
    struct handed *handed;
    struct push *pushed;
    struct stream *s = take_called(p, &handed, &pushed);

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    send_all_handed(handed);
    send_all_pushed(p, pushed);
    while (s) {
        struct stream *next = s->next;

        assert(p->handed_count > 0);
        if (--p->handed_count == 0)
            w->slot->state = w->draining ? SLOT_DRAINING : SLOT_IDLE;
        if (call_is_first(s) && s->x->call.refusal == 0)
            worker_note_run(w, s->x->call.taken_ns - s->x->arrived_ns);
        stream_called(s);
        s = next;
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

static bool is_busy(const struct worker *w)
{
    return w->pool->handed_count >= w->pool->count;
}

/* Queues the connection for a thread. */
static enum called hand_over(struct worker *w, struct stream *s, enum call_kind kind)
{
    struct pool *p = w->pool;

    stream_lend(s);
    assert(s->phase == STREAM_CALLING && p->handed_count < w->open_conns);
    s->x->call = (struct call){.kind = kind, .handed_ns = w->now_ns, .closes = w->answers_close};
    p->handed_count++;
    if (!w->draining)
        w->slot->state = SLOT_CALLING;
    assert(!p->ends);
    (void)pthread_mutex_lock(&p->lock);
    queue_put(&p->waiting, s);
    (void)pthread_cond_signal(&p->come);
    (void)pthread_mutex_unlock(&p->lock);
    if (is_busy(w))
        accept_update(w);
    return CALL_LATER;
}

/* Sends the rest of earlier answers first. */
static enum called start_handler(struct worker *w, struct stream *s)
{
    (void)w;
    (void)s;
    return CALL_LATER;
}

static enum called next_piece(struct worker *w, struct stream *s)
{
    const struct gcorn_body *body = s->env->response.body;

    if (!body)
        return hand_over(w, s, s->env->request.state == REQUEST_HELD ? CALL_HEAD : CALL_HANDLER);
    if (body_runs_app(body))
        return hand_over(w, s, CALL_NEXT);
    call_make_piece(w, s);
    return CALL_DONE;
}

static enum called end_request(struct worker *w, struct stream *s)
{
    if (!call_end_runs_app(w, s->env))
        return call_inline_end(w, s);
    call_count_run(w, s->env);
    return hand_over(w, s, CALL_END);
}

/* The thread inherits the loop's signal mask, which is empty: programs that a handler starts
 * inherit it in turn, and posix_spawn, system and popen give no chance to change it. */
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
    (void)pthread_setname_np(t->handle, name); /* only for debuggers and top */
}

static void stop(struct worker *w)
{
    struct pool *p = w->pool;

    (void)pthread_mutex_lock(&p->lock);
    p->ends = true;
    (void)pthread_cond_broadcast(&p->come);
    (void)pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        (void)pthread_join(p->threads[i].handle, NULL);
    for (struct push *push = p->pushed; push; push = push->next)
        push->is_listed = false;
    ev_async_stop(w->loop, &p->turn);
    ev_prepare_stop(w->loop, &p->rest);
    send_all_handed(p->handed);
    for (struct stream *s = p->called.first; s; s = s->next) {
        if (s->x->call.kind == CALL_END)
            stream_forget_request(s);
    }
    assert(!p->waiting.first); /* the threads have taken all */
    w->pool = NULL;
    free(p);
}

/* ---- for a crash ------------------------------------------------------------------------- */

static unsigned thread_count(const struct worker *w)
{
    return w->pool->count;
}

static pid_t thread_id(const struct worker *w, unsigned i)
{
    return atomic_load(&w->pool->threads[i].id);
}

static const struct stream *serving(const struct worker *w, unsigned i)
{
    return atomic_load(&w->pool->threads[i].serving);
}

/* ---- init -------------------------------------------------------------------------------- */

static const struct call_ops pool_ops = {
    .start = start_handler,
    .next = next_piece,
    .end = end_request,
    .interim = hand_interims,
    .send = send_pushed_bytes,
    .wait_taken = wait_taken,
    .is_busy = is_busy,
    .stop = stop,
    .thread_count = thread_count,
    .thread_id = thread_id,
    .serving = serving,
};

static struct pool *new_pool(struct worker *w, unsigned count)
{
    struct pool *p = xcalloc(1, sizeof(*p) + count * sizeof(p->threads[0]));

    p->worker = w;
    p->count = count;
    queue_init(&p->waiting);
    queue_init(&p->called);
    handed_init(p);
    (void)pthread_mutex_init(&p->lock, NULL); /* these cannot fail: the defaults */
    (void)pthread_cond_init(&p->come, NULL);
    ev_async_init(&p->turn, on_turn);
    p->turn.data = p;
    ev_prepare_init(&p->rest, on_rest);
    return p;
}

/* The worker is not ready before its threads are, so an application whose hook fails does not boot. */
static void wait_for_threads(struct pool *p)
{
    struct worker *w = p->worker;

    if (!w->app.on_thread_start)
        return;
    atomic_store(&w->slot->boot_step, BOOT_THREADS);
    (void)pthread_mutex_lock(&p->lock);
    while (p->begun_count < p->count)
        (void)pthread_cond_wait(&p->come, &p->lock);
    (void)pthread_mutex_unlock(&p->lock);
    atomic_store(&w->slot->boot_step, BOOT_OTHER);
}

/* As many threads as the settings say, 1 to SLOT_CALLS. Ends the process when they cannot be
 * started. */
void call_pool_open(struct worker *w)
{
    unsigned count = config_threads(w->config);
    struct pool *p = w->pool = new_pool(w, count);

    assert(count >= 1 && count <= SLOT_CALLS);
    ev_async_start(w->loop, &p->turn);
    ev_prepare_start(w->loop, &p->rest);
    w->calls = &pool_ops;
    for (unsigned i = 0; i < count; i++) {
        w->slot->calls[i] = (struct slot_call){.started_ms = 0};
        p->threads[i] = (struct pool_thread){
            .pool = p, .number = i, .shown = &w->slot->calls[i], .http = w->http};
        start(&p->threads[i]);
    }
    w->slot->call_count = count;
    wait_for_threads(p);
}
