/* SPDX-License-Identifier: MIT
 *
 * exchange - one request and its answer without a connection: for the canary, a replay, the test
 * library and the fuzzers, which put themselves in a client's place. A connection has a loop, a
 * socket and other connections to care for, and runs its exchanges itself (worker/conn).
 */
#ifndef GCORN_HTTP_EXCHANGE_H
#define GCORN_HTTP_EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>

#include "gcorn.h"

/* Where the answer goes; state is for the two functions, each of which may be NULL. */
struct exchange_sink {
    /* Takes the next bytes of the answer, framed as for a client. NULL: they are not kept. */
    void (*write)(void *state, const char *data, size_t len);
    /* The application has nothing yet: true once it may be asked again, false to stop asking.
     * NULL: stops at once. */
    bool (*wait)(void *state, struct gcorn_environ *env);
    /* Has the client left? What the handler pushes is not taken any more then. NULL: it never
     * does. */
    bool (*is_gone)(void *state);
    void *state;
};

enum exchange_end {
    EXCHANGE_WAITS,  /* it stopped where the application had nothing yet: exchange_go_on */
    EXCHANGE_WHOLE,  /* the answer is complete */
    EXCHANGE_BROKEN, /* no more comes, but the answer is incomplete */
    EXCHANGE_GONE,   /* the client has left while the handler pushed */
};

/* Runs the application with a complete request, or makes the server's answer to one that is
 * refused, or that ended too early (400); writes the answer to the sink. The request stays open:
 * environ_reset ends it. Blocks as long as the application and the sink do. */
enum exchange_end exchange_run(struct gcorn_environ *env, gcorn_app *app,
                               const struct exchange_sink *sink);

/* gcorn_send within exchange_run: hands the bytes to the sink. 0, or -1 with errno. */
int exchange_push(struct gcorn_environ *env, const void *data, size_t len);

/* Goes on with an answer that waits. */
enum exchange_end exchange_go_on(struct gcorn_environ *env, const struct exchange_sink *sink);

#endif
