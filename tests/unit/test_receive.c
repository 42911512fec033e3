/* SPDX-License-Identifier: MIT
 *
 * Bodies that the application reads as they come, over fake wires and a fake clock: how much is read
 * ahead, whose time runs when, and what becomes of both sides when one of them stops. Each test runs
 * with calls on the loop's thread, and with calls that end later, as those of threads do.
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

enum { BODY_MS = 2000, WRITE_MS = 3000, RATE = 1000, KIB_64 = 64 * 1024 };

#define POST(path, length) "POST " path " HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n"
#define EXPECT             "Expect: 100-continue\r\n"

static struct config config;
static struct worker *w;
static bool calls_later;

static int set_up(void **state)
{
    calls_later = *state != NULL;
    config_init(&config);
    config.worker_connections = 3;
    config.header_timeout_ms = 60000;
    config.body_timeout_ms = BODY_MS;
    config.write_timeout_ms = WRITE_MS;
    config.body_min_rate = RATE;
    config.limit_request_body = 10000000;
    w = fake_worker_new(&config);
    fake_call_later(w, calls_later);
    return 0;
}

static void turn(void)
{
    do {
        fake_turn(w);
    } while (fake_finish_call(w));
}

static void wait_ms(uint64_t ms)
{
    for (; ms > 0; ms -= ms < 10 ? ms : 10) {
        fake_wait_ms(w, ms < 10 ? ms : 10);
        turn();
    }
}

static int tear_down(void **state)
{
    (void)state;
    for (unsigned i = 0; i < FAKE_CLIENTS; i++) {
        if (fake_clients[i].is_open)
            fake_clients[i].error = ECONNRESET;
    }
    turn();
    wait_ms(100);
    fake_assert_idle(w);
    fake_worker_free(w);
    config_release(&config);
    return 0;
}

static struct fake_client *client(const char *head)
{
    assert_non_null(fake_connect(w, 0));
    fake_client_sends(0, head);
    turn();
    return &fake_clients[0];
}

static void sends(size_t len)
{
    static const char bytes[1 << 20];

    fake_client_sends_bytes(0, bytes, len);
    turn();
}

static bool was_sent(const char *text)
{
    struct strbuf *s = &fake_clients[0].taken;

    strbuf_add(s, "", 1);
    s->len--;
    return strstr(s->data, text) != NULL;
}

static bool is_whole(void)
{
    return was_sent("\r\n0\r\n\r\n");
}

/* ---- how much is read ahead -------------------------------------------------------------- */

static void test_application_that_does_not_read_stops_client(void **state)
{
    const struct fake_client *c = client(POST("/u/aaaaaaaar", "1000000"));

    (void)state;
    sends(1000000);
    assert_true(c->read_len >= KIB_64 && c->read_len <= 2 * KIB_64 + 200);
    wait_ms(10 * BODY_MS); /* the client cannot send: its time stands still */
    assert_true(c->is_open);
    for (int i = 0; i < 8; i++) {
        gcorn_wake(fake_app.tickets[0]);
        turn();
    }
    assert_true(was_sent("200 OK") && is_whole());
    assert_int_equal(c->read_len, c->sent.len);
}

static void test_pieces_of_any_size_are_read_whole(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 300000; size *= 7) {
        char head[128];
        size_t len = size < 1000 ? 3000 : 600000;

        (void)snprintf(head, sizeof(head), POST("/u/Or", "%zu"), len);
        (void)client(head);
        for (size_t sent = 0; sent < len; sent += size)
            sends(len - sent < size ? len - sent : size);
        assert_true(was_sent("200 OK") && is_whole());
        fake_clients[0].error = ECONNRESET;
        turn();
    }
}

/* ---- time -------------------------------------------------------------------------------- */

static void test_silent_client_is_answered_408(void **state)
{
    const struct fake_client *c = client(POST("/u/r", "100"));

    (void)state;
    sends(50);
    wait_ms(BODY_MS - 100);
    assert_true(c->taken.len == 0);
    wait_ms(200);
    assert_true(was_sent("408 Request Timeout") && c->is_shut);
    assert_int_equal(fake_app.close_errno, ETIMEDOUT);
}

