/* SPDX-License-Identifier: MIT
 *
 * Bodies that are read straight to where they are kept, over fake wires and a fake loop (tests/fake/):
 * the same request comes of them however the bytes are cut, wherever the pool sends them, and no buffer
 * is left of one that ends early. Each test runs with calls on the loop's thread and with calls
 * that end later, as those of threads do.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buffer_pool.h"
#include "fake_worker.h"
#include "settings/config.h"
#include "worker/conn/conn.h"

enum { KIB = 1024, MIB = 1024 * KIB, PASSES = 3000 };

static struct config config;
static struct worker *w;
static struct strbuf body;

static int set_up(void **state)
{
    config_init(&config);
    config.worker_connections = FAKE_CLIENTS;
    config.limit_request_body = 4 * MIB;
    config.body_memory = 3 * MIB;
    w = fake_worker_new(&config);
    fake_call_later(w, *state != NULL);
    for (size_t i = 0; body.len < 2 * MIB; i++)
        strbuf_addf(&body, "%zx,", i);
    return 0;
}

static void turn(void)
{
    do {
        fake_turn(w);
    } while (fake_finish_call(w));
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAKE_CLIENTS; i++)
        fake_clients[i].error = fake_clients[i].is_open ? ECONNRESET : 0;
    turn();
    fake_wait_ms(w, 60000);
    turn();
    fake_assert_idle(w);
    fake_worker_free(w);
    config_release(&config);
    strbuf_release(&body);
    return 0;
}

static void connect_client(unsigned i)
{
    assert_non_null(fake_connect(w, i));
    turn();
}

static void begin_counted(unsigned i, size_t len, size_t sent)
{
    char head[100];

    (void)snprintf(head, sizeof(head), "POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: %zu\r\n\r\n",
                   len);
    fake_client_sends(i, head);
    fake_client_sends_bytes(i, body.data, sent);
}

static void send_chunk(unsigned i, size_t at, size_t len)
{
    char line[20];

    (void)snprintf(line, sizeof(line), "%zx\r\n", len);
    fake_client_sends(i, line);
    fake_client_sends_bytes(i, body.data + at, len);
    fake_client_sends(i, "\r\n");
}

static void send_chunked(unsigned i, size_t len)
{
    static const size_t sizes[] = {20000, 1, 100000, 4098, 4097, 300000};
    size_t turns = 0;

    fake_client_sends(i, "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (size_t at = 0, n; at < len; at += n) {
        n = sizes[turns++ % (sizeof(sizes) / sizeof(sizes[0]))];
        if (n > len - at)
            n = len - at;
        send_chunk(i, at, n);
    }
    fake_client_sends(i, "0\r\n\r\n");
}

/* Turns until the echo of so many bytes has come, and takes it. */
static void expect_echo(unsigned i, size_t len)
{
    struct strbuf *taken = &fake_clients[i].taken;
    const char *end = NULL;

    for (int passes = 0; passes < PASSES; passes++) {
        turn();
        end = taken->len > 0 ? memmem(taken->data, taken->len, "\r\n\r\n", 4) : NULL;
        if (end && taken->len >= (size_t)(end + 4 - taken->data) + len)
            break;
    }
    assert_non_null(end);
    assert_memory_equal(taken->data, "HTTP/1.1 200", 12);
    assert_int_equal(taken->len, (size_t)(end + 4 - taken->data) + len);
    assert_memory_equal(end + 4, body.data, len);
    strbuf_reset(taken);
}

/* ---- cuts -------------------------------------------------------------------------------- */

static void test_every_cut_gives_the_same_body(void **state)
{
    static const size_t lengths[] = {0,     16 * KIB, 16 * KIB + 1, 64 * KIB,
                                     70000, MIB - 1,  MIB,          MIB + 1};
    static const size_t cuts[] = {0, 3001, 16 * KIB, 65537, 400000};

    (void)state;
    connect_client(0);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        for (size_t k = 0; k < sizeof(cuts) / sizeof(cuts[0]); k++) {
            fake_clients[0].read_max = cuts[k];
            begin_counted(0, lengths[i], lengths[i]);
            expect_echo(0, lengths[i]);
            send_chunked(0, lengths[i]);
            expect_echo(0, lengths[i]);
        }
    }
}

/* The next request's bytes are in the socket with the last ones of the body. */
static void test_pipelined_requests_follow_a_body(void **state)
{
    (void)state;
    connect_client(0);
    for (int is_buffering = 0; is_buffering < 2; is_buffering++) {
        fake_clients[0].buffers = is_buffering;
        begin_counted(0, 300000, 300000);
        send_chunked(0, 500000);
        begin_counted(0, 17000, 17000);
        turn();
        struct strbuf *taken = &fake_clients[0].taken;
        for (int passes = 0; passes < PASSES && fake_clients[0].read_len < fake_clients[0].sent.len;
             passes++)
            turn();
        size_t found = 0;
        for (const char *at = taken->data;
             (at = memmem(at, taken->len - (size_t)(at - taken->data), "HTTP/1.1 200", 12)); at++)
            found++;
        assert_int_equal(found, 3);
        assert_true(taken->len > 817000);
        assert_memory_equal(taken->data + taken->len - 17000, body.data, 17000);
        strbuf_reset(taken);
    }
}

