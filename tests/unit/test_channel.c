/* SPDX-License-Identifier: MIT
 *
 * What master and workers share: the channels' messages, and the scoreboard, both of which the
 * master must survive whatever a worker writes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "in_child.h"
#include "base/util.h"
#include "system/ipc/channel.h"
#include "system/ipc/scoreboard.h"

static int open_channel(void **state)
{
    struct channel *c = xcalloc(1, sizeof(*c));

    *state = c;
    return channel_open(c);
}

static int close_channel(void **state)
{
    channel_close(*state);
    free(*state);
    return 0;
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;

    assert_int_equal(fstat(a, &sa), 0);
    assert_int_equal(fstat(b, &sb), 0);
    return sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

/* In a child, with room for three of the four descriptors. */
static void open_without_room(void *arg)
{
    int lowest = dup(STDERR_FILENO);
    const struct rlimit limit = {(rlim_t)lowest + 3, (rlim_t)lowest + 3};
    struct channel c;

    (void)arg;
    (void)close(lowest);
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    CHECK(channel_open(&c) == -1 && errno == EMFILE);
    CHECK(dup(STDERR_FILENO) == lowest); /* nothing is left open */
}

static void test_failed_open_leaves_nothing_open(void **state)
{
    (void)state;
    expect_exit(open_without_room, NULL, 0);
}

/* ---- up ------------------------------------------------------------------------------------- */

static void test_up_messages(void **state)
{
    struct channel *c = *state;
    struct up_message m;

    assert_int_equal(channel_recv_up(c->up_read, &m), 0);
    assert_int_equal(channel_send_up(c->up_write, UP_HEARTBEAT, NULL), 0);
    assert_int_equal(channel_send_up(c->up_write, UP_BOOTFAIL, "no such symbol"), 0);
    assert_int_equal(channel_send_up(c->up_write, UP_READY, ""), 0);
    assert_int_equal(channel_recv_up(c->up_read, &m), 1);
    assert_int_equal(m.type, UP_HEARTBEAT);
    assert_string_equal(m.text, "");
    assert_int_equal(channel_recv_up(c->up_read, &m), 1);
    assert_int_equal(m.type, UP_BOOTFAIL);
    assert_string_equal(m.text, "no such symbol");
    assert_int_equal(channel_recv_up(c->up_read, &m), 1);
    assert_int_equal(m.type, UP_READY);
    assert_int_equal(channel_recv_up(c->up_read, &m), 0);
}

static void test_up_long_text_is_cut(void **state)
{
    struct channel *c = *state;
    struct up_message m;
    char text[3000];

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(channel_send_up(c->up_write, UP_RECYCLE, text), 0);
    assert_int_equal(channel_recv_up(c->up_read, &m), 1);
    assert_int_equal(strlen(m.text), UP_TEXT_MAX);
    assert_int_equal(channel_recv_up(c->up_read, &m), 0);
}

static void test_up_full_and_closed(void **state)
{
    struct channel *c = *state;
    struct up_message m;
    int sent = 0;

    while (channel_send_up(c->up_write, UP_HEARTBEAT, NULL) == 0)
        sent++;
    assert_int_equal(errno, EAGAIN);
    fd_close(&c->up_write);
    while (channel_recv_up(c->up_read, &m) == 1)
        sent--;
    assert_int_equal(sent, 0);
    assert_int_equal(channel_recv_up(c->up_read, &m), -1);
    assert_int_equal(errno, EPIPE);
}

static void test_up_master_gone(void **state)
{
    struct channel *c = *state;

    (void)signal(SIGPIPE, SIG_IGN);
    fd_close(&c->up_read);
    assert_int_equal(channel_send_up(c->up_write, UP_HEARTBEAT, NULL), -1);
    assert_int_equal(errno, EPIPE);
}

