/* SPDX-License-Identifier: MIT
 *
 * Connections, from accept to close, over fake wires and a fake loop (tests/fake/): each state that
 * a connection can be in, what must not be left of the connection or request before, and two events
 * of a life that meet.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_worker.h"
#include "settings/config.h"
#include "worker/conn/conn.h"
#include "worker/conn/linger.h"

enum {
    HEADER_MS = 1000,
    BODY_MS = 2000,
    WRITE_MS = 3000,
    KEEPALIVE_MS = 4000,
    CONNECTIONS = 3,
};

#define GET(path)          "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(path, length) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"

static struct config config;
static struct worker *w;

static int set_up(void **state)
{
    (void)state;
    config_init(&config);
    config.worker_connections = CONNECTIONS;
    config.header_timeout_ms = HEADER_MS;
    config.body_timeout_ms = BODY_MS;
    config.write_timeout_ms = WRITE_MS;
    config.keepalive_ms = KEEPALIVE_MS;
    config.limit_request_body = 100000;
    w = fake_worker_new(&config);
    return 0;
}

static void leave(unsigned i)
{
    fake_clients[i].error = ECONNRESET;
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAKE_CLIENTS; i++) {
        if (fake_clients[i].is_open)
            leave(i);
    }
    fake_turn(w);
    fake_wait_ms(w, 60000);
    fake_assert_idle(w);
    fake_worker_free(w);
    config_release(&config);
    return 0;
}

/* ---- what a test says -------------------------------------------------------------------- */

static struct conn *connect_client(unsigned i)
{
    struct conn *c = fake_connect(w, i);

    assert_non_null(c);
    fake_turn(w);
    return c;
}

static void sends(unsigned i, const char *text)
{
    fake_client_sends(i, text);
    fake_turn(w);
}

static void ends(unsigned i)
{
    fake_clients[i].has_ended = true;
    fake_turn(w);
}

static void wakes(unsigned ticket)
{
    gcorn_wake(fake_app.tickets[ticket]);
    fake_turn(w);
}

/* All that client i was sent, as text. */
static const char *taken(unsigned i)
{
    struct strbuf *s = &fake_clients[i].taken;

    strbuf_add(s, "", 1);
    s->len--;
    return s->data;
}

static unsigned count(unsigned i, const char *text)
{
    unsigned found = 0;

    for (const char *at = taken(i); (at = strstr(at, text)); at += strlen(text))
        found++;
    return found;
}

static bool has(unsigned i, const char *text)
{
    return count(i, text) > 0;
}

static bool is_closed(unsigned i)
{
    return !fake_clients[i].is_open;
}

#define assert_state(i, name) assert_int_equal(fake_conn(w, i)->state, name)
#define assert_phase(i, name) assert_int_equal(fake_conn(w, i)->h1.phase, name)

/* ---- states ------------------------------------------------------------------------------ */

static void test_idle_connection_closes_at_keepalive(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/"));
    assert_phase(0, STREAM_NONE);
    assert_null(fake_conn(w, 0)->h1.x); /* it holds nothing */
    fake_wait_ms(w, KEEPALIVE_MS - 10);
    assert_false(is_closed(0));
    fake_wait_ms(w, 20);
    assert_true(is_closed(0));
    assert_int_equal(count(0, "HTTP/1.1 "), 1); /* without a word */
}

static void test_silent_connection_closes_at_header_timeout(void **state)
{
    (void)state;
    connect_client(0);
    assert_phase(0, STREAM_HEAD);
    fake_wait_ms(w, HEADER_MS + 10);
    assert_true(is_closed(0));
    assert_string_equal(taken(0), "");
}

static void test_late_head_is_answered_408(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, "GET / HT");
    fake_wait_ms(w, HEADER_MS - 100);
    sends(0, "TP/1.1\r\n"); /* bytes of a head give it no more time */
    assert_phase(0, STREAM_HEAD);
    fake_wait_ms(w, 110);
    assert_true(has(0, "HTTP/1.1 408 "));
    assert_state(0, CONN_LINGER);
}

static void test_each_piece_of_body_renews_its_timeout(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "3") "a");
    assert_phase(0, STREAM_BODY);
    fake_wait_ms(w, BODY_MS - 100);
    sends(0, "b");
    fake_wait_ms(w, BODY_MS - 100);
    assert_phase(0, STREAM_BODY);
    fake_wait_ms(w, 110);
    assert_true(has(0, "HTTP/1.1 408 "));
}

