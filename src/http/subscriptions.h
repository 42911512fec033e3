/* SPDX-License-Identifier: MIT
 *
 * subscriptions - which functions of the application want the messages of which channels, in one
 * process. A worker delivers what its siblings publish (worker/messages), libgcorn-test what the
 * test itself publishes.
 *
 * Any thread may add and remove. One thread calls, and holds no lock while it does, so functions
 * that are called may add and remove, too.
 */
#ifndef GCORN_HTTP_SUBSCRIPTIONS_H
#define GCORN_HTTP_SUBSCRIPTIONS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcorn.h"

enum { CHANNEL_MAX = 64, SUBSCRIPTIONS_MAX = 1024, SUBSCRIPTION_BUCKETS = 256 };

struct subscriptions {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct gcorn_subscription *buckets[SUBSCRIPTION_BUCKETS]; /* by the hash of the channel */
    size_t count;                                             /* without those that are removed */
    struct gcorn_subscription *running; /* its function is being called; NULL: none */
    pthread_t caller;                   /* while is_calling: the thread that calls */
    bool is_calling, has_removed;       /* what is removed meanwhile is freed at its end */
};

void subscriptions_init(struct subscriptions *s);

/* Frees all of them. */
void subscriptions_release(struct subscriptions *s);

/* Is it the name of a channel: 1 to CHANNEL_MAX bytes? False for NULL. */
bool channel_is_valid(const char *channel);

/* 24 bits; of a channel with this length. */
uint32_t channel_hash(const char *channel, size_t len);

/* Adds one; the channel is copied. NULL with errno ENOSPC: there are SUBSCRIPTIONS_MAX. */
struct gcorn_subscription *subscriptions_add(struct subscriptions *s, const char *channel,
                                             gcorn_message_fn *fn, void *arg);

/* Removes and frees one. When its function runs on another thread, waits for it to return. */
void subscriptions_remove(struct subscriptions *s, struct gcorn_subscription *subscription);

/* How many there are. */
size_t subscriptions_count(struct subscriptions *s);

/* Does any want this channel? */
bool subscriptions_want(struct subscriptions *s, const char *channel, uint32_t hash);

/* A message for the functions: of a channel; or with channel NULL, for all of them: data is NULL,
 * and len the number of messages that are lost. */
struct subscription_news {
    const char *channel;
    uint32_t hash;
    const void *data;
    size_t len;
};

/* Calls one function with the news; `channel` is the subscription's own. */
typedef void subscription_call(void *state, const char *channel, gcorn_message_fn *fn, void *arg,
                               const struct subscription_news *news);

/* Has call called for each function that wants the news. Those that are added meanwhile do not get
 * it. Returns how many. */
size_t subscriptions_call(struct subscriptions *s, const struct subscription_news *news,
                          subscription_call *call, void *state);

#endif
