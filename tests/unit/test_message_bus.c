/* SPDX-License-Identifier: MIT
 *
 * The rings of all workers: which worker has which, which process can write what, which is woken,
 * and what another master takes over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "in_child.h"
#include "system/messages/message_bus.h"

enum { RINGS = 70, SIZE = 5000, PID = 4321 };

static struct message_bus master, worker;

static void open_worker(struct message_bus *bus)
{
    *bus = master;
    bus->map = NULL;
    assert_int_equal(message_bus_open(bus), 0);
}

static void close_worker(struct message_bus *bus)
{
    assert_int_equal(munmap(bus->map, bus->map_size), 0);
}

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(message_bus_new(&master, RINGS, SIZE), 0);
    open_worker(&worker);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close_worker(&worker);
    message_bus_release(&master);
    assert_int_equal(master.fd, -1);
    message_bus_release(&master); /* none: nothing to do */
    return 0;
}

static int put(struct message_bus *bus, int index, const char *data)
{
    const struct message_ring ring = message_bus_ring(bus, (unsigned)index);
    const struct ring_item item = {"c", 1, 0, data, strlen(data)};
    struct ring_writer w;

    ring_writer_init(&w, &ring);
    return ring_write(&w, &item);
}

static void test_untouched_rings_take_no_memory(void **state)
{
    struct stat st;

    (void)state;
    assert_int_equal(master.ring_size, 8192); /* a power of two */
    assert_int_equal(put(&worker, message_bus_claim(&worker, PID), "x"), 0);
    assert_int_equal(fstat(master.fd, &st), 0);
    assert_in_range(st.st_size, RINGS * 8192, RINGS * 16384);
    assert_in_range(st.st_blocks * 512, 1, 5 * 4096);
    assert_true(fcntl(master.fd, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(master.wake_fd, F_GETFD) & FD_CLOEXEC);
}

static void test_size_is_sealed(void **state)
{
    (void)state;
    assert_int_equal(ftruncate(master.fd, 0), -1);
    assert_int_equal(ftruncate(master.fd, 1 << 24), -1);
}

/* ---- claims ------------------------------------------------------------------------------ */

static bool even_is_gone(pid_t pid)
{
    return pid % 2 == 0;
}

static void test_each_worker_has_a_ring_of_its_own(void **state)
{
    (void)state;
    assert_int_equal(message_bus_used(&worker), 0);
    for (int i = 0; i < RINGS; i++)
        assert_int_equal(message_bus_claim(&worker, PID + i), i);
    assert_int_equal(message_bus_used(&worker), RINGS);
    assert_int_equal(message_bus_claim(&worker, PID), -1);
    assert_int_equal(errno, ENOSPC);
    message_bus_sweep(&master, even_is_gone); /* PID + 1, + 3, ... */
    assert_int_equal(message_bus_claim(&worker, PID), 1);
    assert_int_equal(message_bus_claim(&worker, PID), 3);
}

static bool none_is_gone(pid_t pid)
{
    (void)pid;
    return false;
}

/* kill(-1, 0) finds processes. */
static void test_owner_that_is_no_process_is_swept(void **state)
{
    (void)state;
    for (int i = 0; i < RINGS; i++)
        assert_int_equal(message_bus_claim(&worker, i == 2 ? -1 : PID), i);
    message_bus_sweep(&master, none_is_gone);
    assert_int_equal(message_bus_claim(&worker, PID), 2);
    assert_int_equal(message_bus_claim(&worker, PID), -1);
}

static void write_ring(void *arg)
{
    const struct message_ring ring = message_bus_ring(&worker, *(unsigned *)arg);

    (void)signal(SIGSEGV, SIG_DFL); /* cmocka has a handler */
    atomic_store(&ring.control->head, 8);
}

static void write_header(void *arg)
{
    (void)arg;
    (void)signal(SIGSEGV, SIG_DFL);
    worker.map[0] = 'x';
}

static void test_only_the_own_ring_is_writable(void **state)
{
    unsigned own = (unsigned)message_bus_claim(&worker, PID), other = own + 1;

    (void)state;
    expect_exit(write_ring, &own, 0);
    assert_int_equal(WTERMSIG(in_child(write_ring, &other)), SIGSEGV);
    assert_int_equal(WTERMSIG(in_child(write_header, NULL)), SIGSEGV);
}

/* What the desk says is untrusted. */
static void test_used_is_bounded(void **state)
{
    (void)state;
    _Atomic uint32_t *used = (_Atomic uint32_t *)(void *)(worker.map + worker.page_size);
    atomic_store(used, UINT32_MAX);
    assert_int_equal(message_bus_used(&worker), RINGS);
}

static void use_forgotten(void *arg)
{
    (void)arg;
    message_bus_forget(&worker);
    CHECK(put(&worker, 3, "never seen") == 0); /* private memory now */
}

static void test_forked_child_cannot_write(void **state)
{
    struct ring_reader reader;
    const struct message_ring ring = message_bus_ring(&worker, 3);

    (void)state;
    while (message_bus_claim(&worker, PID) != 3)
        continue;
    ring_reader_init(&reader, &ring);
    expect_exit(use_forgotten, NULL, 0);
    assert_false(ring_has_news(&reader, &ring));
}

/* ---- waking ------------------------------------------------------------------------------ */

static uint64_t wakes(void)
{
    uint64_t count;

    return eventfd_read(master.wake_fd, &count) == 0 ? count : 0;
}

static void test_only_sleepers_cost_a_write(void **state)
{
    (void)state;
    while (message_bus_claim(&worker, PID) != 65) /* in the second word of bits */
        continue;
    message_bus_wake(&worker);
    assert_int_equal(wakes(), 0);
    message_bus_will_sleep(&worker, 65);
    message_bus_will_sleep(&worker, 0);
    message_bus_will_sleep(&worker, 65);
    message_bus_wake(&worker);
    message_bus_wake(&worker); /* all are being woken already */
    assert_int_equal(wakes(), 1);
    message_bus_will_sleep(&worker, 0);
    message_bus_wake(&worker);
    assert_int_equal(wakes(), 1);
}

static int watch(void)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET};
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);

    assert_int_equal(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, master.wake_fd, &event), 0);
    return epoll_fd;
}