static void test_up_garbage(void **state)
{
    struct channel *c = *state;
    struct up_message m;
    char bytes[4096];
    static const unsigned char types[] = {0, UP_RECYCLE + 1, 0x80, 0xff};

    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        assert_int_equal(write(c->up_write, &types[i], 1), 1);
        assert_int_equal(channel_recv_up(c->up_read, &m), -1);
        assert_int_equal(errno, EPROTO);
    }
    memset(bytes, UP_READY, sizeof(bytes));
    assert_int_equal(write(c->up_write, bytes, 1 + UP_TEXT_MAX + 1), 1 + UP_TEXT_MAX + 1);
    assert_int_equal(channel_recv_up(c->up_read, &m), -1);
    assert_int_equal(write(c->up_write, bytes, sizeof(bytes)), sizeof(bytes));
    assert_int_equal(channel_recv_up(c->up_read, &m), -1);
    assert_int_equal(errno, EPROTO);
    /* The longest one that is allowed, with no NUL in it. */
    assert_int_equal(write(c->up_write, bytes, 1 + UP_TEXT_MAX), 1 + UP_TEXT_MAX);
    assert_int_equal(channel_recv_up(c->up_read, &m), 1);
    assert_int_equal(strlen(m.text), UP_TEXT_MAX);
}

/* ---- down ----------------------------------------------------------------------------------- */

static void test_down_messages(void **state)
{
    struct channel *c = *state;
    struct down_message retire = {.type = DOWN_RETIRE, .ms = 2500, .fds = {-1, -1}};
    struct down_message quit = {.type = DOWN_QUIT, .fds = {-1, -1}};
    struct down_message m;

    assert_int_equal(channel_recv_down(c->down_worker, &m), 0);
    assert_int_equal(channel_send_down(c->down_master, &retire), 0);
    assert_int_equal(channel_send_down(c->down_master, &quit), 0);
    assert_int_equal(channel_recv_down(c->down_worker, &m), 1);
    assert_int_equal(m.type, DOWN_RETIRE);
    assert_int_equal(m.ms, 2500);
    assert_int_equal(m.fds[0], -1);
    assert_int_equal(m.fds[1], -1);
    assert_false(m.fds_lost);
    assert_int_equal(channel_recv_down(c->down_worker, &m), 1);
    assert_int_equal(m.type, DOWN_QUIT);
    assert_int_equal(channel_recv_down(c->down_worker, &m), 0);
    fd_close(&c->down_master);
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(errno, EPIPE);
}

static void test_down_worker_gone(void **state)
{
    struct channel *c = *state;
    struct down_message stop = {.type = DOWN_STOP, .fds = {-1, -1}};

    fd_close(&c->down_worker);
    (void)signal(SIGPIPE, SIG_DFL); /* needs no help against it */
    assert_int_equal(channel_send_down(c->down_master, &stop), -1);
    assert_int_equal(errno, EPIPE);
}

static void test_down_descriptors(void **state)
{
    struct channel *c = *state;
    struct down_message m, both = {.type = DOWN_REOPEN, .fds = {c->up_read, c->down_master}};
    struct down_message second = {.type = DOWN_REOPEN, .fds = {-1, c->up_read}};

    assert_int_equal(channel_send_down(c->down_master, &both), 0);
    assert_int_equal(channel_send_down(c->down_master, &second), 0);
    assert_int_equal(channel_recv_down(c->down_worker, &m), 1);
    assert_int_equal(m.type, DOWN_REOPEN);
    assert_true(same_file(m.fds[0], c->up_read));
    assert_true(same_file(m.fds[1], c->down_master));
    assert_true(fcntl(m.fds[0], F_GETFD) & FD_CLOEXEC);
    fd_close(&m.fds[0]);
    fd_close(&m.fds[1]);
    assert_int_equal(channel_recv_down(c->down_worker, &m), 1);
    assert_int_equal(m.fds[0], -1);
    assert_true(same_file(m.fds[1], c->up_read));
    fd_close(&m.fds[1]);
}

