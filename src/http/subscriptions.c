/* SPDX-License-Identifier: MIT
 *
 * See subscriptions.h. New ones are put in front of their bucket, so the walk of a call does not
 * meet them. What is removed during a call stays linked, marked, until the call is over.
 */
#include "http/subscriptions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct gcorn_subscription {
    struct gcorn_subscription *next; /* of its bucket */
    gcorn_message_fn *fn;
    void *arg;
    uint32_t hash;
    bool is_removed;
    char channel[CHANNEL_MAX + 1];
};

void subscriptions_init(struct subscriptions *s)
{
    *s = (struct subscriptions){.count = 0};
    (void)pthread_mutex_init(&s->lock, NULL); /* these cannot fail: the defaults */
    (void)pthread_cond_init(&s->returned, NULL);
}

bool channel_is_valid(const char *channel)
{
    size_t len = channel ? strnlen(channel, CHANNEL_MAX + 1) : 0;

    return len >= 1 && len <= CHANNEL_MAX;
}

uint32_t channel_hash(const char *channel, size_t len)
{
    uint32_t hash = 2166136261U; /* FNV-1a */

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)channel[i]) * 16777619U;
    return (hash ^ hash >> 24) & 0xffffff;
}

static struct gcorn_subscription **bucket_of(struct subscriptions *s, uint32_t hash)
{
    return &s->buckets[hash % SUBSCRIPTION_BUCKETS];
}

static bool wants(const struct gcorn_subscription *one, const char *channel, uint32_t hash)
{
    return !one->is_removed &&
           (!channel || (one->hash == hash && strcmp(one->channel, channel) == 0));
}

struct gcorn_subscription *subscriptions_add(struct subscriptions *s, const char *channel,
                                             gcorn_message_fn *fn, void *arg)
{
    size_t len = strlen(channel);
    struct gcorn_subscription *one = xcalloc(1, sizeof(*one));

    one->fn = fn;
    one->arg = arg;
    one->hash = channel_hash(channel, len);
    memcpy(one->channel, channel, len + 1);
    (void)pthread_mutex_lock(&s->lock);
    if (s->count < SUBSCRIPTIONS_MAX) {
        struct gcorn_subscription **bucket = bucket_of(s, one->hash);

        one->next = *bucket;
        *bucket = one;
        s->count++;
        (void)pthread_mutex_unlock(&s->lock);
        return one;
    }
    (void)pthread_mutex_unlock(&s->lock);
    free(one);
    errno = ENOSPC;
    return NULL;
}

/* ---- removing ---------------------------------------------------------------------------- */

/* Frees those of a bucket that are removed. */
static void clear_bucket(struct gcorn_subscription **at)
{
    while (*at) {
        struct gcorn_subscription *one = *at;

        if (one->is_removed) {
            *at = one->next;
            free(one);
        } else {
            at = &one->next;
        }
    }
}

void subscriptions_remove(struct subscriptions *s, struct gcorn_subscription *one)
{
    (void)pthread_mutex_lock(&s->lock);
    struct gcorn_subscription **bucket = bucket_of(s, one->hash);
    bool is_own_call = s->is_calling && pthread_equal(s->caller, pthread_self());
    one->is_removed = true;
    s->count--;
    while (s->running == one && !is_own_call)
        (void)pthread_cond_wait(&s->returned, &s->lock);
    if (s->is_calling)
        s->has_removed = true;
    else
        clear_bucket(bucket); /* the end of another call may have freed it by now */
    (void)pthread_mutex_unlock(&s->lock);
}

static void clear_all(struct subscriptions *s)
{
    for (size_t i = 0; i < SUBSCRIPTION_BUCKETS; i++)
        clear_bucket(&s->buckets[i]);
    s->has_removed = false;
}

void subscriptions_release(struct subscriptions *s)
{
    for (size_t i = 0; i < SUBSCRIPTION_BUCKETS; i++) {
        for (struct gcorn_subscription *one = s->buckets[i]; one; one = one->next)
            one->is_removed = true;
    }
    clear_all(s);
    s->count = 0;
}

/* ---- calling ----------------------------------------------------------------------------- */

size_t subscriptions_count(struct subscriptions *s)
{
    (void)pthread_mutex_lock(&s->lock);
    size_t count = s->count;
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}

bool subscriptions_want(struct subscriptions *s, const char *channel, uint32_t hash)
{
    (void)pthread_mutex_lock(&s->lock);
    const struct gcorn_subscription *one = *bucket_of(s, hash);
    while (one && !wants(one, channel, hash))
        one = one->next;
    (void)pthread_mutex_unlock(&s->lock);
    return one != NULL;
}

/* A call of one bucket's. The lock is held at both ends. */
static size_t call_bucket(struct subscriptions *s, size_t bucket,
                          const struct subscription_news *news, subscription_call *call,
                          void *state)
{
    size_t count = 0;

    for (struct gcorn_subscription *one = s->buckets[bucket]; one; one = one->next) {
        if (!wants(one, news->channel, news->hash))
            continue;
        s->running = one;
        (void)pthread_mutex_unlock(&s->lock);
        call(state, one->channel, one->fn, one->arg, news);
        (void)pthread_mutex_lock(&s->lock);
        s->running = NULL;
        (void)pthread_cond_broadcast(&s->returned);
        count++;
    }
    return count;
}

size_t subscriptions_call(struct subscriptions *s, const struct subscription_news *news,
                          subscription_call *call, void *state)
{
    size_t count = 0, bucket = news->hash % SUBSCRIPTION_BUCKETS;

    (void)pthread_mutex_lock(&s->lock);
    s->is_calling = true;
    s->caller = pthread_self();
    if (news->channel)
        count = call_bucket(s, bucket, news, call, state);
    for (bucket = 0; !news->channel && bucket < SUBSCRIPTION_BUCKETS; bucket++)
        count += call_bucket(s, bucket, news, call, state);
    s->is_calling = false;
    if (s->has_removed)
        clear_all(s);
    (void)pthread_mutex_unlock(&s->lock);
    return count;
}
