/* SPDX-License-Identifier: MIT
 *
 * host - the process that runs an application: a worker, or a test with libgcorn-test. The functions
 * of include/gcorn.h that are not about a request's content are written once, in host.c, and ask
 * it. What a function does where a host has nothing to say (NULL) is said there, too.
 */
#ifndef GCORN_HTTP_HOST_H
#define GCORN_HTTP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gcorn.h"

/* Each as the function of gcorn.h with its name; any thread of the application may call them, also
 * before there is a worker (constructors of an application that --check-config loads). */
struct host {
    unsigned (*slot)(void);
    struct ev_loop *(*loop)(void);
    unsigned (*threads)(void);
    bool (*draining)(void);
    uint64_t (*now)(void);

    uint64_t (*ticket)(struct gcorn_environ *env); /* 0: nothing can wake this request */
    void (*wake)(uint64_t ticket);
    void (*wake_at)(struct gcorn_environ *env, uint64_t when); /* when is never 0 */
    struct gcorn_timer *(*timer_start)(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg);
    void (*timer_stop)(struct gcorn_timer *timer); /* never NULL */
    int (*post)(gcorn_call_fn *fn, void *arg);
    int (*thread_start)(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg);

    bool (*client_gone)(struct gcorn_environ *env);
    void (*extend_deadline)(struct gcorn_environ *env, unsigned ms);
    /* The response has interim answers: sends them. NULL: they leave with the head. */
    void (*interim)(struct gcorn_environ *env);
    /* The handler runs and has started its answer; data is len bytes. */
    int (*send)(struct gcorn_environ *env, const void *data, size_t len);

    struct gcorn_metric *(*counter)(const char *name, const char *help);
    struct gcorn_metric *(*gauge)(const char *name, const char *help, enum gcorn_gauge_kind kind);
    struct gcorn_metric *(*histogram)(const char *name, const char *help, const double *bounds,
                                      size_t count);
    /* The metric is never NULL. */
    void (*metric_add)(struct gcorn_metric *metric, double amount);
    void (*metric_set)(struct gcorn_metric *metric, double value);
    void (*metric_observe)(struct gcorn_metric *metric, double value);

    /* The channel is valid (subscriptions.h); data is never NULL, nor is fn or the subscription. */
    int (*publish)(const char *channel, const void *data, size_t len);
    struct gcorn_subscription *(*subscribe)(const char *channel, gcorn_message_fn *fn, void *arg);
    void (*unsubscribe)(struct gcorn_subscription *subscription);
    void *(*shared)(const char *name, size_t size, bool *fresh); /* fresh is never NULL */
};

/* Defined by the host: worker/call/api.c, testlib/host.c. */
extern const struct host host;

#endif