static void test_slow_reader_gets_whole_answer(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 100;
    sends(0, GET("/b"));
    assert_phase(0, STREAM_SENDING);
    for (int i = 0; i < 4; i++) { /* longer than one timeout: each progress renews it */
        fake_wait_ms(w, WRITE_MS - 100);
        fake_clients[0].window = 80000;
        fake_turn(w);
    }
    assert_phase(0, STREAM_NONE);
    assert_int_equal(fake_clients[0].taken.len,
                     strstr(taken(0), "\r\n\r\n") + 4 - taken(0) + 300000);
}

static void test_reader_that_takes_nothing_is_dropped(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 100;
    sends(0, GET("/b"));
    fake_wait_ms(w, WRITE_MS + 10);
    assert_true(is_closed(0));
    assert_int_equal(slot_requests(&w->slot->counts), 1);
    assert_int_equal(slot_in_flight(&w->slot->counts), 0);
}

static void test_waiting_answer_reads_and_keeps_next_request(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/ap"));
    assert_phase(0, STREAM_WAITING);
    assert_int_equal(w->slot->waiting, 1);
    sends(0, GET("/"));
    assert_phase(0, STREAM_WAITING);
    wakes(0);
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 2);
    assert_phase(0, STREAM_NONE);
    assert_int_equal(w->slot->waiting, 0);
}

static void test_client_that_sends_on_is_not_read_for_ever(void **state)
{
    static char bytes[100000];

    (void)state;
    memset(bytes, '\n', sizeof(bytes));
    connect_client(0);
    sends(0, GET("/i/ap"));
    fake_client_sends_bytes(0, bytes, sizeof(bytes));
    fake_turn(w);
    assert_false(fake_loop_watches(w->loop, fake_conn(w, 0)->wire.fd));
    assert_true(fake_clients[0].read_len < 70000);
    wakes(0);
    assert_true(has(0, "\r\n0\r\n\r\n")); /* the answer is whole */
}

static void test_many_requests_take_turns(void **state)
{
    (void)state;
    connect_client(0);
    connect_client(1);
    for (int i = 0; i < 3; i++)
        fake_client_sends(0, GET("/s/")); /* 20 ms each: a pass is long after one */
    fake_client_sends(1, GET("/"));
    fake_loop_pass(w->loop);
    fake_loop_pass(w->loop);
    assert_true(has(1, "HTTP/1.1 200 OK"));
    assert_phase(0, STREAM_READY);
    fake_turn(w);
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 3);
}

static void test_lingering_connection_closes_after_client(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "999999"));
    assert_true(has(0, "HTTP/1.1 413 "));
    assert_state(0, CONN_LINGER);
    assert_true(fake_clients[0].is_shut);
    sends(0, "some of the body");
    assert_false(is_closed(0));
    ends(0);
    assert_true(is_closed(0));
}

static void test_lingering_connection_closes_in_time(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "999999"));
    fake_wait_ms(w, LINGER_GAP_MS + 10);
    assert_true(is_closed(0));
}

/* ---- the wire ---------------------------------------------------------------------------- */

static void test_bytes_held_by_wire_are_read_without_epoll(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].buffers = true;
    fake_clients[0].read_max = 10;
    sends(0, GET("/") GET("/") POST("/e", "4") "body");
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 3);
    assert_phase(0, STREAM_NONE);
}

static void test_read_that_needs_writable_socket_waits_for_it(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].needs_write = true;
    fake_clients[0].window = 0;
    sends(0, GET("/"));
    assert_string_equal(taken(0), "");
    assert_int_equal(fake_conn(w, 0)->io.events & (EV_READ | EV_WRITE), EV_READ | EV_WRITE);
    fake_clients[0].window = 100000;
    fake_turn(w);
    assert_true(has(0, "HTTP/1.1 200 OK"));
    assert_int_equal(fake_conn(w, 0)->io.events & (EV_READ | EV_WRITE), EV_READ);
}

static void test_interrupted_reads_and_sends_are_tried_again(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].interrupts = 1;
    sends(0, GET("/b"));
    assert_true(has(0, "HTTP/1.1 200 OK"));
    fake_clients[0].window = 100;
    sends(0, GET("/f"));
    fake_clients[0].interrupts = 2;
    fake_clients[0].window = 1000000;
    fake_turn(w);
    assert_phase(0, STREAM_NONE);
    assert_true(fake_clients[0].taken.len > 600000);
}