static void test_interrupted_reads_are_tried_again(void **state)
{
    (void)state;
    connect_client(0);
    begin_counted(0, MIB, 100000);
    turn();
    fake_clients[0].interrupts = 3;
    fake_client_sends_bytes(0, body.data + 100000, MIB - 100000);
    expect_echo(0, MIB);
}

/* No read goes to the worker's own memory, from which it would have to be copied. */
static void test_rest_of_a_body_is_read_in_place(void **state)
{
    (void)state;
    connect_client(0);
    begin_counted(0, MIB, 100000);
    turn();
    memset(w->in, 0x55, WORKER_IN_SIZE);
    fake_client_sends_bytes(0, body.data + 100000, MIB - 100000);
    expect_echo(0, MIB);
    for (size_t i = 0; i < WORKER_IN_SIZE; i++)
        assert_int_equal(w->in[i], 0x55);
}

/* ---- the pool ---------------------------------------------------------------------------- */

static void test_bodies_beyond_the_pool_are_the_same(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        connect_client(i);
        begin_counted(i, MIB, 0);
    }
    for (size_t at = 0; at < MIB; at += 64 * KIB) {
        for (unsigned i = 0; i < 8; i++)
            fake_client_sends_bytes(i, body.data + at,
                                    at + 64 * KIB < MIB ? 64 * KIB : 64 * KIB - 1);
        turn();
        assert_true(w->bodies.mapped <= 3 * MIB);
    }
    assert_true(w->uploads.used > 0);
    for (unsigned i = 0; i < 8; i++) {
        fake_client_sends_bytes(i, body.data + MIB - 1, 1);
        expect_echo(i, MIB);
    }
    assert_int_equal(w->uploads.used, 0);
    assert_true(buffer_pool_is_idle(&w->bodies));
}

/* Whatever ends it: nothing is left of the body. */
static void test_body_that_ends_early_gives_its_buffer_back(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        connect_client(i);
        if (i < 2)
            begin_counted(i, MIB, 100000);
        else
            send_chunk(i, 0, 0); /* no request at all: 400 */
    }
    turn();
    assert_false(buffer_pool_is_idle(&w->bodies));
    fake_clients[0].error = ECONNRESET;
    turn();
    assert_false(buffer_pool_is_idle(&w->bodies));
    fake_clients[1].has_ended = true;
    turn();
    assert_true(buffer_pool_is_idle(&w->bodies));
}

static void test_bad_chunk_after_a_long_one_is_refused(void **state)
{
    (void)state;
    connect_client(0);
    fake_client_sends(0, "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    fake_client_sends(0, "186A0\r\n");
    fake_client_sends_bytes(0, body.data, 100000);
    turn();
    assert_false(buffer_pool_is_idle(&w->bodies));
    fake_client_sends(0, "xx5\r\n");
    turn();
    strbuf_add(&fake_clients[0].taken, "", 1);
    assert_non_null(strstr(fake_clients[0].taken.data, "HTTP/1.1 400"));
    assert_true(buffer_pool_is_idle(&w->bodies));
}

/* A chunk that would make the body too long is refused when its size comes. */
static void test_chunks_past_the_limit_are_refused(void **state)
{
    (void)state;
    config.limit_request_body = 200000;
    w->http.limits.body_max = 200000;
    connect_client(0);
    fake_client_sends(0, "POST /e HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    send_chunk(0, 0, 150000);
    send_chunk(0, 0, 50001);
    turn();
    strbuf_add(&fake_clients[0].taken, "", 1);
    assert_non_null(strstr(fake_clients[0].taken.data, "HTTP/1.1 413"));
    assert_true(buffer_pool_is_idle(&w->bodies));
}

/* A body that comes in time does not take the time of one that does not. */
static void test_late_body_in_a_buffer_is_answered_408(void **state)
{
    (void)state;
    connect_client(0);
    begin_counted(0, MIB, 100000);
    turn();
    fake_wait_ms(w, 31000);
    turn(); /* the application hears of its end: its head was shown to it */
    strbuf_add(&fake_clients[0].taken, "", 1);
    assert_non_null(strstr(fake_clients[0].taken.data, "HTTP/1.1 408"));
    assert_true(buffer_pool_is_idle(&w->bodies));
}

int main(void)
{
#define CASE(test)                                                                                 \
    cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, NULL),                       \
        cmocka_unit_test_prestate_setup_teardown(test, set_up, tear_down, (void *)1)
    const struct CMUnitTest tests[] = {
        CASE(test_every_cut_gives_the_same_body),
        CASE(test_pipelined_requests_follow_a_body),
        CASE(test_rest_of_a_body_is_read_in_place),
        CASE(test_interrupted_reads_are_tried_again),
        CASE(test_bodies_beyond_the_pool_are_the_same),
        CASE(test_body_that_ends_early_gives_its_buffer_back),
        CASE(test_bad_chunk_after_a_long_one_is_refused),
        CASE(test_chunks_past_the_limit_are_refused),
        CASE(test_late_body_in_a_buffer_is_answered_408),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
