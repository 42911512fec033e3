/* SPDX-License-Identifier: MIT
 *
 * The record of a handover: what is written is read, whole or not at all, and every descriptor is
 * good once. Reader and writer are one process here, which passes itself descriptors by letting
 * them stay open across an exec that never comes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "system/ipc/handover.h"
#include "system/net/listener.h"

enum { VERSION_OFFSET = 8, KIND_OFFSET = 16, FD_COUNT_OFFSET = 36, HEADER_SIZE = 64 };

static struct {
    struct listener listener;
    int pipe[2];
} given;

static int open_given(void **state)
{
    struct error err;

    (void)state;
    if (pipe2(given.pipe, O_CLOEXEC) < 0)
        return -1;
    return listener_open(&given.listener, "127.0.0.1:0", 1, &err);
}

static int close_given(void **state)
{
    (void)state;
    fd_close(&given.pipe[0]);
    fd_close(&given.pipe[1]);
    listener_close(&given.listener, false);
    return 0;
}

/* The record, as exec would pass it, with copies of what is given. */
static int write_record(void)
{
    struct listener copy = given.listener;
    struct handover h;

    handover_init(&h);
    copy.fd = fcntl(given.listener.fd, F_DUPFD_CLOEXEC, 3);
    assert_int_equal(handover_add_socket(&h, &copy, HANDOVER_WORKERS), 0);
    h.generation = 7;
    int fd = handover_write(&h);
    assert_true(fd >= 0);
    assert_int_equal(handover_pass(&h, fd), 0);
    handover_drop(&h);
    return fd;
}

