/* SPDX-License-Identifier: MIT
 *
 * See messages.h. One lock protects the bus and this worker's ring, since any thread may publish and
 * subscribe. Positions in the rings belong to the loop's thread, once the loop watches.
 */
#include "worker/messages/messages.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "base/owned.h"
#include "base/util.h"
#include "http/subscriptions.h"
#include "system/messages/message_bus.h"
#include "system/messages/named_memory.h"
#include "worker/call/forked.h"
#include "worker/callback/callback.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"

_Static_assert((int)CHANNEL_MAX == (int)MESSAGE_CHANNEL_MAX, "a ring takes every channel");

enum {
    BURST = 64,                 /* messages of a ring until the next one has its turn */
    ROOM_KEPT_MAX = 256 * 1024, /* for the copy of a message */
    TURN_NS = 1000000,          /* the longest delivery, until the loop polls again */
    LOG_MS = 60000,
};

struct messages {
    struct worker *worker;
    pthread_t loop_thread;
    struct subscriptions subscriptions;

    pthread_mutex_t lock;
    struct message_bus *bus;
    int own; /* the index of this worker's ring; -1: not claimed */
    struct ring_writer writer;
    bool is_watching; /* positions and epoll set are there */

    struct ring_reader *readers; /* a position in each ring */
    int epoll_fd;
    struct ev_io io;
    struct ev_prepare turn;
    struct ev_idle more;   /* the loop does not sleep while it is active */
    struct ev_async start; /* another thread has made the first subscription */
    char *room;            /* the message that is delivered */
    size_t room_size;
    uint64_t logged_ms;
};

/* NULL with errno: this process has no bus. */
static struct messages *this_messages(void)
{
    const struct worker *w = worker_this();

    if (w && w->messages)
        return w->messages;
    errno = ENOTSUP;
    return NULL;
}

/* Maps the bus and claims a ring, once. The lock is held. Returns 0, or -1 with errno. */
static int open_bus(struct messages *m)
{
    if (m->own >= 0)
        return 0;
    if (!m->readers) {
        if (message_bus_open(m->bus) < 0)
            return -1;
        m->readers = xcalloc(m->bus->ring_count, sizeof(*m->readers));
    }
    m->own = message_bus_claim(m->bus, m->worker->pid);
    if (m->own < 0)
        return -1;
    const struct message_ring ring = message_bus_ring(m->bus, (unsigned)m->own);
    ring_writer_init(&m->writer, &ring);
    return 0;
}

/* ---- publishing -------------------------------------------------------------------------- */

int messages_publish(const char *channel, const void *data, size_t len)
{
    struct messages *m = this_messages();
    size_t channel_len = strlen(channel);
    const struct ring_item item = {.channel = channel,
                                   .channel_len = channel_len,
                                   .hash = channel_hash(channel, channel_len),
                                   .data = data,
                                   .len = len};

    if (!m)
        return -1;
    (void)pthread_mutex_lock(&m->lock);
    int result = open_bus(m) < 0 ? -1 : ring_write(&m->writer, &item);
    if (result == 0)
        m->worker->slot->counts.published++;
    (void)pthread_mutex_unlock(&m->lock);
    if (result == 0)
        message_bus_wake(m->bus);
    return result;
}

/* ---- delivering, on the loop's thread ---------------------------------------------------- */

static void call(void *state, const char *channel, gcorn_message_fn *fn, void *arg,
                 const struct subscription_news *news)
{
    struct worker *w = state;

    callback_enter(w, "PUBLISH", channel, strlen(channel));
    fn(channel, news->data, news->len, arg);
    callback_leave(w);
}

static void tell_lost(struct messages *m, uint64_t lost)
{
    const struct subscription_news news = {.len = (size_t)lost};

    m->worker->slot->counts.messages_lost += lost;
    (void)subscriptions_call(&m->subscriptions, &news, call, m->worker);
}

static void log_damage(struct messages *m, unsigned index)
{
    uint64_t now = now_ms();

    if (m->logged_ms != 0 && now - m->logged_ms < LOG_MS)
        return;
    m->logged_ms = now;
    log_warnx("Worker (pid:%d): ring %u of gcorn_publish is damaged: another worker has written to "
              "it; skipped its messages (logged at most every 60 s)",
              (int)m->worker->pid, index);
}

static void make_room(struct messages *m, size_t size)
{
    if (size <= m->room_size)
        return;
    free(m->room);
    m->room = xmalloc(size);
    m->room_size = size;
}