static void test_wakes_of_application_give_client_no_time(void **state)
{
    (void)state;
    (void)client(POST("/u/R", "100"));
    sends(50);
    wait_ms(BODY_MS + 200);
    assert_true(was_sent("408 Request Timeout"));
    assert_int_equal(fake_app.close_errno, ETIMEDOUT);
}

static void test_trickle_is_answered_408(void **state)
{
    (void)state;
    (void)client(POST("/u/r", "100000"));
    for (int i = 0; i < 60 && fake_clients[0].taken.len == 0; i++) {
        sends(1);
        wait_ms(100);
    }
    assert_true(was_sent("408 Request Timeout"));
}

static void test_silent_client_of_begun_answer_sees_it_cut(void **state)
{
    const struct fake_client *c = client(POST("/u/pr", "70000"));

    (void)state;
    assert_true(was_sent("200 OK"));
    wait_ms(BODY_MS + 200);
    assert_true(c->is_shut || !c->is_open);
    assert_false(is_whole());
    assert_int_equal(fake_app.close_errno, ETIMEDOUT);
}

static void test_begun_answer_without_length_ends_in_reset(void **state)
{
    const struct fake_client *c = client("POST /u/pr HTTP/1.0\r\nContent-Length: 100\r\n\r\n");

    (void)state;
    assert_true(was_sent("200 OK") && was_sent("Connection: close"));
    wait_ms(BODY_MS + 200);
    assert_true(c->is_reset && !c->is_open);
    assert_int_equal(fake_app.close_errno, ETIMEDOUT);
}

static void test_request_that_queued_too_long_is_not_asked(void **state)
{
    (void)state;
    config.queue_timeout_ms = 500;
    assert_non_null(fake_connect(w, 0));
    fake_client_sends(0, POST("/u/r", "100"));
    fake_clients[0].queued_ms = 600;
    if (calls_later)
        fake_turn(w); /* it is read, and waits for its call */
    fake_loop_advance_ns(UINT64_C(600000000));
    turn();
    assert_true(was_sent("503 Service Unavailable"));
    assert_int_equal(fake_app.heads, 0);
}

static void test_client_that_sends_and_takes_nothing_is_closed(void **state)
{
    struct fake_client *c = client("");

    (void)state;
    c->window = 1000;
    fake_client_sends(0, POST("/u/hr", "1000000"));
    turn();
    for (int i = 0; i < 40 && c->is_open; i++) {
        sends(1000);
        wait_ms(100);
    }
    assert_false(c->is_open);
    assert_int_equal(fake_app.close_errno, ECONNRESET);
}

static void test_body_is_read_while_answer_is_sent(void **state)
{
    struct fake_client *c = client("");

    (void)state;
    c->window = 1000;
    fake_client_sends(0, POST("/u/hr", "300000"));
    turn();
    size_t before = c->read_len;
    sends(300000);
    assert_true(c->read_len >= before + KIB_64);
    c->window = SIZE_MAX / 2;
    turn();
    assert_true(is_whole());
    assert_int_equal(c->read_len, c->sent.len);
}

static void test_slow_client_gives_way_where_worker_is_full(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        assert_non_null(fake_connect(w, i));
        fake_client_sends(i, i == 1 ? POST("/u/pr", "100") : POST("/u/r", "100"));
        turn();
        fake_client_sends(i, i == 2 ? "1" : "123");
        turn();
    }
    assert_null(fake_connect(w, 3)); /* all have just begun */
    wait_ms(100);
    for (unsigned tries = 0; !fake_clients[3].is_open && tries < 3; tries++) {
        (void)fake_connect(w, 3);
        turn();
    }
    assert_true(fake_clients[3].is_open && fake_clients[0].is_open && fake_clients[1].is_open);
    strbuf_add(&fake_clients[2].taken, "", 1);
    assert_non_null(strstr(fake_clients[2].taken.data, "408 Request Timeout"));
    fake_clients[2].taken.len--;
}