static void test_file_that_shrinks_resets_close_delimited_answer(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 50000;
    sends(0, "GET /t HTTP/1.0\r\n\r\n");
    assert_phase(0, STREAM_SENDING);
    fake_truncate_file();
    fake_clients[0].window = 1000000;
    fake_turn(w);
    assert_true(is_closed(0));
}

static void test_failed_close_delimited_answer_is_reset(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, "GET /i/px HTTP/1.0\r\n\r\n");
    assert_true(is_closed(0));
    assert_true(fake_clients[0].is_reset);
    connect_client(0);
    sends(0, "GET /i/pp HTTP/1.0\r\n\r\n");
    assert_false(fake_clients[0].is_reset);
}

/* ---- taken again ------------------------------------------------------------------------- */

static void test_stale_ticket_wakes_no_later_request(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, GET("/i/ap"));
    leave(0);
    fake_turn(w);
    assert_ptr_equal(connect_client(1), first);
    sends(1, GET("/i/ap"));
    assert_int_equal(fake_app.asked, 2);
    wakes(0);
    assert_int_equal(fake_app.asked, 2);
    wakes(1);
    assert_int_equal(fake_app.asked, 4); /* its piece, and its end */
}

static void test_ticket_of_request_before_wakes_no_next_one(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/ap"));
    wakes(0);
    sends(0, GET("/i/ap"));
    assert_int_equal(fake_app.asked, 4);
    wakes(0);
    assert_int_equal(fake_app.asked, 4);
    assert_true(fake_app.tickets[0] != fake_app.tickets[1]);
}

static void test_wake_under_way_when_place_is_taken_again(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, GET("/i/ap"));
    gcorn_wake(fake_app.tickets[0]); /* its turn is yet to come */
    conn_drop(first);
    assert_ptr_equal(fake_connect(w, 1), first);
    sends(1, GET("/i/aap"));
    assert_in_range(fake_app.asked, 2, 3); /* at most once for no reason */
    assert_phase(1, STREAM_WAITING);
}

static void test_alarm_of_request_before_wakes_no_next_one(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/W"));
    assert_int_equal(fake_app.closed, 1);
    sends(0, GET("/i/ap"));
    assert_int_equal(fake_app.asked, 3);
    fake_wait_ms(w, 200);
    assert_int_equal(fake_app.asked, 3);
}

static void test_alarm_comes_once(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/wap"));
    assert_int_equal(fake_app.asked, 1);
    fake_wait_ms(w, 49);
    assert_int_equal(fake_app.asked, 1);
    fake_wait_ms(w, 2);
    assert_int_equal(fake_app.asked, 2);
    fake_wait_ms(w, 1000);
    assert_int_equal(fake_app.asked, 2);
}

static void test_deadline_is_that_of_its_own_call(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 100;
    sends(0, GET("/i/elllp"));
    assert_int_equal(w->slot->calls[0].until_ms, 0);
}

static void test_new_connection_has_its_own_timers(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, GET("/"));
    fake_wait_ms(w, KEEPALIVE_MS - 100);
    leave(0);
    fake_turn(w);
    assert_ptr_equal(connect_client(1), first);
    fake_wait_ms(w, 500); /* past the deadline of the connection before */
    assert_false(is_closed(1));
    fake_wait_ms(w, HEADER_MS - 510);
    assert_false(is_closed(1));
    fake_wait_ms(w, 20);
    assert_true(is_closed(1));
}

static void test_new_connection_has_not_answered_yet(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, GET("/"));
    sends(0, GET("/"));
    leave(0);
    fake_turn(w);
    assert_ptr_equal(connect_client(1), first);
    fake_wait_ms(w, HEADER_MS - 100);
    sends(1, "GET");
    fake_wait_ms(w, 110); /* no renewed timeout, as behind an answer */
    assert_true(has(1, "HTTP/1.1 408 "));
}

static void test_new_connection_may_be_kept_alive(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    ends(0);
    assert_true(is_closed(0));
    assert_ptr_equal(connect_client(1), first);
    sends(1, GET("/"));
    sends(1, GET("/"));
    assert_int_equal(count(1, "HTTP/1.1 200 OK"), 2);
    assert_phase(1, STREAM_NONE);
}