/* The next room for a long message is made again. */
static void shrink_room(struct messages *m)
{
    if (m->room_size <= ROOM_KEPT_MAX)
        return;
    free(m->room);
    m->room = NULL;
    m->room_size = 0;
}

static void deliver(struct messages *m, unsigned index, const struct message_ring *ring,
                    const struct ring_message *message)
{
    const struct subscription_news news = {
        .channel = message->channel, .hash = message->hash, .len = message->len};
    struct subscription_news whole = news;

    if (!subscriptions_want(&m->subscriptions, message->channel, message->hash)) {
        ring_pass(&m->readers[index], message);
        return;
    }
    make_room(m, (size_t)message->len + 1);
    if (!ring_read(&m->readers[index], ring, message, m->room))
        return; /* overwritten: ring_next tells how many are lost */
    m->room[message->len] = '\0';
    ring_pass(&m->readers[index], message);
    whole.data = m->room;
    m->worker->slot->counts.delivered +=
        subscriptions_call(&m->subscriptions, &whole, call, m->worker);
    shrink_room(m);
}

/* What is next in a ring; false: nothing is. */
static bool deliver_next(struct messages *m, unsigned index)
{
    const struct message_ring ring = message_bus_ring(m->bus, index);
    struct ring_message message;
    uint64_t lost = 1;

    switch (ring_next(&m->readers[index], &ring, &message, &lost)) {
    case RING_EMPTY: return false;
    case RING_MESSAGE: deliver(m, index, &ring, &message); return true;
    case RING_DAMAGED: log_damage(m, index); break;
    case RING_LOST: break;
    }
    tell_lost(m, lost);
    return true;
}

/* Some messages of each ring; false: there were none. */
static bool deliver_round(struct messages *m)
{
    unsigned used = message_bus_used(m->bus);
    bool any = false;

    for (unsigned i = 0; i < used; i++) {
        for (int n = 0; n < BURST && deliver_next(m, i); n++)
            any = true;
    }
    return any;
}

/* Delivers until nothing is left, or requests should have their turn. */
static void deliver_all(struct messages *m)
{
    struct worker *w = m->worker;

    worker_look_at_clock(w);
    uint64_t begun_ns = w->now_ns;
    while (w->now_ns - begun_ns < TURN_NS && deliver_round(m))
        worker_look_at_clock(w);
}

static bool has_news(const struct messages *m)
{
    unsigned used = message_bus_used(m->bus);

    for (unsigned i = 0; i < used; i++) {
        const struct message_ring ring = message_bus_ring(m->bus, i);

        if (ring_has_news(&m->readers[i], &ring))
            return true;
    }
    return false;
}

/* ---- watching ---------------------------------------------------------------------------- */

/* The last subscription has gone: the loop does not watch any more. */
static void stop_watching(struct messages *m)
{
    struct ev_loop *loop = m->worker->loop;

    (void)pthread_mutex_lock(&m->lock);
    if (subscriptions_count(&m->subscriptions) == 0 && m->is_watching) {
        ev_io_stop(loop, &m->io);
        ev_prepare_stop(loop, &m->turn);
        ev_idle_stop(loop, &m->more);
        forked_forget_fd(m->epoll_fd);
        owned_close(&m->epoll_fd);
        m->is_watching = false;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

/* Before the loop sleeps. A publisher that comes after the mark of sleep wakes it; what was
 * published before is seen here. */
static void on_turn(struct ev_loop *loop, struct ev_prepare *turn, int revents)
{
    struct messages *m = turn->data;

    (void)revents;
    if (subscriptions_count(&m->subscriptions) == 0) {
        stop_watching(m);
        return;
    }
    if (has_news(m))
        deliver_all(m);
    message_bus_will_sleep(m->bus, (unsigned)m->own);
    if (has_news(m))
        ev_idle_start(loop, &m->more);
    else
        ev_idle_stop(loop, &m->more);
}

/* The turn at the end of this pass delivers; here the edge is taken. */
static void on_wake(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct messages *m = io->data;
    struct epoll_event event;

    (void)loop;
    worker_look_at_clock(m->worker);
    if (revents & EV_ERROR)
        log_errorx(
            "Worker (pid:%d): the loop cannot watch for messages: epoll_ctl fails (the limit "
            "of watches, fs.epoll.max_user_watches?); it looks for them once a second",
            (int)m->worker->pid);
    (void)epoll_wait(m->epoll_fd, &event, 1, 0);
}

static void on_more(struct ev_loop *loop, struct ev_idle *more, int revents)
{
    (void)loop;
    (void)more;
    (void)revents;
}

/* On the loop's thread: once there is a subscription. */
static void start_watchers(struct messages *m)
{
    (void)pthread_mutex_lock(&m->lock);
    if (m->is_watching && !ev_is_active(&m->turn)) {
        ev_io_set(&m->io, m->epoll_fd, EV_READ);
        ev_io_start(m->worker->loop, &m->io);
        ev_prepare_start(m->worker->loop, &m->turn);
    }
    (void)pthread_mutex_unlock(&m->lock);
}

static void on_start(struct ev_loop *loop, struct ev_async *start, int revents)
{
    struct messages *m = start->data;

    (void)loop;
    (void)revents;
    worker_look_at_clock(m->worker);
    start_watchers(m);
}

static int open_epoll(struct messages *m)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};

    owned_lock();
    m->epoll_fd = owned_take(epoll_create1(EPOLL_CLOEXEC));
    owned_unlock();
    if (m->epoll_fd < 0)
        return -1;
    if (epoll_ctl(m->epoll_fd, EPOLL_CTL_ADD, m->bus->wake_fd, &event) == 0)
        return 0;
    int saved_errno = errno;
    owned_close(&m->epoll_fd);
    errno = saved_errno;
    return -1;
}

