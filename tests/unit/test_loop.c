/* SPDX-License-Identifier: MIT
 *
 * The event loop that is tried before it is relied on.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ev.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/error.h"
#include "system/process/loop.h"

static int make(void **state)
{
    struct error err;

    *state = loop_new(&err);
    return *state ? 0 : -1;
}

static int release(void **state)
{
    ev_loop_destroy(*state);
    return 0;
}

static void count_call(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)revents;
    ++*(int *)timer->data;
}

static void count_io(struct ev_loop *loop, struct ev_io *io, int revents)
{
    char byte;

    (void)loop;
    (void)revents;
    assert_int_equal(read(io->fd, &byte, 1), 1);
    ++*(int *)io->data;
}

static void test_loop_uses_epoll(void **state)
{
    assert_int_equal(ev_backend(*state), EVBACKEND_EPOLL);
}

static void test_trial_leaves_the_loop_as_it_was(void **state)
{
    struct ev_loop *loop = *state;
    struct error err;
    int data = 0;

    ev_set_userdata(loop, &data);
    for (int i = 0; i < 3; i++)
        assert_int_equal(loop_try(loop, &err), 0);
    assert_ptr_equal(ev_userdata(loop), &data);
    /* no watcher is left to keep it running, and no callback of the trial is left to be called */
    assert_false(ev_run(loop, 0));
}

static void test_registered_watchers_are_called_later(void **state)
{
    struct ev_loop *loop = *state;
    struct ev_timer timer;
    struct ev_io io;
    int fds[2], timers = 0, reads = 0;

    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], "x", 1), 1);
    ev_timer_init(&timer, count_call, 0, 0);
    timer.data = &timers;
    ev_timer_start(loop, &timer);
    ev_io_init(&io, count_io, fds[0], EV_READ);
    io.data = &reads;
    ev_io_start(loop, &io);
    loop_register(loop);
    assert_true(ev_is_active(&io));
    assert_int_equal(reads + timers, 0);
    (void)ev_run(loop, EVRUN_NOWAIT);
    assert_int_equal(reads, 1);
    assert_int_equal(timers, 1);
    ev_io_stop(loop, &io);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_loop_uses_epoll, make, release),
        cmocka_unit_test_setup_teardown(test_trial_leaves_the_loop_as_it_was, make, release),
        cmocka_unit_test_setup_teardown(test_registered_watchers_are_called_later, make, release),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