static void test_new_connection_lingers_for_its_own_body(void **state)
{
    (void)state;
    struct conn *first = connect_client(0);
    sends(0, POST("/e", "200000"));
    assert_state(0, CONN_LINGER);
    leave(0);
    fake_turn(w);
    assert_ptr_equal(connect_client(1), first);
    sends(1, "NOT HTTP\r\n\r\n"); /* announces nothing */
    assert_state(1, CONN_LINGER);
    assert_int_equal(fake_conn(w, 1)->h1.x->lingering.announced, 0);
}

static void test_date_of_kept_head_goes_on(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/"));
    fake_wait_ms(w, 1000);
    sends(0, GET("/"));
    assert_int_equal(count(0, "Date: Sun, 06 Nov 1994 08:49:38 GMT"), 1);
    assert_int_equal(count(0, "Date: Sun, 06 Nov 1994 08:49:39 GMT"), 1);
}

static void test_answer_after_head_has_body(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_false(has(0, "hello"));
    sends(0, GET("/"));
    assert_int_equal(count(0, "hello"), 1);
}

static void test_body_list_forgets_answered_request(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "2") "a");
    assert_non_null(w->admission.oldest);
    sends(0, "b" POST("/e", "2") "c");
    assert_ptr_equal(w->admission.oldest, &fake_conn(w, 0)->h1);
    assert_ptr_equal(w->admission.newest, &fake_conn(w, 0)->h1);
    sends(0, "d");
    assert_null(w->admission.oldest);
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 2);
}

/* ---- two events that meet ---------------------------------------------------------------- */

static void test_drain_during_body_answers_it(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "4") "bo");
    fake_order(w, DOWN_RETIRE, 0);
    fake_turn(w);
    assert_true(w->draining);
    assert_false(fake_loop_took_break(w->loop));
    sends(0, "dy");
    assert_true(has(0, "Connection: close"));
    assert_true(has(0, "body"));
    ends(0);
    assert_true(fake_loop_took_break(w->loop));
}

static void test_drain_while_waiting_asks_application(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/ap"));
    fake_order(w, DOWN_RETIRE, 0);
    fake_turn(w);
    assert_true(has(0, "\r\n0\r\n\r\n"));
}

static void test_drain_during_call_closes_with_its_answer(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/d/p"));
    assert_true(has(0, "Connection: close"));
    assert_true(has(0, "\r\n0\r\n\r\n"));
    assert_true(fake_clients[0].is_shut);
}

static void test_drain_meets_request_on_idle_connection(void **state)
{
    (void)state;
    connect_client(0);
    connect_client(1);
    sends(0, GET("/"));
    sends(1, GET("/"));
    fake_order(w, DOWN_RETIRE, 500);
    fake_turn(w);
    fake_loop_advance_ns(UINT64_C(600000000));
    fake_client_sends(0, GET("/")); /* in the socket when its time is over */
    fake_turn(w);
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 2);
    assert_true(is_closed(1));
}

static void test_lingering_client_does_not_outlast_drain(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "999999"));
    fake_order(w, DOWN_STOP, 0);
    fake_turn(w);
    for (int i = 0; i < 20 && !is_closed(0); i++) { /* it sends on at the pace of an upload */
        sends(0, "0123456789");
        fake_wait_ms(w, 1000);
    }
    assert_true(is_closed(0));
    assert_true(fake_loop_took_break(w->loop));
}

static void test_half_close_while_waiting_gets_answer(void **state)
{
    (void)state;
    config.skip_gone_after_ms = 0;
    connect_client(0);
    sends(0, GET("/i/ap"));
    ends(0);
    assert_false(is_closed(0));
    assert_false(fake_loop_watches(w->loop, fake_conn(w, 0)->wire.fd)); /* else it would spin */
    wakes(0);
    assert_true(has(0, "\r\n0\r\n\r\n"));
    assert_true(is_closed(0));
}

static void test_half_close_while_waiting_ends_answer_if_set(void **state)
{
    (void)state;
    config.skip_gone_after_ms = 100;
    connect_client(0);
    sends(0, GET("/i/ap"));
    ends(0);
    assert_true(is_closed(0));
    assert_int_equal(fake_app.closed, 1);
    config.skip_gone_after_ms = 0;
}

static void test_half_close_within_head_is_answered_400(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, "GET / HTTP/1.1\r\n");
    ends(0);
    assert_true(has(0, "HTTP/1.1 400 "));
    assert_true(is_closed(0));
}