/* ---- the ends ---------------------------------------------------------------------------- */

static void test_client_that_leaves_ends_request(void **state)
{
    struct fake_client *c = client(POST("/u/r", "100"));

    (void)state;
    sends(50);
    c->error = ECONNRESET;
    turn();
    assert_false(c->is_open);
    assert_int_equal(fake_app.closed, 1);
    assert_int_equal(fake_app.close_errno, ECONNRESET);
}

static void test_half_close_within_body_is_answered_400(void **state)
{
    struct fake_client *c = client(POST("/u/r", "100"));

    (void)state;
    sends(50);
    c->has_ended = true;
    turn();
    assert_true(was_sent("400 Bad Request"));
    assert_int_equal(fake_app.close_errno, EBADMSG);
}

static void test_half_close_drops_what_was_pushed(void **state)
{
    struct fake_client *c = client("");

    (void)state;
    c->window = 1000;
    fake_client_sends(0, POST("/w/hr", "100"));
    turn();
    sends(50);
    assert_true(was_sent("200 OK") && w->pushed_bytes > 0);
    c->has_ended = true;
    turn();
    assert_int_equal(w->pushed_bytes, 0);
    c->window = SIZE_MAX / 2;
    turn();
    assert_true(!c->is_open && !is_whole());
    assert_int_equal(fake_app.close_errno, EBADMSG);
}

static void test_drain_calls_next_once(void **state)
{
    (void)state;
    (void)client(POST("/u/r", "100"));
    sends(50);
    unsigned asked = fake_app.asked;
    fake_order(w, DOWN_RETIRE, 0);
    turn();
    assert_int_equal(fake_app.asked, asked + 1);
    sends(50); /* it may end in its own time */
    assert_true(was_sent("200 OK") && is_whole());
}

static void test_expectation_is_met_when_read_finds_nothing(void **state)
{
    (void)state;
    (void)client("POST /u/ar HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n");
    assert_false(was_sent("100 Continue"));
    gcorn_wake(fake_app.tickets[0]);
    turn();
    assert_true(was_sent("HTTP/1.1 100 Continue\r\n\r\n"));
    sends(5);
    assert_true(was_sent("200 OK") && is_whole());
}

static void test_expectation_is_not_met_after_answer_began(void **state)
{
    (void)state;
    (void)client("POST /u/pr HTTP/1.1\r\nHost: a\r\n" EXPECT "Content-Length: 5\r\n\r\n");
    assert_true(was_sent("200 OK") && was_sent("Connection: close"));
    wait_ms(100);
    assert_false(was_sent("100 Continue"));
}

#define TWICE(f)                                                                                   \
    {#f, f, set_up, tear_down, NULL},                                                              \
    {                                                                                              \
#f "_later", f, set_up, tear_down, &calls_later                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TWICE(test_application_that_does_not_read_stops_client),
        TWICE(test_pieces_of_any_size_are_read_whole),
        TWICE(test_silent_client_is_answered_408),
        TWICE(test_wakes_of_application_give_client_no_time),
        TWICE(test_trickle_is_answered_408),
        TWICE(test_silent_client_of_begun_answer_sees_it_cut),
        TWICE(test_begun_answer_without_length_ends_in_reset),
        TWICE(test_request_that_queued_too_long_is_not_asked),
        TWICE(test_client_that_sends_and_takes_nothing_is_closed),
        TWICE(test_body_is_read_while_answer_is_sent),
        TWICE(test_slow_client_gives_way_where_worker_is_full),
        TWICE(test_client_that_leaves_ends_request),
        TWICE(test_half_close_within_body_is_answered_400),
        TWICE(test_half_close_drops_what_was_pushed),
        TWICE(test_drain_calls_next_once),
        TWICE(test_expectation_is_met_when_read_finds_nothing),
        TWICE(test_expectation_is_not_met_after_answer_began),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
