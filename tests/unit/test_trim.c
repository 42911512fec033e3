/* SPDX-License-Identifier: MIT
 *
 * What a worker takes from its tables and gives back to them, and what trimming them after a burst
 * leaves: connections that are open or on their way to being woken are where they were, free ones
 * are taken from the front, and the memory of the end is zero again.
 */
#include "worker_case.h"

#include "gcorn.h"
#include "worker/trim.h"

enum { BURST = 100 };

static uint64_t ticket;

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    (void)chunk;
    return GCORN_AGAIN;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    ticket = gcorn_ticket(env);
    return gcorn_body_iter(env, next, NULL, NULL);
}

struct burst {
    struct worker_case t;
    int clients[BURST];
};

static int open_burst(void **state)
{
    struct burst *b = *state = calloc(1, sizeof(*b));

    worker_case_open(&b->t, handler, 0);
    for (size_t i = 0; i < BURST; i++)
        b->clients[i] = worker_case_connect(&b->t);
    worker_case_turn(&b->t);
    return 0;
}

static void leave(struct burst *b, size_t from, size_t to)
{
    size_t left = b->t.w->open_conns - (to - from);

    for (size_t i = from; i < to; i++) {
        (void)close(b->clients[i]);
        b->clients[i] = -1;
    }
    WORKER_CASE_UNTIL(&b->t, b->t.w->open_conns == left);
}

static int close_burst(void **state)
{
    struct burst *b = *state;

    for (size_t i = 0; i < BURST; i++)
        fd_close(&b->clients[i]);
    worker_case_close(&b->t);
    free(b);
    return 0;
}

/* Twice: the first second of quiet shows only that there has been no request since. */
static void be_quiet(struct worker *w)
{
    trim_when_quiet(w);
    trim_when_quiet(w);
}

static bool is_zero(const void *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (((const char *)p)[i] != 0)
            return false;
    }
    return true;
}

static void test_table_grows_to_what_is_open(void **state)
{
    struct burst *b = *state;

    assert_int_equal(b->t.w->table_used, BURST);
    assert_int_equal(b->t.w->exchanges_used, BURST);
    assert_int_equal(b->t.w->peak_conns, BURST);
    assert_int_equal(b->t.slot->connections_open, BURST);
    assert_int_equal(b->t.slot->counts.connections, BURST);
    leave(b, 0, 1);
    assert_int_equal(b->t.slot->connections_open, BURST - 1);
    b->clients[0] = worker_case_connect(&b->t); /* in the place that is free */
    assert_int_equal(b->t.w->table_used, BURST);
    assert_int_equal(b->t.w->exchanges_used, BURST);
    assert_int_equal(b->t.w->conns[0].serial, BURST + 1);
}

static void test_full_table_has_no_connection(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;
    struct conn *taken[WORKER_CASE_CONNS];
    size_t count = 0;

    while (count < WORKER_CASE_CONNS - BURST)
        assert_non_null(taken[count++] = worker_take_conn(w));
    assert_null(worker_take_conn(w));
    assert_int_equal(w->open_conns, WORKER_CASE_CONNS);
    while (count > 0)
        worker_give_conn(w, taken[--count]);
    for (size_t i = 0; i < 3; i++) /* the latest to be given is the first to be taken */
        assert_ptr_equal(worker_take_conn(w), taken[i]);
    for (size_t i = 3; i-- > 0;)
        worker_give_conn(w, taken[i]);
}

static void test_end_of_the_table_is_given_back_after_a_burst(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    leave(b, 1, BURST);
    be_quiet(w);
    assert_int_equal(w->table_used, 1);
    assert_int_equal(w->exchanges_used, 1);
    assert_null(w->free_streams);
    assert_null(w->free_exchanges);
    assert_int_equal(w->peak_conns, 1);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    assert_true(is_zero((char *)w->conns + page, BURST * sizeof(struct conn) - page));
    assert_true(is_zero((char *)w->exchanges + page, BURST * sizeof(struct exchange) - page));
    assert_false(is_zero(w->conns, sizeof(struct conn))); /* the one that is open */
    b->clients[1] = worker_case_connect(&b->t);
    assert_int_equal(w->table_used, 2);
}

static void test_open_connections_keep_what_is_before_them(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    leave(b, 0, 40);
    leave(b, 41, BURST);
    be_quiet(w);
    assert_int_equal(w->table_used, 41);
    for (size_t i = 0; i < 40; i++) { /* the free ones are taken from the front on */
        struct conn *c = worker_take_conn(w);
        assert_ptr_equal(c, &w->conns[i]);
    }
    assert_null(w->free_streams);
    for (size_t i = 40; i-- > 0;)
        worker_give_conn(w, &w->conns[i]);
}

