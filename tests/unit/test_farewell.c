/* SPDX-License-Identifier: MIT
 *
 * What a dying worker still sends, by the state of each connection; what its slot says of it, and
 * which lines its access log gets.
 */
#include "worker_case.h"

#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>

#include "gcorn.h"
#include "http/access_log.h"
#include "worker/access_log_writer.h"
#include "worker/crash/farewell.h"

static bool has_first_piece, is_timeout, dies, sends_hint;
static int reader = -1; /* a client that takes what has come between its hint and the death */
static _Atomic bool may_go[4]; /* calls of threads */
static _Atomic unsigned running;
static const struct conn *served;

static struct slot at_death; /* the slot then: here, the application goes on afterwards */

static void say_farewell(const struct conn *crashed)
{
    farewell_say(crashed, is_timeout);
    farewell_log(crashed, is_timeout);
    memcpy(&at_death, worker_this()->slot, sizeof(at_death));
}

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    if (!has_first_piece)
        return GCORN_AGAIN;
    has_first_piece = false;
    *chunk = "first";
    return 5;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (sends_hint)
        assert_int_equal(gcorn_interim(env, "103 Early Hints", NULL), 0);
    while (reader >= 0 && *worker_case_read(reader) == 'f')
        continue;
    if (path[1] >= '0' && path[1] <= '3') {
        atomic_fetch_add(&running, 1);
        while (!atomic_load(&may_go[path[1] - '0']))
            (void)poll(NULL, 0, 1);
    }
    if (dies && strcmp(path, "/die") == 0) {
        served = farewell_served(0);
        say_farewell(served);
    }
    (void)gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/wait") == 0)
        return gcorn_body_iter(env, next, NULL, NULL);
    return gcorn_body_text(env, "whole");
}

static void begin(struct worker_case *t, unsigned threads)
{
    struct error err;

    worker_case_init(t);
    t->config.timeout_ms = 1000;
    worker_case_start(t, handler, threads);
    if (access_log_writer_init(&t->w->access_log, t->slot, "%(s)s %(U)s",
                               memfd_create("log", MFD_CLOEXEC), &err) < 0)
        fail_msg("%s", err.text);
    farewell_init(t->w);
}

static int open_case(void **state)
{
    *state = calloc(1, sizeof(struct worker_case));
    has_first_piece = is_timeout = sends_hint = false;
    reader = -1;
    dies = true;
    served = NULL;
    atomic_store(&running, 0);
    for (size_t i = 0; i < ARRAY_LEN(may_go); i++)
        atomic_store(&may_go[i], false);
    return 0;
}

/* The descriptors of connections are closed by now; here they are freed, too. */
static int close_case(void **state)
{
    struct worker_case *t = *state;

    for (size_t i = 0; i < t->w->table_used; i++) {
        if (t->w->conns[i].state != CONN_FREE && t->w->conns[i].h1.phase != STREAM_CALLING)
            conn_drop(&t->w->conns[i]);
    }
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    (void)close(t->w->access_log.fd);
    access_log_free(t->w->access_log.format);
    worker_case_close(t);
    free(t);
    return 0;
}

/* The lines that were added by the dying worker. */
static const char *lines(void)
{
    static char text[SLOT_LOG_SIZE + 1];

    text[slot_get_log(&at_death, text, sizeof(text) - 1)] = '\0';
    return text;
}

static uint64_t count_ended(unsigned status, enum slot_ended ended)
{
    for (size_t i = 0; i < SLOT_ENDS; i++) {
        const struct slot_end *end = &at_death.counts.ends[i];
        if (end->count > 0 && end->status == status && end->ended == ended)
            return end->count;
    }
    return 0;
}

static int ask_raw(struct worker_case *t, const char *text)
{
    int client = worker_case_connect(t);

    worker_case_send(client, text);
    return client;
}

static int die(struct worker_case *t)
{
    int client = worker_case_ask(t, "/die");

    WORKER_CASE_UNTIL(t, served != NULL);
    return client;
}

/* ---- the request that crashed ------------------------------------------------------------ */

