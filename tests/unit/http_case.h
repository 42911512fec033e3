/* SPDX-License-Identifier: MIT
 *
 * http_case - one request and its answer without a worker or a socket: for the tests of environ,
 * response and access_log.
 */
#ifndef TESTS_HTTP_CASE_H
#define TESTS_HTTP_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "http/environ.h"

/* 1994-11-06 08:49:37 UTC, RFC 9110's favourite date. */
enum { HTTP_CASE_WALL = 784111777 };
#define HTTP_CASE_DATE "Sun, 06 Nov 1994 08:49:37 GMT"

#define HTTP_CASE_ID UINT64_C(0x00c0ffee12345678)

struct http_case {
    struct http_context context;
    struct http_local local;
    struct http_peer peer;
    struct gcorn_environ env;
};

static inline void http_case_open(struct http_case *c)
{
    *c = (struct http_case){
        .context = {.limits = {.head = {.line_max = 4094,
                                        .field_max = 8190,
                                        .fields_max = 100,
                                        .head_max = 65536},
                               .body_max = 1 << 24,
                               .chunk_ext_max = 4096,
                               .body_place.mem_max = 65536,
                               .body_place.dir = "/tmp"},
                    .multiprocess = true},
        .local = {.server_name = "198.51.100.1", .server_port = "8000", .scheme = "http"},
        .peer = {.remote_addr = "192.0.2.7", .remote_port = "49152"},
    };
    c->peer.local = &c->local;
    http_context_set_date(&c->context, HTTP_CASE_WALL);
    environ_init(&c->env, &c->context, &c->peer, HTTP_CASE_ID);
}

/* Ends the request as a worker does. */
static inline void http_case_close(struct http_case *c)
{
    environ_reset(&c->env);
    environ_release(&c->env);
}

/* Feeds a request that is complete and in order; the bytes are gone afterwards, as a worker's
 * buffer is. */
static inline void http_case_feed_bytes(struct http_case *c, const char *raw, size_t len)
{
    char *bytes = malloc(len + 1);

    assert_non_null(bytes);
    memcpy(bytes, raw, len);
    size_t used = request_feed(&c->env.request, bytes, len);
    memset(bytes, 0xdd, len);
    free(bytes);
    if (c->env.request.state != REQUEST_DONE)
        fail_msg("%s: state %d, refusal %d (%s)", raw, c->env.request.state, c->env.request.refusal,
                 c->env.request.refusal_reason ? c->env.request.refusal_reason : "none");
    assert_int_equal(used, len);
}

static inline void http_case_feed(struct http_case *c, const char *raw)
{
    http_case_feed_bytes(c, raw, strlen(raw));
}

/* All that leaves for one answer. */
struct http_answer {
    struct strbuf bytes;
    size_t calls;    /* of framing_h1_next */
    size_t in_place; /* pieces that were handed out where they lie */
    bool broken;
    bool close;
};

static inline void http_answer_release(struct http_answer *a)
{
    strbuf_release(&a->bytes);
}

/* Asks for pieces until there are no more. Each is copied at once, as the socket would do. */
static inline void http_case_collect(struct http_case *c, struct http_answer *a)
{
    const char *data;
    size_t len;
    bool more;

    *a = (struct http_answer){0};
    do {
        more = framing_h1_next(&c->env, &a->bytes, &data, &len);
        a->calls++;
        if (len > 0) {
            strbuf_add(&a->bytes, data, len);
            a->in_place++;
        }
        assert_true(a->calls < 10000);
    } while (more);
    a->broken = c->env.response.broken;
    a->close = c->env.h1.close;
}

/* The whole life: request in, application run, answer out; the request still open. close is what
 * the worker would decide before the first piece. */
static inline void http_case_run(struct http_case *c, const char *raw, gcorn_app *app,
                                 struct http_answer *a)
{
    http_case_open(c);
    http_case_feed(c, raw);
    response_run(&c->env, app);
    c->env.h1.close = !c->env.request.keep_alive;
    http_case_collect(c, a);
}

/* Errors that a test provokes on purpose need not be read by people. */
static inline int http_case_quiet(void **state)
{
    (void)state;
    log_set_level(LOG_LEVEL_CRITICAL);
    return 0;
}

#endif
