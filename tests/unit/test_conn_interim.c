/* SPDX-License-Identifier: MIT
 *
 * Interim answers on connections, over fake wires and a fake loop (tests/fake/): when they leave,
 * and what becomes of them where the socket is full, the client leaves or the worker drains. Each
 * test runs with calls on the loop's thread and with calls that end later, as those of threads do.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "fake_worker.h"
#include "settings/config.h"
#include "worker/conn/conn.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

#define HINT "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload; as=style\r\n\r\n"

static struct config config;
static struct worker *w;
static bool is_later;

static int set_up(void **state)
{
    is_later = *state != NULL;
    config_init(&config);
    config.worker_connections = 3;
    config.workers = 2;
    w = fake_worker_new(&config);
    fake_call_later(w, is_later);
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
    return 0;
}

static void sends(unsigned i, const char *text)
{
    fake_client_sends(i, text);
    turn();
}

static const char *taken(unsigned i)
{
    struct strbuf *s = &fake_clients[i].taken;

    strbuf_add(s, "", 1);
    s->len--;
    return s->data;
}

static void connect_client(size_t window)
{
    assert_non_null(fake_connect(w, 0));
    fake_clients[0].window = window;
    fake_turn(w);
}

static bool begins(const char *text, const char *with)
{
    return strncmp(text, with, strlen(with)) == 0;
}

static void test_interim_leaves_while_answer_waits(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/h/ap"));
    assert_string_equal(taken(0), HINT);
    gcorn_wake(fake_app.tickets[0]);
    turn();
    assert_true(begins(taken(0), HINT "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(taken(0), "\r\n0\r\n\r\n"));
}

static void test_interim_of_next_leaves_while_answer_waits(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/i/aiap"));
    assert_string_equal(taken(0), "");
    gcorn_wake(fake_app.tickets[0]);
    turn();
    assert_string_equal(taken(0), HINT);
    gcorn_wake(fake_app.tickets[1]);
    turn();
    assert_true(begins(taken(0), HINT "HTTP/1.1 200 OK\r\n"));
}

/* Also that of a request which another one follows in the same read. */
static void test_pipelined_interims_keep_their_place(void **state)
{
    const char *at;

    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/") GET("/h/p") "HEAD /h/p HTTP/1.1\r\nHost: a\r\n\r\n" GET("/"));
    assert_true(begins(at = taken(0), "HTTP/1.1 200 OK\r\n"));
    assert_non_null(at = strstr(at, "hello" HINT "HTTP/1.1 200 OK\r\n"));
    assert_non_null(at = strstr(at, "\r\n0\r\n\r\n" HINT "HTTP/1.1 200 OK\r\n"));
    assert_non_null(at = strstr(at, "\r\n\r\nHTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(at, "\r\n\r\nhello"));
}

/* Whatever the socket takes at once: the client gets the same bytes in the same order. */
static void test_full_socket_keeps_interim_before_answer(void **state)
{
    (void)state;
    for (size_t window = 0; window < strlen(HINT) + 4; window++) {
        connect_client(window);
        sends(0, GET("/h/aip"));
        if (window < strlen(HINT))
            assert_int_equal(fake_clients[0].taken.len, window);
        fake_clients[0].window += strlen(HINT);
        turn();
        gcorn_wake(fake_app.tickets[(fake_app.ticket_count - 1) % FAKE_TICKETS]);
        turn();
        fake_clients[0].window = SIZE_MAX;
        turn();
        assert_true(begins(taken(0), HINT HINT "HTTP/1.1 200 OK\r\n"));
        assert_non_null(strstr(taken(0), "\r\n0\r\n\r\n"));
        fake_clients[0].error = ECONNRESET;
        turn();
    }
}

static void test_client_that_leaves_before_interim_is_dropped(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    fake_client_sends(0, GET("/s/iap"));
    fake_turn(w);
    fake_clients[0].error = ECONNRESET;
    turn();
    assert_false(fake_clients[0].is_open);
    assert_int_equal(fake_app.closed, 1);
}

static void test_interrupted_send_is_tried_again(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    fake_client_sends(0, GET("/h/a"));
    fake_clients[0].interrupts = 3;
    turn();
    assert_string_equal(taken(0), HINT);
}

static void test_bytes_of_interim_are_counted(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/h/a"));
    assert_int_equal(w->slot->counts.bytes_out, strlen(HINT));
    assert_int_equal(slot_requests(&w->slot->counts), 0); /* it is no answer */
}

static void test_failed_answer_follows_interim(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/h/x"));
    assert_true(begins(taken(0), HINT "HTTP/1.1 500 "));
}

static void test_connection_is_kept_after_interim(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/h/p"));
    assert_int_equal(fake_conn(w, 0)->h1.phase, STREAM_NONE);
    assert_null(fake_conn(w, 0)->h1.x); /* it holds nothing */
    sends(0, GET("/h/p"));
    assert_non_null(strstr(taken(0), "\r\n0\r\n\r\n" HINT));
}

static void test_closing_answer_follows_interim(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, "GET /h/p HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert_true(begins(taken(0), HINT "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(taken(0), "\r\nConnection: close\r\n"));
    assert_false(fake_clients[0].is_open);
}

static void test_drain_while_waiting_ends_answer_after_interim(void **state)
{
    (void)state;
    connect_client(SIZE_MAX);
    sends(0, GET("/h/aip"));
    fake_order(w, DOWN_RETIRE, 0);
    turn();
    assert_true(begins(taken(0), HINT HINT "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(taken(0), "\r\n0\r\n\r\n"));
}

#define BOTH(test)                                                                                 \
    {#test, test, set_up, tear_down, NULL},                                                        \
    {                                                                                              \
#test " (later)", test, set_up, tear_down, &w                                              \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_interim_leaves_while_answer_waits),
        BOTH(test_interim_of_next_leaves_while_answer_waits),
        BOTH(test_pipelined_interims_keep_their_place),
        BOTH(test_full_socket_keeps_interim_before_answer),
        BOTH(test_client_that_leaves_before_interim_is_dropped),
        BOTH(test_interrupted_send_is_tried_again),
        BOTH(test_bytes_of_interim_are_counted),
        BOTH(test_failed_answer_follows_interim),
        BOTH(test_connection_is_kept_after_interim),
        BOTH(test_closing_answer_follows_interim),
        BOTH(test_drain_while_waiting_ends_answer_after_interim),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
