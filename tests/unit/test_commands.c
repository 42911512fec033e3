/* SPDX-License-Identifier: MIT
 *
 * Orders of the master and signals of people, alone and where two meet; and what the worker tells
 * its master, also when the pipe is full.
 */
#include "worker_case.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gcorn.h"
#include "http/access_log.h"
#include "worker/access_log_writer.h"
#include "worker/notify_master.h"

static uint64_t ticket;
static char big[8 * 1024 * 1024]; /* more than a socket takes */

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    (void)chunk;
    return gcorn_draining() ? 0 : GCORN_AGAIN;
}

static struct gcorn_body *handler(struct gcorn_environ *env,
                                  struct gcorn_start_response *start_response)
{
    (void)gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(gcorn_get(env, "PATH_INFO"), "/big") == 0) {
        memset(big, 'b', sizeof(big));
        return gcorn_body_bytes(env, big, sizeof(big));
    }
    if (strcmp(gcorn_get(env, "PATH_INFO"), "/wait") != 0)
        return gcorn_body_text(env, "whole");
    ticket = gcorn_ticket(env);
    return gcorn_body_iter(env, next, NULL, NULL);
}

static int open_case(void **state)
{
    *state = calloc(1, sizeof(struct worker_case));
    worker_case_open(*state, handler, 0);
    return 0;
}

static int close_case(void **state)
{
    worker_case_close(*state);
    free(*state);
    return 0;
}

/* How often the master was told this; what it was told last before is in *m. */
static unsigned count_told(struct worker_case *t, enum up_type type, struct up_message *m)
{
    struct up_message one;
    unsigned count = 0;

    while (worker_case_told(t, &one) != 0) {
        if (one.type != type)
            continue;
        count++;
        *m = one;
    }
    return count;
}

static int answered(struct worker_case *t, const char *target)
{
    int client = worker_case_ask(t, target);

    (void)worker_case_answer(t, client, "whole");
    return client;
}

/* ---- draining ---------------------------------------------------------------------------- */

static void test_retired_worker_answers_with_close_and_lets_idle_ones_go(void **state)
{
    struct worker_case *t = *state;
    int idle = answered(t, "/"), used = answered(t, "/");

    worker_case_order(t, DOWN_RETIRE, 300);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    assert_int_equal(t->slot->state, SLOT_DRAINING);
    assert_true(t->w->answers_close);
    worker_case_send(used, "GET / HTTP/1.1\r\nHost: t\r\n\r\n"); /* within its time */
    assert_non_null(strstr(worker_case_answer(t, used, "whole"), "Connection: close"));
    assert_int_equal(t->slot->state, SLOT_DRAINING); /* after a call, too */
    assert_false(worker_case_is_closed(idle));
    WORKER_CASE_UNTIL(t, worker_case_is_closed(idle));
    (void)close(idle);
    (void)close(used);
}

static void test_drain_tells_the_master_at_once(void **state)
{
    struct worker_case *t = *state;
    struct up_message m;

    worker_case_order(t, DOWN_RETIRE, 5000);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    assert_int_equal(count_told(t, UP_HEARTBEAT, &m), 1);
}

static void test_drain_wakes_streams(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_ask(t, "/wait");

    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    worker_case_order(t, DOWN_STOP, 5000);
    WORKER_CASE_UNTIL(t, worker_case_has(client, "HTTP/1.1 200"));
    (void)close(client);
}

/* A wake that comes as the worker begins to drain is one turn, and the stream ends. */
static void test_wake_during_drain_is_not_lost(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_ask(t, "/wait");

    WORKER_CASE_UNTIL(t, t->slot->waiting == 1);
    gcorn_wake(ticket);
    worker_case_order(t, DOWN_RETIRE, 5000);
    WORKER_CASE_UNTIL(t, worker_case_has(client, "HTTP/1.1 200"));
    (void)close(client);
}

static void test_later_order_shortens_the_time_of_idle_ones(void **state)
{
    struct worker_case *t = *state;
    int idle = answered(t, "/");

    worker_case_order(t, DOWN_RETIRE, 3600 * 1000);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    worker_case_turns(t);
    assert_false(worker_case_is_closed(idle));
    worker_case_order(t, DOWN_STOP, 0);
    WORKER_CASE_UNTIL(t, worker_case_is_closed(idle));
    (void)close(idle);
}

static void test_later_order_does_not_lengthen_it(void **state)
{
    struct worker_case *t = *state;
    int idle = answered(t, "/");

    worker_case_order(t, DOWN_RETIRE, 200);
    worker_case_order(t, DOWN_STOP, 3600 * 1000);
    WORKER_CASE_UNTIL(t, worker_case_is_closed(idle));
    (void)close(idle);
}

