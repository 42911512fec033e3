/* SPDX-License-Identifier: MIT
 *
 * messages - gcorn_publish and its like in a test: one process is all workers of the server.
 * Messages wait until the test lets them be delivered.
 */
#ifndef GCORN_TESTLIB_MESSAGES_H
#define GCORN_TESTLIB_MESSAGES_H

#include <stdbool.h>
#include <stddef.h>

#include "gcorn.h"

/* For http/host.h. Any thread. A message longer than TEST_MESSAGE_MAX is refused, as one is that does
 * not fit into publish_buffer. */
enum { TEST_MESSAGE_MAX = 1024 * 1024 };
int test_publish(const char *channel, const void *data, size_t len);
struct gcorn_subscription *test_subscribe(const char *channel, gcorn_message_fn *fn, void *arg);
void test_unsubscribe(struct gcorn_subscription *subscription);
void *test_shared(const char *name, size_t size, bool *fresh);

/* Delivers what was published before this call, on the thread of the test; what a function that has
 * subscribed publishes meanwhile waits for the next call. Returns whether there was anything. */
bool test_deliver_messages(void);

/* Ends all subscriptions, and drops the messages that were not delivered. */
void test_end_messages(void);

/* Tells every subscription that it has missed so many messages. */
void test_lose_messages(size_t count);

#endif