static void test_half_close_behind_request_gets_answer(void **state)
{
    (void)state;
    connect_client(0);
    fake_client_sends(0, GET("/") GET("/"));
    ends(0);
    assert_int_equal(count(0, "HTTP/1.1 200 OK"), 2);
    assert_true(is_closed(0));
}

static void test_reset_while_waiting_ends_answer(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/pap"));
    leave(0);
    fake_turn(w);
    assert_true(is_closed(0));
    assert_int_equal(fake_app.closed, 1);
    assert_int_equal(w->slot->waiting, 0);
}

static void test_reset_with_answer_in_flight_ends_it(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 1000;
    sends(0, GET("/i/llll"));
    assert_phase(0, STREAM_SENDING);
    leave(0);
    fake_turn(w);
    assert_true(is_closed(0));
    assert_int_equal(fake_app.closed, 1);
}

static void test_reset_in_same_pass_as_wake(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, GET("/i/ap"));
    leave(0);
    gcorn_wake(fake_app.tickets[0]);
    fake_turn(w);
    assert_true(is_closed(0));
    assert_int_equal(fake_app.closed, 1);
}

static void test_bytes_in_socket_win_over_deadline(void **state)
{
    (void)state;
    connect_client(0);
    sends(0, POST("/e", "2") "a");
    fake_loop_advance_ns((BODY_MS + 100) * UINT64_C(1000000));
    fake_client_sends(0, "b");
    fake_turn(w);
    assert_true(has(0, "HTTP/1.1 200 OK"));
    assert_false(has(0, "408"));
}

static void test_progress_wins_over_write_timeout(void **state)
{
    (void)state;
    connect_client(0);
    fake_clients[0].window = 100;
    sends(0, GET("/b"));
    fake_wait_ms(w, WRITE_MS - 5);
    fake_clients[0].window = 1000;
    fake_turn(w);
    fake_wait_ms(w, 10);
    assert_false(is_closed(0));
    fake_wait_ms(w, WRITE_MS);
    assert_true(is_closed(0));
}

static void test_call_of_other_takes_no_time_from_client(void **state)
{
    (void)state;
    connect_client(0);
    connect_client(1);
    sends(0, "GET");
    fake_wait_ms(w, HEADER_MS - 10);
    sends(1, GET("/s/")); /* 20 ms in a call: client time stands still */
    assert_phase(0, STREAM_HEAD);
    fake_wait_ms(w, 15);
    assert_true(has(0, "HTTP/1.1 408 "));
}

/* ---- calls that end later ---------------------------------------------------------------- */

static void test_client_gone_during_call_is_closed_after_it(void **state)
{
    (void)state;
    fake_call_later(w, true);
    struct conn *c = connect_client(0);
    sends(0, GET("/i/p"));
    assert_phase(0, STREAM_CALLING);
    assert_false(fake_loop_watches(w->loop, c->wire.fd));
    leave(0);
    fake_turn(w);
    assert_false(is_closed(0));       /* the loop leaves it alone meanwhile */
    assert_true(fake_finish_call(w)); /* the handler */
    while (!is_closed(0))
        assert_true(fake_finish_call(w));
    assert_int_equal(c->state, CONN_CLOSED); /* its request has yet to end */
    assert_int_equal(c->h1.phase, STREAM_CALLING);
    assert_int_equal(fake_app.closed, 0);
    assert_true(fake_finish_call(w));
    assert_int_equal(c->state, CONN_FREE);
    assert_int_equal(fake_app.closed, 1);
}

static void test_wake_during_call_brings_another_one(void **state)
{
    (void)state;
    fake_call_later(w, true);
    connect_client(0);
    sends(0, GET("/i/ap"));
    assert_true(fake_finish_call(w));
    assert_true(fake_finish_call(w)); /* next: it has nothing */
    assert_phase(0, STREAM_WAITING);
    wakes(0);
    assert_phase(0, STREAM_CALLING);
    wakes(0); /* while it runs */
    while (fake_finish_call(w))
        fake_turn(w);
    assert_true(has(0, "\r\n0\r\n\r\n"));
    assert_phase(0, STREAM_NONE);
}

static void test_drain_during_call_in_thread_closes_with_answer(void **state)
{
    (void)state;
    fake_call_later(w, true);
    connect_client(0);
    sends(0, GET("/"));
    fake_order(w, DOWN_RETIRE, 0);
    fake_turn(w);
    assert_phase(0, STREAM_CALLING);
    while (fake_finish_call(w))
        fake_turn(w);
    assert_true(has(0, "Connection: close"));
}