static int receive(int fd, struct handover *h)
{
    struct error err;

    handover_set_variable(fd);
    int result = handover_receive(h, &err);
    assert_null(getenv("GCORN_HANDOVER"));
    return result;
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_handover_none(void **state)
{
    struct handover h;
    struct error err;

    (void)state;
    handover_set_variable(-1);
    assert_int_equal(handover_receive(&h, &err), 0);
    assert_false(h.is_received);
    handover_release(&h);
}

static void test_handover_round_trip(void **state)
{
    struct handover h;
    struct listener l;
    struct error err;
    int fd = write_record();

    (void)state;
    assert_int_equal(receive(fd, &h), 0);
    assert_false(is_open(fd));
    assert_true(h.is_received);
    assert_int_equal(h.pid, getpid());
    assert_int_equal(h.generation, 7);

    assert_int_equal(h.socket_count, 1);
    assert_int_equal(handover_take_socket(&h.sockets[0], &l, &err), 0);
    assert_true(fcntl(l.fd, F_GETFD) & FD_CLOEXEC);
    assert_string_equal(l.text, given.listener.text);
    assert_string_equal(l.name, given.listener.name);
    assert_string_equal(l.port, given.listener.port);
    listener_close(&l, true);

    handover_release(&h);
}

/* The same bytes, changed; the descriptors in it are open anew. */
static int change(int fd, off_t offset, uint32_t value)
{
    assert_int_equal(pwrite(fd, &value, sizeof(value), offset), sizeof(value));
    return fd;
}

/* A later version passes descriptors that this one does not know. */
static void test_handover_of_a_later_version(void **state)
{
    struct handover h;
    int32_t passed = fcntl(given.pipe[0], F_DUPFD, 3);
    int fd = change(change(write_record(), VERSION_OFFSET, 99), FD_COUNT_OFFSET, 1);

    (void)state;
    off_t end = lseek(fd, 0, SEEK_END);
    assert_int_equal(pwrite(fd, &passed, sizeof(passed), end), sizeof(passed));
    assert_int_equal(pwrite(fd, "more", 4, end + (off_t)sizeof(passed)), 4);
    assert_int_equal(receive(fd, &h), 0);
    assert_int_equal(h.socket_count, 1);
    assert_int_equal(h.generation, 7);
    assert_false(is_open(passed));
    int socket = h.sockets[0].fd;
    assert_true(fcntl(socket, F_GETFD) & FD_CLOEXEC);
    handover_release(&h);
    assert_false(is_open(socket));
}

/* Its header ended where the number of the generation is now. */
static void test_handover_of_an_earlier_version(void **state)
{
    enum { OLD_SIZE = 40, HEADER_SIZE_OFFSET = 12 };
    struct handover h;
    char rest[16384];
    int fd = write_record();
    ssize_t len = pread(fd, rest, sizeof(rest), HEADER_SIZE);

    (void)state;
    assert_true(len > 0 && len < (ssize_t)sizeof(rest));
    assert_int_equal(pwrite(fd, rest, (size_t)len, OLD_SIZE), len);
    assert_int_equal(ftruncate(fd, OLD_SIZE + len), 0);
    assert_int_equal(
        receive(change(change(fd, VERSION_OFFSET, 1), HEADER_SIZE_OFFSET, OLD_SIZE), &h), 0);
    assert_int_equal(h.socket_count, 1);
    assert_int_equal(h.generation, 0);
    handover_release(&h);
}

static int passed_copy(void)
{
    return fcntl(given.pipe[0], F_DUPFD_CLOEXEC, 3);
}

/* What workers share is passed, too, and belongs to whoever receives it. */
static void test_handover_of_memory(void **state)
{
    struct handover h, all;

    (void)state;
    handover_init(&h);
    h.bus_fd = passed_copy();
    h.wake_fd = passed_copy();
    h.memory_fd = passed_copy();
    int fd = handover_write(&h);
    assert_int_equal(handover_pass(&h, fd), 0);
    assert_false(fcntl(h.memory_fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(receive(fd, &all), 0);
    assert_int_equal(all.bus_fd, h.bus_fd);
    assert_int_equal(all.wake_fd, h.wake_fd);
    assert_int_equal(all.memory_fd, h.memory_fd);
    assert_true(fcntl(all.bus_fd, F_GETFD) & FD_CLOEXEC);
    handover_release(&all);
    assert_false(is_open(h.bus_fd) || is_open(h.wake_fd) || is_open(h.memory_fd));

    h.bus_fd = h.wake_fd = -1; /* publish_buffer is 0 */
    h.memory_fd = passed_copy();
    fd = handover_write(&h);
    assert_int_equal(handover_pass(&h, fd), 0);
    assert_int_equal(receive(fd, &all), 0);
    assert_int_equal(all.bus_fd, -1);
    assert_int_equal(all.wake_fd, -1);
    assert_int_equal(all.memory_fd, h.memory_fd);
    handover_release(&all);
    handover_drop(&h);
}

static void test_handover_of_another_kind(void **state)
{
    struct handover h;

    (void)state;
    assert_int_equal(receive(change(write_record(), 0, 0), &h), -1);
    assert_int_equal(receive(change(write_record(), KIND_OFFSET, 9), &h), -1);
}

/* A record that is cut anywhere is refused whole. */
static void test_handover_cut(void **state)
{
    struct handover h;
    off_t len = lseek(write_record(), 0, SEEK_END);

    (void)state;
    for (off_t cut = 0; cut < len; cut += cut < 64 ? 1 : 61) {
        int fd = write_record();

        assert_int_equal(ftruncate(fd, cut), 0);
        assert_int_equal(receive(fd, &h), -1);
    }
}

/* Every byte in turn is made rubbish: nothing is believed that reaches beyond the record. */
static void test_handover_rubbish(void **state)
{
    struct handover h;

    (void)state;
    for (off_t at = 0; at < 64; at++) {
        int fd = write_record();
        const unsigned char byte = 0xff;

        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
        if (receive(fd, &h) == 0) {
            assert_true(h.socket_count <= 1);
            handover_release(&h);
        }
    }
}

static void test_handover_no_record(void **state)
{
    struct handover h;
    struct error err;
    int fd = fcntl(given.pipe[0], F_DUPFD, 3);

    (void)state;
    assert_int_equal(receive(fd, &h), -1); /* a pipe */
    assert_int_equal(receive(999, &h), -1);
    assert_int_equal(receive(given.pipe[0], &h), -1); /* not passed: close-on-exec */
    assert_int_equal(setenv("GCORN_HANDOVER", "no number", 1), 0);
    assert_int_equal(handover_receive(&h, &err), -1);
    assert_null(getenv("GCORN_HANDOVER"));
}

static void test_handover_socket_that_is_none(void **state)
{
    struct handover_socket s = {.fd = fcntl(given.pipe[0], F_DUPFD_CLOEXEC, 3)};
    struct listener l;
    struct error err;

    (void)state;
    memcpy(s.text, "127.0.0.1:80", sizeof("127.0.0.1:80"));
    int fd = s.fd;
    assert_int_equal(handover_take_socket(&s, &l, &err), -1);
    assert_int_equal(err.status, EXIT_BIND);
    assert_false(is_open(fd));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_given, close_given)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_handover_none),
        TEST(test_handover_round_trip),
        TEST(test_handover_of_a_later_version),
        TEST(test_handover_of_an_earlier_version),
        TEST(test_handover_of_memory),
        TEST(test_handover_of_another_kind),
        TEST(test_handover_cut),
        TEST(test_handover_rubbish),
        TEST(test_handover_no_record),
        TEST(test_handover_socket_that_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