/* From now on nothing that is published is missed. The lock is held. Returns 0, or -1 with errno. */
static int begin_watching(struct messages *m)
{
    if (m->is_watching)
        return 0;
    if (open_epoll(m) < 0)
        return -1;
    for (unsigned i = 0; i < message_bus_used(m->bus); i++) {
        const struct message_ring ring = message_bus_ring(m->bus, i);

        ring_reader_init(&m->readers[i], &ring);
    }
    m->is_watching = true;
    return 0;
}

struct gcorn_subscription *messages_subscribe(const char *channel, gcorn_message_fn *fn, void *arg)
{
    struct messages *m = this_messages();
    struct gcorn_subscription *added = NULL;

    if (!m)
        return NULL;
    (void)pthread_mutex_lock(&m->lock);
    if (open_bus(m) == 0 && begin_watching(m) == 0)
        added = subscriptions_add(&m->subscriptions, channel, fn, arg);
    (void)pthread_mutex_unlock(&m->lock);
    if (!added)
        return NULL;
    if (pthread_equal(pthread_self(), m->loop_thread))
        start_watchers(m);
    else
        ev_async_send(m->worker->loop, &m->start);
    return added;
}

void messages_unsubscribe(struct gcorn_subscription *subscription)
{
    struct messages *m = this_messages();

    if (m)
        subscriptions_remove(&m->subscriptions, subscription);
}

/* ---- shared memory ----------------------------------------------------------------------- */

void *messages_shared(const char *name, size_t size, bool *fresh)
{
    const struct worker *w = worker_this();
    struct named_memory *memory = w ? w->args->shared_memory : NULL;

    if (!memory || memory->fd < 0) {
        errno = ENOTSUP;
        return NULL;
    }
    return named_memory_get(memory, name, size, fresh);
}

/* ---- init -------------------------------------------------------------------------------- */

void messages_init(struct worker *w)
{
    if (!w->args->bus || w->args->bus->fd < 0)
        return;
    struct messages *m = w->messages = xcalloc(1, sizeof(*m));
    m->worker = w;
    m->loop_thread = pthread_self();
    m->bus = w->args->bus;
    m->own = m->epoll_fd = -1;
    (void)pthread_mutex_init(&m->lock, NULL); /* cannot fail: the defaults */
    subscriptions_init(&m->subscriptions);
    ev_init(&m->io, on_wake);
    ev_prepare_init(&m->turn, on_turn);
    ev_set_priority(&m->turn, EV_MINPRI); /* after all that may publish in this pass */
    ev_idle_init(&m->more, on_more);
    ev_async_init(&m->start, on_start);
    m->io.data = m->turn.data = m->start.data = m;
    ev_async_start(w->loop, &m->start);
}

void messages_release(struct worker *w)
{
    struct messages *m = w->messages;

    if (!m)
        return;
    subscriptions_release(&m->subscriptions);
    stop_watching(m);
    ev_async_stop(w->loop, &m->start);
    free(m->readers);
    free(m->room);
    free(m);
    w->messages = NULL;
}
