/* SPDX-License-Identifier: MIT
 *
 * testlib/ - libgcorn-test: src/http as a server runs it, with a test in the server's place. See
 * include/gcorn_test.h, which is its header. A file a subject: worker.c is the worker's start and
 * end, request.c runs requests, answer.c reads what their clients would get, test_loop.c has timers,
 * posts and threads, messages.c what workers tell each other, host.c is the process that gcorn.h's
 * functions ask; client/ has clients of several requests.
 *
 * state - what these files share: the requests that are not closed, the loop and the clock.
 */
#ifndef GCORN_TESTLIB_STATE_H
#define GCORN_TESTLIB_STATE_H

#include <ev.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strbuf.h"
#include "gcorn_test.h"
#include "http/environ.h"

/* The head of an answer, or an interim one. */
struct test_head {
    int status;
    struct gcorn_header *fields;
    char *text; /* what they point into */
};

/* A request and its answer. */
struct test {
    struct gcorn_test public; /* first: a test is what its caller sees of it */
    struct test *next;
    struct gcorn_environ env;
    struct http_peer peer;
    struct http_local local; /* of the peer */
    char port[PORT_TEXT_SIZE];
    struct gcorn_test **keeper; /* see request_set_keeper */
    gcorn_app *app;
    struct strbuf kept;  /* of the body, for which there is no room yet */
    struct strbuf bytes; /* as they leave for the client */
    struct strbuf body;
    size_t decoded;            /* of bytes */
    struct test_head head;     /* status 0: the answer has not begun */
    struct test_head trailers; /* fields NULL: its last chunk has not come */
    struct test_head *interims;
    size_t interim_count;
    bool ended;
    bool client_gone;     /* before it ended */
    uint64_t leave_after; /* bytes of the body, as gcorn_test_leave_after says */
    uint64_t ticket;
    uint64_t wake_at_ms;
    bool is_woken; /* under the lock */
};

/* The process in which a test runs: its worker. */
struct testlib {
    struct http_context context;
    struct ev_loop *loop; /* NULL before testlib_init */
    struct ev_async turn;
    struct test *tests; /* all that are not closed, the latest first */
    uint64_t ticket_count;
    _Atomic uint64_t now_ms;
    int64_t wall_offset_ms; /* of the wall clock, since 1970, to now_ms */
    _Atomic bool draining;
    bool leaves; /* the client of the next request, after so many bytes of the body: */
    uint64_t leave_after;
    bool has_worker; /* gcorn_test_worker_start */
    bool had_worker; /* one was started before, perhaps this one */
    bool was_loaded; /* gcorn_on_load has run */
    /* Guards what gcorn_wake reads and changes, from any thread: the list, and is_woken of each
     * test. */
    pthread_mutex_t lock;
};

extern struct testlib testlib;

/* Makes the loop and the settings that all requests share. May be called again. */
void testlib_init(void);

/* The wall clock of the test, since 1970. */
int64_t testlib_wall_ms(void);

/* The date of answers, after the wall clock has moved. */
void testlib_set_date(void);

/* Calls the posts and timers that are due, delivers messages, and continues every request that is
 * due, once. Returns whether there was anything. */
bool testlib_run_due(void);

#endif
