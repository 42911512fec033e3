/* SPDX-License-Identifier: MIT
 *
 * messages/ is how this worker's application talks to those of its siblings.
 *
 * messages - publishing into this worker's ring (system/messages/message_bus.h), and delivering what
 * all rings bring to the functions that have subscribed (http/subscriptions.h). An application that
 * does neither costs nothing: the rings are mapped at its first call, and the loop watches them only
 * while there are subscriptions.
 *
 * The loop looks at the rings before it sleeps. To be woken it watches a small epoll set of its own,
 * in which the server's one eventfd is edge-triggered: each subscriber is woken by each write, and
 * none needs to drain it.
 */
#ifndef GCORN_WORKER_MESSAGES_MESSAGES_H
#define GCORN_WORKER_MESSAGES_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "gcorn.h"

struct worker;

/* In a worker with its loop, on the loop's thread. Does nothing where the master has no bus. */
void messages_init(struct worker *w);

/* The end of a test's worker. */
void messages_release(struct worker *w);

/* gcorn_publish, gcorn_subscribe, gcorn_unsubscribe and gcorn_shared of this process's worker
 * (http/host.h). Any thread. */
int messages_publish(const char *channel, const void *data, size_t len);
struct gcorn_subscription *messages_subscribe(const char *channel, gcorn_message_fn *fn, void *arg);
void messages_unsubscribe(struct gcorn_subscription *subscription);
void *messages_shared(const char *name, size_t size, bool *fresh);

#endif