static void test_exchanges_are_lent_from_the_front(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;
    struct exchange *last = w->conns[BURST - 1].h1.x;

    leave(b, 0, BURST - 1);
    be_quiet(w);
    assert_int_equal(w->exchanges_used, last - w->exchanges + 1);
    struct exchange *first = worker_lend_exchange(w);
    assert_ptr_equal(first, &w->exchanges[0]);
    assert_true(first->is_lent);
    worker_give_exchange(w, first);
    assert_false(first->is_lent);
    assert_ptr_equal(worker_lend_exchange(w), first);
    struct exchange *second = worker_lend_exchange(w);
    assert_ptr_equal(second, &w->exchanges[1]);
    worker_give_exchange(w, second);
    worker_give_exchange(w, first);
}

static void test_few_connections_are_no_burst(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    leave(b, 51, BURST); /* more than half are open */
    be_quiet(w);
    assert_int_equal(w->table_used, BURST);
    leave(b, 0, 51);
    w->peak_conns = 63;
    w->table_used = 63; /* what a smaller burst would have left */
    be_quiet(w);
    assert_int_equal(w->table_used, 63);
    w->table_used = BURST;
}

static void test_second_with_a_request_is_not_quiet(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    leave(b, 1, BURST);
    w->request_count++;
    trim_when_quiet(w);
    assert_int_equal(w->table_used, BURST);
    trim_when_quiet(w);
    assert_int_equal(w->table_used, 1);
}

/* One that was woken and then freed hangs in the list of those that are due. */
static void test_place_that_is_due_is_kept(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    worker_case_send(b->clients[50], "GET / HTTP/1.1\r\nHost: t\r\n\r\n");
    WORKER_CASE_UNTIL(&b->t, w->waiting_count == 1);
    for (size_t i = 1; i < BURST; i++) {
        if (i != 50)
            conn_drop(&w->conns[i]);
    }
    gcorn_wake(ticket);
    conn_drop(&w->conns[50]);
    be_quiet(w);
    assert_int_equal(w->table_used, 51);
    worker_case_turns(&b->t);
    assert_false(atomic_load(&w->conns[50].h1.is_due));
    w->peak_conns = BURST;
    be_quiet(w);
    assert_int_equal(w->table_used, 1);
}

/* The last connections of a burst were open when its memory was given back. */
static void test_end_that_comes_free_later_is_given_back(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;

    leave(b, 1, 97);
    be_quiet(w);
    assert_int_equal(w->table_used, BURST);
    assert_int_equal(w->peak_conns, 4);
    leave(b, 97, BURST);
    be_quiet(w);
    assert_int_equal(w->table_used, 1);
}

static void test_environs_are_kept_for_the_next_requests(void **state)
{
    struct burst *b = *state;
    struct worker *w = b->t.w;
    static const struct http_peer peer = {.remote_addr = ""};
    struct gcorn_environ *envs[WORKER_SPARE_ENVIRONS + 1];
    uint64_t id = 0;

    for (size_t i = 0; i <= WORKER_SPARE_ENVIRONS; i++) {
        envs[i] = worker_take_environ(w, &peer, NULL);
        assert_int_not_equal(envs[i]->id, id);
        id = envs[i]->id;
    }
    assert_int_equal(w->spare_count, 0);
    for (size_t i = 0; i <= WORKER_SPARE_ENVIRONS; i++) {
        environ_reset(envs[i]);
        worker_keep_environ(w, envs[i]);
    }
    assert_int_equal(w->spare_count, WORKER_SPARE_ENVIRONS);
    assert_ptr_equal(worker_take_environ(w, &peer, NULL), envs[WORKER_SPARE_ENVIRONS - 1]);
    environ_reset(envs[WORKER_SPARE_ENVIRONS - 1]);
    worker_keep_environ(w, envs[WORKER_SPARE_ENVIRONS - 1]);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_burst, close_burst)
    const struct CMUnitTest tests[] = {
        CASE(test_table_grows_to_what_is_open),
        CASE(test_full_table_has_no_connection),
        CASE(test_end_of_the_table_is_given_back_after_a_burst),
        CASE(test_open_connections_keep_what_is_before_them),
        CASE(test_exchanges_are_lent_from_the_front),
        CASE(test_few_connections_are_no_burst),
        CASE(test_second_with_a_request_is_not_quiet),
        CASE(test_place_that_is_due_is_kept),
        CASE(test_end_that_comes_free_later_is_given_back),
        CASE(test_environs_are_kept_for_the_next_requests),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
