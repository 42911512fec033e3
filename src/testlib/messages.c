/* SPDX-License-Identifier: MIT
 *
 * See messages.h.
 */
#include "testlib/messages.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "http/subscriptions.h"

struct message {
    struct message *next;
    char channel[CHANNEL_MAX + 1];
    size_t len;
    char *data; /* followed by a NUL */
};

struct piece {
    struct piece *next;
    char name[CHANNEL_MAX + 1];
    size_t size;
    void *memory;
};

static struct {
    pthread_once_t once;
    pthread_mutex_t lock;
    struct subscriptions subscriptions;
    struct message *first, **end;
    struct piece *pieces;
} self = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER, .end = &self.first};

static void init(void)
{
    subscriptions_init(&self.subscriptions);
}

static struct subscriptions *subscriptions(void)
{
    (void)pthread_once(&self.once, init);
    return &self.subscriptions;
}

int test_publish(const char *channel, const void *data, size_t len)
{
    struct message *m;

    if (len > TEST_MESSAGE_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    m = xcalloc(1, sizeof(*m));
    memcpy(m->channel, channel, strlen(channel) + 1);
    m->len = len;
    m->data = xmalloc(len + 1);
    memcpy(m->data, data, len);
    m->data[len] = '\0';
    (void)pthread_mutex_lock(&self.lock);
    *self.end = m;
    self.end = &m->next;
    (void)pthread_mutex_unlock(&self.lock);
    return 0;
}

struct gcorn_subscription *test_subscribe(const char *channel, gcorn_message_fn *fn, void *arg)
{
    return subscriptions_add(subscriptions(), channel, fn, arg);
}

void test_unsubscribe(struct gcorn_subscription *subscription)
{
    subscriptions_remove(subscriptions(), subscription);
}

/* ---- delivering -------------------------------------------------------------------------- */

static void call(void *state, const char *channel, gcorn_message_fn *fn, void *arg,
                 const struct subscription_news *news)
{
    (void)state;
    fn(channel, news->data, news->len, arg);
}

static void deliver(const struct message *m)
{
    const struct subscription_news news = {.channel = m->channel,
                                           .hash = channel_hash(m->channel, strlen(m->channel)),
                                           .data = m->data,
                                           .len = m->len};

    (void)subscriptions_call(subscriptions(), &news, call, NULL);
}

static struct message *take_all(void)
{
    (void)pthread_mutex_lock(&self.lock);
    struct message *first = self.first;
    self.first = NULL;
    self.end = &self.first;
    (void)pthread_mutex_unlock(&self.lock);
    return first;
}

static struct message *free_message(struct message *m)
{
    struct message *next = m->next;

    free(m->data);
    free(m);
    return next;
}

bool test_deliver_messages(void)
{
    struct message *m = take_all();
    bool any = m != NULL;

    for (; m; m = free_message(m))
        deliver(m);
    return any;
}

void test_end_messages(void)
{
    for (struct message *m = take_all(); m;)
        m = free_message(m);
    subscriptions_release(subscriptions());
}

void test_lose_messages(size_t count)
{
    const struct subscription_news news = {.len = count};

    (void)subscriptions_call(subscriptions(), &news, call, NULL);
}

/* ---- shared memory ----------------------------------------------------------------------- */

/* The lock is held. */
static struct piece *find_or_add(const char *name, size_t size, bool *fresh)
{
    struct piece *p = self.pieces;

    while (p && strcmp(p->name, name) != 0)
        p = p->next;
    *fresh = !p;
    if (p)
        return p;
    p = xcalloc(1, sizeof(*p));
    memcpy(p->name, name, strlen(name) + 1);
    p->size = size;
    p->memory = aligned_alloc(64, (size + 63) / 64 * 64);
    if (!p->memory)
        abort(); /* out of memory, as in xmalloc */
    memset(p->memory, 0, size);
    p->next = self.pieces;
    self.pieces = p;
    return p;
}

void *test_shared(const char *name, size_t size, bool *fresh)
{
    void *memory = NULL;

    if (channel_is_valid(name) && size > 0) { /* names are as long as channels */
        (void)pthread_mutex_lock(&self.lock);
        const struct piece *p = find_or_add(name, size, fresh);
        memory = p->size == size ? p->memory : NULL;
        (void)pthread_mutex_unlock(&self.lock);
    }
    if (!memory)
        errno = EINVAL;
    return memory;
}