/* No process drains it, and every subscriber is woken each time. */
static void test_each_write_wakes_all(void **state)
{
    int first = watch(), second = watch();
    struct epoll_event event;

    (void)state;
    (void)message_bus_claim(&worker, PID);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(epoll_wait(first, &event, 1, 0), 0);
        assert_int_equal(epoll_wait(second, &event, 1, 0), 0);
        message_bus_will_sleep(&worker, 0);
        message_bus_wake(&worker);
        assert_int_equal(epoll_wait(first, &event, 1, 0), 1);
        assert_int_equal(epoll_wait(second, &event, 1, 0), 1);
    }
    (void)close(first);
    (void)close(second);
}

static void test_full_counter_still_wakes(void **state)
{
    int epoll_fd = watch();
    struct epoll_event event;

    (void)state;
    (void)message_bus_claim(&worker, PID);
    assert_int_equal(eventfd_write(master.wake_fd, UINT64_MAX - 1), 0);
    assert_int_equal(epoll_wait(epoll_fd, &event, 1, 0), 1);
    message_bus_will_sleep(&worker, 0);
    message_bus_wake(&worker);
    assert_int_equal(epoll_wait(epoll_fd, &event, 1, 0), 1);
    (void)close(epoll_fd);
}

/* ---- another master ---------------------------------------------------------------------- */

static void test_other_master_takes_it_over(void **state)
{
    struct message_bus next, of_next;
    struct ring_reader reader;

    (void)state;
    int own = message_bus_claim(&worker, PID);
    assert_int_equal(message_bus_adopt(&next, dup(master.fd), dup(master.wake_fd), RINGS, SIZE + 1),
                     0);
    of_next = next;
    of_next.map = NULL;
    assert_int_equal(message_bus_open(&of_next), 0);
    assert_int_equal(message_bus_claim(&of_next, PID + 1), own + 1);
    const struct message_ring ring = message_bus_ring(&worker, (unsigned)own + 1);
    ring_reader_init(&reader, &ring);
    assert_int_equal(put(&of_next, own + 1, "hello"), 0);
    assert_true(ring_has_news(&reader, &ring));
    close_worker(&of_next);
    message_bus_release(&next);
}

static void test_other_rings_are_not_taken_over(void **state)
{
    struct message_bus next;
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    const struct {
        int fd;
        unsigned count;
        size_t size;
    } rows[] = {{dup(master.fd), RINGS + 1, SIZE},
                {dup(master.fd), RINGS, 2 * 8192},
                {ends[0], RINGS, SIZE}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int wake_fd = dup(master.wake_fd);

        assert_int_equal(message_bus_adopt(&next, rows[i].fd, wake_fd, rows[i].count, rows[i].size),
                         -1);
        assert_int_equal(errno, EPROTO);
        assert_int_equal(next.fd, -1);
        assert_int_equal(fcntl(rows[i].fd, F_GETFD), -1);
        assert_int_equal(fcntl(wake_fd, F_GETFD), -1);
    }
    (void)close(ends[1]);
    master.map[12]++; /* another version's */
    assert_int_equal(message_bus_adopt(&next, dup(master.fd), dup(master.wake_fd), RINGS, SIZE),
                     -1);
}

static void make_under_limit(void *arg)
{
    const struct rlimit limit = {4096, 4096};
    struct message_bus bus;

    (void)arg;
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    CHECK(message_bus_new(&bus, RINGS, SIZE) == -1 && errno == EFBIG);
    CHECK(bus.fd == -1 && bus.wake_fd == -1);
}

static void test_limit_of_file_size_is_an_error(void **state)
{
    (void)state;
    expect_exit(make_under_limit, NULL, 0);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_untouched_rings_take_no_memory),
        ROW(test_size_is_sealed),
        ROW(test_each_worker_has_a_ring_of_its_own),
        ROW(test_owner_that_is_no_process_is_swept),
        ROW(test_only_the_own_ring_is_writable),
        ROW(test_used_is_bounded),
        ROW(test_forked_child_cannot_write),
        ROW(test_only_sleepers_cost_a_write),
        ROW(test_each_write_wakes_all),
        ROW(test_full_counter_still_wakes),
        ROW(test_other_master_takes_it_over),
        ROW(test_other_rings_are_not_taken_over),
        ROW(test_limit_of_file_size_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