static void test_down_descriptors_lost(void **state)
{
    struct channel *c = *state;
    struct down_message m, both = {.type = DOWN_REOPEN, .fds = {c->up_read, c->down_master}};
    struct rlimit old, tight;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    int next = dup(c->up_read);
    fd_close(&next);
    next = fcntl(c->up_read, F_DUPFD_CLOEXEC, 0);
    for (int room = 0; room < 2; room++) { /* for none of the two, then for one */
        assert_int_equal(channel_send_down(c->down_master, &both), 0);
        tight = (struct rlimit){.rlim_cur = (rlim_t)(next + 1 + room), .rlim_max = old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
        int rc = channel_recv_down(c->down_worker, &m);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
        assert_int_equal(rc, 1);
        assert_int_equal(m.type, DOWN_REOPEN);
        assert_true(m.fds_lost);
        assert_int_equal(m.fds[0], -1);
        assert_int_equal(m.fds[1], -1);
        int again = fcntl(c->up_read, F_DUPFD_CLOEXEC, 0);
        assert_int_equal(again, next + 1); /* the one that came was closed */
        fd_close(&again);
    }
    fd_close(&next);
}

static void test_down_garbage(void **state)
{
    struct channel *c = *state;
    struct down_message m;
    uint32_t bad_type[3] = {99, 0, 0}, bad_mask[3] = {DOWN_REOPEN, 0, 3},
             bits[3] = {DOWN_QUIT, 0, ~0u};
    char longer[100] = {DOWN_QUIT};

    assert_int_equal(send(c->down_master, bad_type, sizeof(bad_type), 0), sizeof(bad_type));
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(send(c->down_master, bad_mask, sizeof(bad_mask), 0), sizeof(bad_mask));
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(send(c->down_master, bits, sizeof(bits), 0), sizeof(bits));
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(send(c->down_master, "x", 1, 0), 1);
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(send(c->down_master, longer, sizeof(longer), 0), sizeof(longer));
    assert_int_equal(channel_recv_down(c->down_worker, &m), -1);
    assert_int_equal(errno, EPROTO);
}

static void test_ends(void **state)
{
    struct channel *c = *state;

    assert_true(fcntl(c->up_read, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(c->down_worker, F_GETFL) & O_NONBLOCK);
    channel_keep_worker_end(c);
    assert_int_equal(c->up_read, -1);
    assert_int_equal(c->down_master, -1);
    assert_true(c->up_write >= 0 && c->down_worker >= 0);
    channel_keep_master_end(c);
    assert_int_equal(c->up_write, -1);
    assert_int_equal(c->down_worker, -1);
}

/* ---- scoreboard ----------------------------------------------------------------------------- */

static void test_scoreboard_shared(void **state)
{
    struct error err;
    struct scoreboard *sb = scoreboard_new(3, &err);
    int status;

    (void)state;
    assert_non_null(sb);
    assert_int_equal(scoreboard_count(sb), 3);
    assert_int_equal((uintptr_t)scoreboard_slot(sb, 1) % 4096, 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct slot *s = scoreboard_slot(sb, 2);

        s->pid = getpid();
        s->state = SLOT_CALLING;
        slot_call_begin(&s->calls[0], 77);
        slot_set_text(s->calls[0].target, sizeof(s->calls[0].target), "/a", 2);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    struct slot *s = scoreboard_slot(sb, 2);
    assert_int_equal(s->pid, pid);
    assert_int_equal(slot_get_state(s), SLOT_CALLING);
    assert_string_equal(slot_state_name(slot_get_state(s)), "calling");
    assert_int_equal(slot_call_started_ms(&s->calls[0]), 77);
    atomic_store(&s->calls[0].started_ms, 5); /* a stray write */
    assert_false(slot_call_runs(&s->calls[0]));
    assert_string_equal(s->calls[0].target, "/a");
    assert_int_equal(scoreboard_slot(sb, 1)->pid, 0);
    slot_reset(s);
    assert_int_equal(slot_get_state(s), SLOT_EMPTY);
    assert_int_equal(s->calls[0].target[0], 0);
    scoreboard_free(sb);
    scoreboard_free(NULL);
}

static void test_slot_texts_are_bounded(void **state)
{
    struct slot *s = xcalloc(1, sizeof(*s)); /* on the heap: the sanitizer watches its end */
    char out[1000], tiny[4], one[1];

    (void)state;
    memset(s, 'x', sizeof(*s)); /* no NUL anywhere, every number far too large */
    assert_int_equal(
        slot_get_text(s->calls[0].method, sizeof(s->calls[0].method), out, sizeof(out)),
        sizeof(s->calls[0].method));
    assert_int_equal(strlen(out), sizeof(s->calls[0].method));
    assert_int_equal(
        slot_get_text(s->calls[0].target, sizeof(s->calls[0].target), tiny, sizeof(tiny)), 3);
    assert_string_equal(tiny, "xxx");
    assert_int_equal(
        slot_get_text(s->calls[0].target, sizeof(s->calls[0].target), one, sizeof(one)), 0);
    assert_int_equal(slot_get_state(s), SLOT_EMPTY);
    char *log = xmalloc(sizeof(*s));
    assert_int_equal(slot_get_log(s, log, sizeof(*s)), 0); /* no whole line */
    s->log[SLOT_LOG_SIZE - 1] = '\n';
    assert_int_equal(slot_get_log(s, log, sizeof(*s)), SLOT_LOG_SIZE);
    s->log[9] = '\n';
    assert_int_equal(slot_get_log(s, log, 10), 10);
    assert_int_equal(slot_get_log(s, log, 9), 0);
    atomic_store(&s->log_len, 10);
    assert_int_equal(slot_get_log(s, log, sizeof(*s)), 10);
    memcpy(s->log, "a-\t\0\x1b[2J\x7f\n", 10);
    assert_int_equal(slot_get_log(s, log, sizeof(*s)), 10);
    assert_memory_equal(log, "a-\t??[2J?\n", 10);
    free(log);
    memset(out, 'y', sizeof(out));
    slot_set_text(s->calls[0].method, sizeof(s->calls[0].method), out, sizeof(out));
    assert_int_equal(strlen(s->calls[0].method), sizeof(s->calls[0].method) - 1);
    slot_set_text(s->calls[0].method, sizeof(s->calls[0].method), "GET", 3);
    assert_string_equal(s->calls[0].method, "GET");
    free(s);
}

static void test_slot_time_bucket(void **state)
{
    (void)state;
    assert_int_equal(slot_time_bucket(0), 0);
    assert_int_equal(slot_time_bucket(1), 1);
    assert_int_equal(slot_time_bucket(2), 2);
    assert_int_equal(slot_time_bucket(1023), 10);
    assert_int_equal(slot_time_bucket(1024), 11);
    assert_int_equal(slot_time_bucket(UINT64_MAX), 31);
}

#define CHANNEL_TEST(f) cmocka_unit_test_setup_teardown(f, open_channel, close_channel)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_open_leaves_nothing_open),
        CHANNEL_TEST(test_up_messages),
        CHANNEL_TEST(test_up_long_text_is_cut),
        CHANNEL_TEST(test_up_full_and_closed),
        CHANNEL_TEST(test_up_master_gone),
        CHANNEL_TEST(test_up_garbage),
        CHANNEL_TEST(test_down_messages),
        CHANNEL_TEST(test_down_worker_gone),
        CHANNEL_TEST(test_down_descriptors),
        CHANNEL_TEST(test_down_descriptors_lost),
        CHANNEL_TEST(test_down_garbage),
        CHANNEL_TEST(test_ends),
        cmocka_unit_test(test_scoreboard_shared),
        cmocka_unit_test(test_slot_texts_are_bounded),
        cmocka_unit_test(test_slot_time_bucket),
    };

    return cmocka_run_group_tests_name("channel", tests, NULL, NULL);
}