/* One that becomes idle after the first look. */
static void test_drain_looks_for_idle_ones_again(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_connect(t), late;

    worker_case_send(client, "GET / HTTP/1.1\r\n");
    worker_case_turns(t);
    late = answered(t, "/");
    worker_case_order(t, DOWN_RETIRE, 0);
    WORKER_CASE_UNTIL(t, worker_case_is_closed(late));
    assert_false(worker_case_is_closed(client)); /* its request has begun */
    worker_case_send(client, "Host: t\r\n\r\n");
    (void)worker_case_answer(t, client, "whole");
    WORKER_CASE_UNTIL(t, worker_case_is_closed(client));
    (void)close(client);
    (void)close(late);
}

static void finish_lingering(struct worker_case *t, int client)
{
    WORKER_CASE_UNTIL(t, t->w->conns[0].state == CONN_LINGER);
    uint64_t before = now_ms();
    worker_case_order(t, DOWN_RETIRE, 3600 * 1000);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_true(now_ms() >= before + 150); /* it may take the answer until then */
    (void)close(client);
}

/* Clients that only linger do not hold up a drain for longer than half of graceful_timeout. */
static void test_drain_ends_lingering(void **state)
{
    struct worker_case *t = *state;

    t->config.graceful_timeout_ms = 400;
    t->w->timers.length_ms[TIMER_LINGER] = 3600 * 1000;
    worker_case_order(t, DOWN_CLOSE, 0);
    WORKER_CASE_UNTIL(t, t->w->answers_close);
    assert_false(gcorn_draining());
    int client = worker_case_connect(t);
    worker_case_send(client, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 1\r\n\r\na");
    (void)worker_case_answer(t, client, "Connection: close");
    finish_lingering(t, client);
}

static void test_drain_ends_lingering_of_a_refused_body(void **state)
{
    struct worker_case *t = *state;

    t->config.graceful_timeout_ms = 400;
    t->w->timers.length_ms[TIMER_LINGER_WHOLE] = 3600 * 1000;
    t->w->http.limits.body_max = 5;
    int client = worker_case_connect(t);
    worker_case_send(client, "POST / HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n");
    (void)worker_case_answer(t, client, "HTTP/1.1 413");
    worker_case_send(client, "aaaaaaaaaa"); /* all that was announced */
    finish_lingering(t, client);
}

/* An answer that promised to keep the connection is still being sent when the drain begins. */
static void test_drain_closes_what_becomes_idle_later(void **state)
{
    struct worker_case *t = *state;
    int client = worker_case_ask(t, "/big");

    WORKER_CASE_UNTIL(t, worker_case_has(client, "HTTP/1.1 200"));
    worker_case_order(t, DOWN_RETIRE, 0);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    worker_case_turns(t);
    assert_int_equal(t->w->open_conns, 1);
    for (size_t got = 0; got < sizeof(big);) {
        got += strlen(worker_case_read(client));
        worker_case_turn(t);
    }
    WORKER_CASE_UNTIL(t, worker_case_is_closed(client));
    (void)close(client);
}

static void test_drained_worker_leaves_its_loop(void **state)
{
    struct worker_case *t = *state;

    worker_case_order(t, DOWN_RETIRE, 0);
    (void)ev_run(t->w->loop, 0); /* returns */
    assert_true(worker_is_drained(t->w));
}

static void test_last_connection_ends_a_drained_loop(void **state)
{
    struct worker_case *t = *state;
    int idle = answered(t, "/");

    worker_case_order(t, DOWN_RETIRE, 20);
    (void)ev_run(t->w->loop, 0);
    assert_int_equal(t->w->open_conns, 0);
    (void)close(idle);
}

/* ---- the master is gone ------------------------------------------------------------------ */

static void on_beat(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
}

static void test_worker_without_master_finishes(void **state)
{
    struct worker_case *t = *state;

    t->config.graceful_timeout_ms = 30000;
    ev_timer_init(&t->w->heartbeat, on_beat, 3600, 0);
    ev_timer_start(t->w->loop, &t->w->heartbeat);
    fd_close(&t->channel.down_master);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    assert_false(ev_is_active(&t->w->commands));
    assert_false(ev_is_active(&t->w->heartbeat));
    unsigned left = alarm(0);
    assert_true(left >= 29 && left <= 31);
    commands_run(t->w); /* nothing can come: it does not begin again */
    assert_int_equal(alarm(0), 0);
}

static void test_lost_channel_ends_the_worker(void **state)
{
    struct worker_case *t = *state;
    int up = t->channel.up_write, other = open("/dev/null", O_RDONLY | O_CLOEXEC);

    assert_true(commands_check(t->w));
    assert_false(gcorn_draining());
    int saved = dup(up);
    assert_int_equal(dup2(other, up), up); /* as an application does that closes all it finds */
    assert_false(commands_check(t->w));
    assert_true(gcorn_draining());
    (void)alarm(0);
    assert_int_equal(dup2(saved, up), up);
    (void)close(saved);
    (void)close(other);
}

/* ---- logs -------------------------------------------------------------------------------- */

static size_t count_open(void)
{
    size_t count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void test_reopened_log_is_behind_the_old_number(void **state)
{
    struct worker_case *t = *state;
    struct error err;
    int old = memfd_create("old", MFD_CLOEXEC), pipes[2];
    struct stat now, wanted;

    assert_int_equal(pipe2(pipes, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(access_log_writer_init(&t->w->access_log, t->slot, "%(U)s", old, &err), 0);
    assert_true(t->w->access_log.is_file);
    int client = answered(t, "/before");
    const struct down_message m = {.type = DOWN_REOPEN, .fds = {-1, pipes[1]}};
    assert_int_equal(channel_send_down(t->channel.down_master, &m), 0);
    size_t before = count_open();
    WORKER_CASE_UNTIL(t, !t->w->access_log.is_file);
    assert_int_equal(fstat(old, &now), 0);
    assert_int_equal(fstat(pipes[1], &wanted), 0);
    assert_int_equal(now.st_ino, wanted.st_ino);
    assert_true(fcntl(old, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(count_open(), before);    /* its second number is closed */
    assert_int_equal(t->w->access_log.len, 0); /* the line of before is in the old file */
    (void)close(client);
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    (void)close(old);
    (void)close(pipes[0]);
    (void)close(pipes[1]);
    access_log_free(t->w->access_log.format);
}

/* ---- telling ----------------------------------------------------------------------------- */

static unsigned fill(struct worker_case *t)
{
    unsigned count = 0;

    while (channel_send_up(t->channel.up_write, UP_HEARTBEAT, NULL) == 0)
        count++;
    return count;
}

static void test_ready_that_finds_no_room_is_told_later(void **state)
{
    struct worker_case *t = *state;
    struct up_message m;

    unsigned filled = fill(t);
    notify_ready(t->w);
    assert_true(notify_leave(t->w, "because"));
    assert_int_equal(count_told(t, UP_HEARTBEAT, &m), filled);
    notify_alive(t->w);
    assert_int_equal(worker_case_told(t, &m), UP_READY);
    assert_int_equal(worker_case_told(t, &m), UP_RECYCLE);
    assert_string_equal(m.text, "because");
    assert_int_equal(worker_case_told(t, &m), UP_HEARTBEAT);
    assert_int_equal(worker_case_told(t, &m), 0);
    notify_alive(t->w); /* each is told once */
    assert_int_equal(worker_case_told(t, &m), UP_HEARTBEAT);
    assert_int_equal(worker_case_told(t, &m), 0);
}

static void test_wish_to_leave_waits_for_ready(void **state)
{
    struct worker_case *t = *state;
    struct up_message m;

    (void)fill(t);
    notify_ready(t->w);
    (void)notify_leave(t->w, "because");
    assert_int_equal(worker_case_told(t, &m), UP_HEARTBEAT); /* room for one */
    notify_alive(t->w);
    unsigned ready = 0, leave = 0;
    while (worker_case_told(t, &m) != 0) {
        ready += m.type == UP_READY;
        leave += m.type == UP_RECYCLE;
    }
    assert_int_equal(ready, 1);
    assert_int_equal(leave, 0);
    notify_alive(t->w);
    assert_int_equal(worker_case_told(t, &m), UP_RECYCLE);
}

static void test_wish_to_leave_knows_that_the_master_is_gone(void **state)
{
    struct worker_case *t = *state;
    struct sigaction before, ignore = {.sa_handler = SIG_IGN};

    (void)sigaction(SIGPIPE, &ignore, &before);
    fd_close(&t->channel.up_read);
    assert_false(notify_leave(t->w, "because"));
    (void)sigaction(SIGPIPE, &before, NULL);
}

/* ---- max_requests ------------------------------------------------------------------------ */

static void test_worker_asks_once_to_be_replaced(void **state)
{
    struct worker_case *t = *state;
    struct up_message m;

    t->w->recycle_at = 2;
    (void)close(answered(t, "/"));
    WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    assert_int_equal(count_told(t, UP_RECYCLE, &m), 0);
    for (int i = 0; i < 3; i++) {
        (void)close(answered(t, "/"));
        WORKER_CASE_UNTIL(t, t->w->open_conns == 0);
    }
    assert_int_equal(count_told(t, UP_RECYCLE, &m), 1);
    assert_string_equal(m.text, "max_requests");
    assert_false(gcorn_draining()); /* it serves until its replacement is there */
}

/* It has asked, and is retired by another order: drain, once. */
static void test_recycling_during_drain(void **state)
{
    struct worker_case *t = *state;
    struct up_message m;

    t->w->recycle_at = 1;
    int client = worker_case_connect(t);
    worker_case_send(client, "GET / HTTP/1.1\r\n");
    worker_case_turns(t);
    worker_case_order(t, DOWN_RETIRE, 5000);
    WORKER_CASE_UNTIL(t, gcorn_draining());
    worker_case_send(client, "Host: t\r\n\r\n");
    (void)worker_case_answer(t, client, "whole");
    WORKER_CASE_UNTIL(t, count_told(t, UP_RECYCLE, &m) == 1);
    assert_int_equal(t->slot->state, SLOT_DRAINING);
    (void)close(client);
}

/* ---- signals ----------------------------------------------------------------------------- */

static void test_term_asks_for_a_replacement_first(void **state)
{
    struct worker_case *t = *state;
    struct sigaction before;
    struct up_message m;

    (void)sigaction(SIGTERM, NULL, &before);
    commands_catch_term();
    (void)raise(SIGTERM);
    WORKER_CASE_UNTIL(t, worker_case_told(t, &m) == UP_RECYCLE);
    assert_string_equal(m.text, "SIGTERM");
    (void)raise(SIGTERM); /* twice: it is asked again, and goes on */
    WORKER_CASE_UNTIL(t, worker_case_told(t, &m) == UP_RECYCLE);
    assert_false(gcorn_draining());
    int client = answered(t, "/");
    (void)close(client);
    (void)sigaction(SIGTERM, &before, NULL);
}

static void test_term_after_the_master_has_died_drains(void **state)
{
    struct worker_case *t = *state;
    struct sigaction before;

    t->config.graceful_timeout_ms = 30000;
    (void)sigaction(SIGTERM, NULL, &before);
    commands_catch_term();
    t->args.master_pid = getppid() + 1; /* was another process */
    (void)raise(SIGTERM);
    assert_true(alarm(0) >= 29); /* set in the handler: a call may hang */
    WORKER_CASE_UNTIL(t, gcorn_draining());
    (void)raise(SIGTERM);
    worker_case_turns(t);
    (void)alarm(0);
    (void)sigaction(SIGTERM, &before, NULL);
}

/* A child that the application has forked is no worker: TERM ends it. */
static void test_term_ends_a_child_of_the_application(void **state)
{
    struct sigaction before;
    int status;

    (void)state;
    (void)sigaction(SIGTERM, NULL, &before);
    commands_catch_term();
    pid_t child = fork();
    if (child == 0) {
        (void)raise(SIGTERM);
        _exit(7);
    }
    (void)sigaction(SIGTERM, &before, NULL);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

int main(void)
{
#define CASE(test) cmocka_unit_test_setup_teardown(test, open_case, close_case)
    const struct CMUnitTest tests[] = {
        CASE(test_retired_worker_answers_with_close_and_lets_idle_ones_go),
        CASE(test_drain_tells_the_master_at_once),
        CASE(test_drain_wakes_streams),
        CASE(test_wake_during_drain_is_not_lost),
        CASE(test_later_order_shortens_the_time_of_idle_ones),
        CASE(test_later_order_does_not_lengthen_it),
        CASE(test_drain_looks_for_idle_ones_again),
        CASE(test_drain_ends_lingering),
        CASE(test_drain_ends_lingering_of_a_refused_body),
        CASE(test_drain_closes_what_becomes_idle_later),
        CASE(test_drained_worker_leaves_its_loop),
        CASE(test_last_connection_ends_a_drained_loop),
        CASE(test_worker_without_master_finishes),
        CASE(test_lost_channel_ends_the_worker),
        CASE(test_reopened_log_is_behind_the_old_number),
        CASE(test_ready_that_finds_no_room_is_told_later),
        CASE(test_wish_to_leave_waits_for_ready),
        CASE(test_wish_to_leave_knows_that_the_master_is_gone),
        CASE(test_worker_asks_once_to_be_replaced),
        CASE(test_recycling_during_drain),
        CASE(test_term_asks_for_a_replacement_first),
        CASE(test_term_after_the_master_has_died_drains),
        CASE(test_term_ends_a_child_of_the_application),
    };

    log_set_level(LOG_LEVEL_CRITICAL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
