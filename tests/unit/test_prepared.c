/* SPDX-License-Identifier: MIT
 *
 * The record of a prepared reload as the master takes it: what is no part of one is refused, and
 * what is left of one leaves no descriptor and no file.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "master/generation/generation.h"
#include "master/prepare/prepared.h"
#include "master/prepare/prepared_item.h"
#include "master/prepare/prepared_open.h"
#include "system/ipc/packet.h"
#include "system/net/listener.h"
#include "temp_dir.h"

static const struct start no_start;

static int add_item(struct prepared *p, enum prepared_kind kind, const void *value, size_t len,
                    int fd)
{
    const struct prepared_head head = {.kind = (uint32_t)kind, .fd_count = fd >= 0};
    char data[sizeof(head) + sizeof(struct prepared_part)];
    struct packet packet = {.len = sizeof(head) + len, .fds = {fd}, .fd_count = fd >= 0};

    memcpy(data, &head, sizeof(head));
    if (len > 0)
        memcpy(data + sizeof(head), value, len);
    return prepared_add(p, data, &packet);
}

static void test_packet_that_is_no_part_is_refused(void **state)
{
    const struct prepared_head head = {.kind = PREPARED_DIR, .fd_count = 1};
    const struct packet bad[] = {
        {.len = sizeof(head), .fd_count = 0},                 /* the descriptor is missing */
        {.len = sizeof(head), .fds = {7, 8}, .fd_count = 2},  /* one too many */
        {.len = sizeof(head) - 1, .fds = {7}, .fd_count = 1}, /* too short */
        {.len = sizeof(head), .fds = {7}, .fd_count = 1, .is_cut = true},
        {.len = sizeof(head), .fds = {7}, .fd_count = 1, .fds_lost = true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct prepared p = {0};
        struct packet packet = bad[i];

        assert_int_equal(prepared_add(&p, &head, &packet), -1);
        assert_int_equal(errno, bad[i].fds_lost ? EMFILE : EPROTO);
        assert_int_equal(packet.fd_count, bad[i].fd_count); /* they stay the caller's */
        assert_null(p.first);
    }
}

static void test_packets_are_kept_until_the_last(void **state)
{
    struct prepared p = {0};

    (void)state;
    assert_int_equal(add_item(&p, PREPARED_TEXT, "a", 1, -1), 0);
    assert_int_equal(add_item(&p, PREPARED_TEXT, "b", 1, -1), 0);
    assert_int_equal(add_item(&p, PREPARED_END, NULL, 0, -1), 1);
    assert_int_equal(p.count, 3);
    assert_memory_equal(prepared_value(p.first->next), "b", 1);
    prepared_release(&p);
    assert_null(p.first);
    assert_null(p.last);
    prepared_release(&p);
}

/* Each is a record that ends too early, or has a value of another size. */
static void test_malformed_record_makes_no_generation(void **state)
{
    const struct prepared_sources sources = {.cores = 1};

    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        const struct prepared_control_socket control = {.control_is = CONTROL_STAYS};
        struct prepared p = {0};
        struct prepared_rest rest;
        struct error err;

        if (kind > 0)
            (void)add_item(&p, PREPARED_CONTROL, &control, sizeof(control) - (kind == 1), -1);
        if (kind > 1)
            (void)add_item(&p, PREPARED_SOURCES, &sources, sizeof(sources) - 1, -1);
        (void)add_item(&p, PREPARED_END, NULL, 0, -1);
        assert_null(prepared_open(&p, &no_start, 2, NULL, &rest, &err));
        assert_string_equal(err.text, "the record of what was prepared is malformed");
        assert_int_equal(err.status, EXIT_FAILED);
        prepared_release(&p);
    }
}

/* Of a reload that was cancelled when its process had sent the first sockets. */
static void test_released_record_closes_and_removes(void **state)
{
    struct prepared p = {0};
    struct prepared_socket value = {.is_admin = 0};
    struct listener l;
    struct handover h;
    struct error err;
    struct stat st;
    char path[128], text[160];

    (void)state;
    (void)snprintf(path, sizeof(path), "%s/sock", temp_dir);
    (void)snprintf(text, sizeof(text), "unix:%s", path);
    assert_int_equal(listener_open(&l, text, 1, &err), 0);
    handover_init(&h);
    assert_int_equal(handover_add_socket(&h, &l, HANDOVER_WORKERS), 0);
    value.described = h.sockets[0];
    handover_drop(&h);
    int fd = dup(l.fd), dir_fd = open("/", O_PATH);
    listener_close(&l, false);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(add_item(&p, PREPARED_SOCKET, &value, sizeof(value), fd), 0);
    assert_int_equal(add_item(&p, PREPARED_DIR, NULL, 0, dir_fd), 0);
    prepared_release(&p);
    assert_int_equal(stat(path, &st), -1);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(fcntl(dir_fd, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packet_that_is_no_part_is_refused),
        cmocka_unit_test(test_packets_are_kept_until_the_last),
        cmocka_unit_test(test_malformed_record_makes_no_generation),
        cmocka_unit_test_setup_teardown(test_released_record_closes_and_removes, temp_dir_make,
                                        temp_dir_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