static void test_crashed_request_is_answered_500(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int client = die(t);
    const char *text = worker_case_read(client);
    assert_memory_equal(text, "HTTP/1.1 500 ", 13);
    assert_non_null(strstr(text, "Connection: close\r\n"));
    assert_non_null(strstr(text, "\r\n\r\n500 Internal Server Error\n"));
    assert_true(worker_case_is_closed(client));
    assert_int_equal(at_death.crash.client, CRASH_CLIENT_ANSWERED);
    assert_int_equal(at_death.crash.client_status, 500);
    assert_int_equal(at_death.crash.others_answered, 0);
    assert_int_equal(count_ended(500, ENDED_CRASH), 1);
    assert_int_equal(at_death.counts.begun, 1);
    assert_int_equal(at_death.calls[0].answers, 0); /* its line is there */
    assert_string_equal(lines(), "500 /die\n");
    (void)close(client);
}

static void test_crashed_head_is_answered_without_a_body(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int client = ask_raw(t, "HEAD /die HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, served != NULL);
    const char *text = worker_case_read(client);
    assert_non_null(strstr(text, "Content-Length: 26\r\n\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    (void)close(client);
}

static void test_request_of_a_timeout_is_answered_504(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    is_timeout = true;
    int client = die(t);
    assert_memory_equal(worker_case_read(client), "HTTP/1.1 504 ", 13);
    assert_int_equal(at_death.crash.client_status, 504);
    assert_int_equal(count_ended(504, ENDED_TIMEOUT), 1);
    assert_string_equal(lines(), "504 /die\n");
    (void)close(client);
}

static void test_earlier_answers_come_before_the_500(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int client =
        ask_raw(t, "GET /a HTTP/1.1\r\nHost: t\r\n\r\nGET /die HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, served != NULL);
    const char *text = worker_case_read(client);
    assert_memory_equal(text, "HTTP/1.1 200 ", 13);
    assert_non_null(strstr(text, "wholeHTTP/1.1 500 "));
    (void)close(client);
}

#define HINT         "HTTP/1.1 103 Early Hints\r\n\r\n"
#define HINT_AND_500 HINT "HTTP/1.1 500 "

static void test_500_follows_interim(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    sends_hint = true;
    int client = die(t);
    assert_memory_equal(worker_case_read(client), HINT_AND_500, sizeof(HINT_AND_500) - 1);
    assert_int_equal(at_death.crash.client, CRASH_CLIENT_ANSWERED);
    assert_string_equal(lines(), "500 /die\n");
    (void)close(client);
}

/* So that the socket takes no byte more. */
static void fill(const struct conn *c)
{
    char filler[4096];

    memset(filler, 'f', sizeof(filler));
    for (size_t len = sizeof(filler); len > 0; len /= 2) {
        while (send(c->wire.fd, filler, len, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            continue;
    }
}

static void test_500_follows_interim_that_is_unsent(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    sends_hint = true;
    reader = worker_case_connect(t);
    fill(&t->w->conns[0]);
    worker_case_send(reader, "GET /die HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, served != NULL);
    assert_memory_equal(worker_case_read(reader), HINT_AND_500, sizeof(HINT_AND_500) - 1);
    (void)close(reader);
}

static void test_client_that_takes_nothing_is_lost(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int client = worker_case_connect(t);
    fill(&t->w->conns[0]);
    worker_case_send(client, "GET /die HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(t, served != NULL);
    assert_int_equal(at_death.crash.client, CRASH_CLIENT_LOST);
    (void)close(client);
}

/* ---- the others -------------------------------------------------------------------------- */

static void test_idle_client_is_sent_nothing(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int idle = worker_case_ask(t, "/a");
    (void)worker_case_answer(t, idle, "whole");
    int client = die(t);
    assert_true(worker_case_is_closed(idle));
    assert_int_equal(at_death.crash.others_answered, 0);
    assert_int_equal(at_death.crash.others_cut, 0);
    (void)close(idle);
    (void)close(client);
}

static void test_unread_request_is_turned_away(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int idle = worker_case_ask(t, "/a");
    (void)worker_case_answer(t, idle, "whole");
    worker_case_send(idle, "GET /late HTTP/1.1\r\nHost: t\r\n\r\n"); /* the loop does not turn */
    say_farewell(NULL);
    const char *text = worker_case_read(idle);
    assert_memory_equal(text, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(text, "Retry-After: 0\r\n"));
    assert_true(worker_case_is_closed(idle));
    assert_int_equal(at_death.crash.others_answered, 1);
    assert_int_equal(count_ended(503, ENDED_CRASH), 1);
    assert_int_equal(at_death.counts.begun, 2);
    assert_non_null(strstr(lines(), "\n503 "));
    (void)close(idle);
}

static void test_half_a_request_is_turned_away_and_counted(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int half = ask_raw(t, "GET /half HTTP/1.1\r\nHo");
    worker_case_turns(t);
    int client = die(t);
    assert_memory_equal(worker_case_read(half), "HTTP/1.1 503 ", 13);
    assert_int_equal(at_death.crash.others_answered, 1);
    assert_int_equal(at_death.counts.begun, 2);
    assert_int_equal(slot_requests(&at_death.counts), 2);
    (void)close(half);
    (void)close(client);
}

static void test_answer_that_waits_is_turned_away(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int waiting = worker_case_ask(t, "/wait");
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    int client = die(t);
    const char *text = worker_case_read(waiting);
    assert_memory_equal(text, "HTTP/1.1 503 ", 13);
    assert_non_null(strstr(text, "Content-Length: 0\r\n"));
    assert_int_equal(at_death.crash.others_answered, 1);
    assert_string_equal(lines(), "500 /die\n503 /wait\n"); /* who crashed comes first */
    assert_int_equal(at_death.counts.begun, 2);
    assert_int_equal(slot_requests(&at_death.counts), 2);
    (void)close(waiting);
    (void)close(client);
}

static void test_answer_that_has_begun_is_cut(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    has_first_piece = true;
    int stream = worker_case_ask(t, "/wait");
    (void)worker_case_answer(t, stream, "first");
    int client = die(t);
    assert_true(worker_case_is_closed(stream)); /* no last chunk: it does not look whole */
    assert_int_equal(at_death.crash.others_cut, 1);
    assert_int_equal(at_death.crash.others_answered, 0);
    assert_string_equal(lines(), "500 /die\n200 /wait\n");
    (void)close(stream);
    (void)close(client);
}

/* A signal from outside may come between the end of an answer and that of its environ. */
static void test_answer_that_has_ended_is_followed_by_no_503(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    has_first_piece = true;
    int stream = worker_case_ask(t, "/wait");
    (void)worker_case_answer(t, stream, "first");
    struct stream *s = &t->w->conns[0].h1;
    assert_true(s->runs && s->env);
    s->runs = s->x->more = false;
    int client = die(t);
    assert_true(worker_case_is_closed(stream));
    assert_int_equal(at_death.crash.others_answered, 0);
    assert_int_equal(at_death.crash.others_cut, 0);
    (void)close(stream);
    (void)close(client);
}

static void test_nobody_to_blame_blames_no_request(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int waiting = worker_case_ask(t, "/wait");
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    assert_null(farewell_served(0)); /* its call is over */
    say_farewell(NULL);
    assert_memory_equal(worker_case_read(waiting), "HTTP/1.1 503 ", 13);
    assert_int_equal(at_death.crash.client, CRASH_CLIENT_NONE);
    assert_string_equal(lines(), "503 /wait\n");
    (void)close(waiting);
}

/* ---- threads ----------------------------------------------------------------------------- */

static int run_in_thread(struct worker_case *t, const char *target, unsigned so_many)
{
    int client = worker_case_ask(t, target);

    WORKER_CASE_UNTIL(t, atomic_load(&running) == so_many);
    return client;
}

static void let_all_go(void)
{
    for (size_t i = 0; i < ARRAY_LEN(may_go); i++)
        atomic_store(&may_go[i], true);
}

/* What the other threads run ends there, for they share its memory. */
static void test_calls_of_other_threads_are_turned_away(void **state)
{
    struct worker_case *t = *state;

    begin(t, 2);
    int first = run_in_thread(t, "/1", 1), second = run_in_thread(t, "/2", 2);
    unsigned slot_index = t->w->conns[0].h1.x->call.slot_index;
    const struct conn *crashed = farewell_served(slot_index);
    assert_ptr_equal(crashed, &t->w->conns[0]);
    say_farewell(crashed);
    assert_memory_equal(worker_case_read(first), "HTTP/1.1 500 ", 13);
    assert_memory_equal(worker_case_read(second), "HTTP/1.1 503 ", 13);
    assert_int_equal(at_death.crash.others_answered, 1);
    assert_int_equal(at_death.calls[0].answers, 0);
    assert_int_equal(at_death.calls[1].answers, 0);
    let_all_go();
    (void)close(first);
    (void)close(second);
}

/* The socket has taken a part of the interim answers of both. */
static void test_calls_of_threads_end_interims_first(void **state)
{
    static const char rest[] = "Hints\r\n\r\n";
    struct worker_case *t = *state;

    begin(t, 2);
    int first = run_in_thread(t, "/1", 1), second = run_in_thread(t, "/2", 2);
    for (size_t i = 0; i < 2; i++)
        strbuf_addstr(&t->w->conns[i].h1.x->early, rest);
    say_farewell(&t->w->conns[0]);
    const char *text = worker_case_read(first);
    assert_memory_equal(text, "Hints\r\n\r\nHTTP/1.1 500 ", 22);
    text = worker_case_read(second);
    assert_memory_equal(text, "Hints\r\n\r\nHTTP/1.1 503 ", 22);
    let_all_go();
    (void)close(first);
    (void)close(second);
}

/* Each call that has lasted too long is answered 504, those that may last 503. */
static void test_each_call_that_is_too_long_is_answered_504(void **state)
{
    static const char *const targets[] = {"/0", "/1", "/2", "/3"};
    struct worker_case *t = *state;
    struct slot_call *calls[4];
    int clients[4];

    begin(t, 4);
    for (unsigned i = 0; i < 4; i++) {
        clients[i] = run_in_thread(t, targets[i], i + 1);
        calls[i] = &t->slot->calls[t->w->conns[i].h1.x->call.slot_index];
    }
    for (unsigned i = 0; i < 3; i++)
        slot_call_begin(calls[i], now_ms() - 5000);
    atomic_store(&calls[2]->until_ms, now_ms() + 60000); /* extended */
    slot_call_begin(calls[3], now_ms());                 /* has just begun */
    is_timeout = true;
    say_farewell(&t->w->conns[0]);
    assert_memory_equal(worker_case_read(clients[0]), "HTTP/1.1 504 ", 13);
    assert_memory_equal(worker_case_read(clients[1]), "HTTP/1.1 504 ", 13);
    assert_memory_equal(worker_case_read(clients[2]), "HTTP/1.1 503 ", 13);
    assert_memory_equal(worker_case_read(clients[3]), "HTTP/1.1 503 ", 13);
    assert_int_equal(count_ended(504, ENDED_TIMEOUT), 2);
    assert_int_equal(count_ended(503, ENDED_TIMEOUT), 2);
    let_all_go();
    for (unsigned i = 0; i < 4; i++)
        (void)close(clients[i]);
}

/* A line that was added before its answer was sent is not written twice. */
static void test_early_line_is_replaced_by_that_of_the_end(void **state)
{
    struct worker_case *t = *state;

    begin(t, 0);
    int waiting = worker_case_ask(t, "/wait");
    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    access_log_writer_add_early(&t->w->access_log, t->w->conns[0].h1.env, 1000);
    say_farewell(NULL);
    assert_string_equal(lines(), "503 /wait\n");
    assert_true(t->w->access_log.is_last); /* lines are made without the heap */
    (void)close(waiting);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_crashed_request_is_answered_500),
        CASE(test_crashed_head_is_answered_without_a_body),
        CASE(test_request_of_a_timeout_is_answered_504),
        CASE(test_earlier_answers_come_before_the_500),
        CASE(test_500_follows_interim),
        CASE(test_500_follows_interim_that_is_unsent),
        CASE(test_client_that_takes_nothing_is_lost),
        CASE(test_idle_client_is_sent_nothing),
        CASE(test_unread_request_is_turned_away),
        CASE(test_half_a_request_is_turned_away_and_counted),
        CASE(test_answer_that_waits_is_turned_away),
        CASE(test_answer_that_has_begun_is_cut),
        CASE(test_answer_that_has_ended_is_followed_by_no_503),
        CASE(test_nobody_to_blame_blames_no_request),
        CASE(test_calls_of_other_threads_are_turned_away),
        CASE(test_calls_of_threads_end_interims_first),
        CASE(test_each_call_that_is_too_long_is_answered_504),
        CASE(test_early_line_is_replaced_by_that_of_the_end),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