/* ---- full -------------------------------------------------------------------------------- */

static void test_idle_connection_gives_way_to_new_one(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connect_client(i);
        sends(i, GET("/"));
        fake_wait_ms(w, 100);
    }
    assert_non_null(fake_connect(w, CONNECTIONS));
    assert_true(is_closed(0)); /* the one that has been idle for longest */
    assert_false(is_closed(1));
}

static void test_running_requests_do_not_give_way(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connect_client(i);
        sends(i, GET("/i/ap"));
    }
    assert_null(fake_connect(w, CONNECTIONS));
    for (unsigned i = 0; i < CONNECTIONS; i++)
        assert_false(is_closed(i));
}

static void test_slowest_body_gives_way_with_408(void **state)
{
    (void)state;
    for (unsigned i = 0; i < CONNECTIONS; i++) {
        connect_client(i);
        sends(i, POST("/e", "50000"));
    }
    sends(0, "0123456789");
    sends(1, "0");
    sends(2, "0123456789");
    fake_wait_ms(w, 100);
    assert_non_null(fake_connect(w, CONNECTIONS));
    assert_true(has(1, "HTTP/1.1 408 "));
    assert_true(is_closed(1));
    assert_false(is_closed(0));
    assert_false(is_closed(2));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_idle_connection_closes_at_keepalive),
        TEST(test_silent_connection_closes_at_header_timeout),
        TEST(test_late_head_is_answered_408),
        TEST(test_each_piece_of_body_renews_its_timeout),
        TEST(test_slow_reader_gets_whole_answer),
        TEST(test_reader_that_takes_nothing_is_dropped),
        TEST(test_waiting_answer_reads_and_keeps_next_request),
        TEST(test_client_that_sends_on_is_not_read_for_ever),
        TEST(test_many_requests_take_turns),
        TEST(test_lingering_connection_closes_after_client),
        TEST(test_lingering_connection_closes_in_time),
        TEST(test_bytes_held_by_wire_are_read_without_epoll),
        TEST(test_read_that_needs_writable_socket_waits_for_it),
        TEST(test_interrupted_reads_and_sends_are_tried_again),
        TEST(test_file_that_shrinks_resets_close_delimited_answer),
        TEST(test_failed_close_delimited_answer_is_reset),
        TEST(test_stale_ticket_wakes_no_later_request),
        TEST(test_ticket_of_request_before_wakes_no_next_one),
        TEST(test_wake_under_way_when_place_is_taken_again),
        TEST(test_alarm_of_request_before_wakes_no_next_one),
        TEST(test_alarm_comes_once),
        TEST(test_deadline_is_that_of_its_own_call),
        TEST(test_new_connection_has_its_own_timers),
        TEST(test_new_connection_has_not_answered_yet),
        TEST(test_new_connection_may_be_kept_alive),
        TEST(test_new_connection_lingers_for_its_own_body),
        TEST(test_date_of_kept_head_goes_on),
        TEST(test_answer_after_head_has_body),
        TEST(test_body_list_forgets_answered_request),
        TEST(test_drain_during_body_answers_it),
        TEST(test_drain_while_waiting_asks_application),
        TEST(test_drain_during_call_closes_with_its_answer),
        TEST(test_drain_meets_request_on_idle_connection),
        TEST(test_lingering_client_does_not_outlast_drain),
        TEST(test_half_close_while_waiting_gets_answer),
        TEST(test_half_close_while_waiting_ends_answer_if_set),
        TEST(test_half_close_within_head_is_answered_400),
        TEST(test_half_close_behind_request_gets_answer),
        TEST(test_reset_while_waiting_ends_answer),
        TEST(test_reset_with_answer_in_flight_ends_it),
        TEST(test_reset_in_same_pass_as_wake),
        TEST(test_bytes_in_socket_win_over_deadline),
        TEST(test_progress_wins_over_write_timeout),
        TEST(test_call_of_other_takes_no_time_from_client),
        TEST(test_client_gone_during_call_is_closed_after_it),
        TEST(test_wake_during_call_brings_another_one),
        TEST(test_drain_during_call_in_thread_closes_with_answer),
        TEST(test_idle_connection_gives_way_to_new_one),
        TEST(test_running_requests_do_not_give_way),
        TEST(test_slowest_body_gives_way_with_408),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
