/* SPDX-License-Identifier: MIT
 *
 * The ring of messages: every position of a wrap, readers that are overtaken, writers that are
 * killed, and rings that another process has damaged.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "system/messages/message_ring.h"

enum { SMALL = 4096, LARGE = 1 << 20, HEAD = 16 };

static struct message_ring ring;
static struct ring_writer writer;
static struct ring_reader reader;

static void set_up_ring(size_t size)
{
    char *map = mmap(NULL, SMALL + size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    ring = (struct message_ring){(struct ring_control *)(void *)map, map + SMALL, size};
    ring_writer_init(&writer, &ring);
    ring_reader_init(&reader, &ring);
}

static int set_up(void **state)
{
    (void)state;
    set_up_ring(SMALL);
    return 0;
}

static int set_up_large(void **state)
{
    (void)state;
    set_up_ring(LARGE);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return munmap(ring.control, SMALL + ring.size);
}

static int put(struct ring_writer *w, const char *channel, const void *data, size_t len)
{
    const struct ring_item item = {.channel = channel,
                                   .channel_len = strlen(channel),
                                   .hash = 0xabcdef,
                                   .data = data,
                                   .len = len};

    return ring_write(w, &item);
}

/* Bytes that tell which message they are of. */
static void fill(unsigned char *bytes, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (unsigned char)(number * 31 + i * 7);
}

static bool is_filled(const unsigned char *bytes, size_t len, uint64_t number)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i] != (unsigned char)(number * 31 + i * 7))
            return false;
    }
    return true;
}

static enum ring_next next(struct ring_message *m, uint64_t *lost)
{
    return ring_next(&reader, &ring, m, lost);
}

static void expect(const char *channel, const void *data, size_t len)
{
    char copy[SMALL];
    struct ring_message m;
    uint64_t lost;

    assert_int_equal(next(&m, &lost), RING_MESSAGE);
    assert_string_equal(m.channel, channel);
    assert_int_equal(m.channel_len, strlen(channel));
    assert_int_equal(m.hash, 0xabcdef);
    assert_int_equal(m.len, len);
    assert_true(ring_read(&reader, &ring, &m, copy));
    assert_memory_equal(copy, data, len);
    ring_pass(&reader, &m);
}

static void expect_empty(void)
{
    struct ring_message m;
    uint64_t lost;

    assert_false(ring_has_news(&reader, &ring));
    assert_int_equal(next(&m, &lost), RING_EMPTY);
}

/* ---- what is written is read ------------------------------------------------------------- */

static void test_messages_come_in_order(void **state)
{
    static const char long_channel[] =
        "0123456789012345678901234567890123456789012345678901234567890123";

    (void)state;
    expect_empty();
    assert_int_equal(put(&writer, "a", "one", 3), 0);
    assert_int_equal(put(&writer, "channel", "", 0), 0);
    assert_int_equal(put(&writer, long_channel, "12345678", 8), 0);
    assert_true(ring_has_news(&reader, &ring));
    expect("a", "one", 3);
    expect("channel", "", 0);
    expect(long_channel, "12345678", 8);
    expect_empty();
}

static void test_every_wrap_position_is_whole(void **state)
{
    unsigned char data[SMALL];

    (void)state;
    for (size_t len = 0; len < 700; len++) {
        for (int i = 0; i < 30; i++) {
            fill(data, len, (uint64_t)i + len);
            assert_int_equal(put(&writer, "wrap", data, len), 0);
            expect("wrap", data, len);
        }
    }
    for (size_t at = 0; at < SMALL; at += 8) { /* each word is the first of a message once */
        reader.at = writer.head = writer.tail = SMALL * 4 + at;
        atomic_store(&ring.control->tail, writer.tail);
        atomic_store(&ring.control->head, writer.head);
        fill(data, SMALL - HEAD - 8, at);
        assert_int_equal(put(&writer, "wrap", data, SMALL - HEAD - 8), 0);
        expect("wrap", data, SMALL - HEAD - 8);
    }
}

static void test_longest_message_fits_exactly(void **state)
{
    static unsigned char data[SMALL];

    (void)state;
    assert_int_equal(put(&writer, "c", data, SMALL - HEAD - 7), -1);
    assert_int_equal(errno, EMSGSIZE);
    assert_int_equal(put(&writer, "c", data, SIZE_MAX / 2), -1);
    assert_int_equal(errno, EMSGSIZE);
    expect_empty();
    assert_int_equal(put(&writer, "c", data, SMALL - HEAD - 8), 0);
    expect("c", data, SMALL - HEAD - 8);
}

static void test_new_reader_gets_nothing_old(void **state)
{
    struct ring_message m;
    uint64_t lost;

    (void)state;
    assert_int_equal(put(&writer, "c", "old", 3), 0);
    ring_reader_init(&reader, &ring);
    expect_empty();
    assert_int_equal(put(&writer, "c", "new", 3), 0);
    assert_int_equal(next(&m, &lost), RING_MESSAGE);
    assert_int_equal(m.number, 1);
    expect("c", "new", 3);
}

static void test_positions_wrap_past_64_bits(void **state)
{
    (void)state;
    reader.at = writer.head = writer.tail = UINT64_MAX - 79;
    atomic_store(&ring.control->head, writer.head);
    atomic_store(&ring.control->tail, writer.tail);
    for (int i = 0; i < 300; i++) {
        assert_int_equal(put(&writer, "c", "sixteen bytes...", 16), 0);
        expect("c", "sixteen bytes...", 16);
    }
    expect_empty();
}

/* ---- overtaken --------------------------------------------------------------------------- */

static void test_overtaken_reader_is_told_and_goes_on(void **state)
{
    struct ring_message m;
    uint64_t lost = 0, read = 0, number = 1000;
    unsigned char data[40];

    (void)state;
    for (uint64_t i = 0; i < number; i++) {
        fill(data, sizeof(data), i);
        assert_int_equal(put(&writer, "c", data, sizeof(data)), 0);
    }
    assert_int_equal(next(&m, &lost), RING_LOST);
    while (ring_has_news(&reader, &ring)) {
        assert_int_equal(next(&m, &(uint64_t){0}), RING_MESSAGE);
        assert_true(ring_read(&reader, &ring, &m, data));
        assert_true(is_filled(data, m.len, lost + read));
        ring_pass(&reader, &m);
        read++;
    }
    assert_int_equal(lost + read, number);
    assert_in_range(read, SMALL / 2 / 64 - 1, SMALL / 2 / 64 + 1); /* the newer half */
}

/* It has been looked at, and is overwritten before it is copied. */
static void test_overtaken_between_look_and_copy(void **state)
{
    struct ring_message m;
    static unsigned char data[SMALL];
    uint64_t lost = 0;

    (void)state;
    assert_int_equal(put(&writer, "c", "first", 5), 0);
    assert_int_equal(next(&m, &lost), RING_MESSAGE);
    assert_int_equal(put(&writer, "c", data, 4064), 0);
    assert_false(ring_read(&reader, &ring, &m, data));
    assert_int_equal(next(&m, &lost), RING_LOST);
    assert_int_equal(lost, 1);
    assert_int_equal(next(&m, &lost), RING_MESSAGE);
    assert_int_equal(m.len, 4064);
}

enum { FAST = 200000 };

static void *write_fast(void *unused)
{
    unsigned char data[300];

    for (uint64_t i = 0; i < FAST; i++) {
        size_t len = i * 37 % sizeof(data);

        fill(data, len, i);
        if (put(&writer, "fast", data, len) < 0)
            abort();
        if (i % 512 == 0)
            (void)sched_yield();
    }
    return unused;
}

/* Every message is read whole, or counted as lost; none twice. */
static void test_reader_beside_a_fast_writer(void **state)
{
    unsigned char data[300];
    struct ring_message m;
    uint64_t expected = 0, read = 0, lost_in_all = 0;
    pthread_t thread;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, write_fast, NULL), 0);
    while (expected < FAST) {
        uint64_t lost = 0;
        enum ring_next what = next(&m, &lost);

        assert_true(what != RING_DAMAGED);
        if (what == RING_LOST)
            lost_in_all += lost;
        if (what != RING_MESSAGE)
            continue;
        assert_true(m.number >= expected);
        assert_int_equal(m.len, m.number * 37 % sizeof(data));
        if (!ring_read(&reader, &ring, &m, data))
            continue;
        assert_true(is_filled(data, m.len, m.number));
        expected = m.number + 1;
        read++;
        ring_pass(&reader, &m);
    }
    (void)pthread_join(thread, NULL);
    assert_int_equal(read + lost_in_all, FAST);
}

/* ---- killed writers ---------------------------------------------------------------------- */

/* Whatever of a message was stored before its writer died, it is not there, and the next writer goes
 * on. */
static void test_message_without_head_is_not_there(void **state)
{
    unsigned char data[1000];

    (void)state;
    for (int i = 0; i < 100; i++) {
        fill(data, sizeof(data), (uint64_t)i);
        uint64_t before = atomic_load(&ring.control->head);
        assert_int_equal(put(&writer, "torn", data, sizeof(data)), 0);
        atomic_store(&ring.control->head, before);
        expect_empty();
        ring_writer_init(&writer, &ring);
        assert_int_equal(put(&writer, "whole", data, (size_t)i * 9), 0);
        expect("whole", data, (size_t)i * 9); /* and nothing is called lost */
    }
}

static void __attribute__((noreturn)) write_until_killed(void)
{
    enum { LEN = 64 * 1024 };
    unsigned char *data = malloc(LEN);

    ring_writer_init(&writer, &ring);
    for (;;) {
        fill(data, LEN, writer.number);
        if (put(&writer, "killed", data, LEN) < 0)
            _exit(1);
    }
}

/* Reads what the killed one has left: all of it whole. */
static size_t read_the_rest(unsigned char *data)
{
    struct ring_message m;
    uint64_t lost;
    size_t read = 0;
    enum ring_next what;

    while ((what = next(&m, &lost)) != RING_EMPTY) {
        assert_true(what != RING_DAMAGED);
        if (what != RING_MESSAGE)
            continue;
        assert_string_equal(m.channel, "killed");
        assert_int_equal(m.len, 64 * 1024);
        assert_true(ring_read(&reader, &ring, &m, data));
        assert_true(is_filled(data, m.len, m.number));
        ring_pass(&reader, &m);
        read++;
    }
    return read;
}

static void test_killed_writers_leave_no_torn_message(void **state)
{
    unsigned char *data = malloc(64 * 1024);
    unsigned rounds = 500;
    const char *given = getenv("RING_KILLS");
    size_t read = 0;
    int status;

    (void)state;
    rounds = given ? (unsigned)atoi(given) : rounds;
    for (unsigned i = 0; i < rounds; i++) {
        struct timespec pause = {.tv_nsec = (long)(i * 7919 % 300000)};
        uint64_t before = atomic_load(&ring.control->head);
        pid_t pid = fork();

        if (pid == 0)
            write_until_killed();
        assert_true(pid > 0);
        while (atomic_load(&ring.control->head) == before)
            (void)sched_yield();
        (void)nanosleep(&pause, NULL);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status));
        read += read_the_rest(data);
    }
    assert_true(read >= rounds);
    free(data);
}

/* ---- damage ------------------------------------------------------------------------------ */

static uint64_t random_state = 88172645463325252;

static uint64_t random_number(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void set_word(uint64_t at, uint64_t value)
{
    memcpy(ring.data + at % ring.size, &value, sizeof(value));
}

static uint64_t message_word(uint64_t channel_len, uint64_t len)
{
    return channel_len << 32 | len;
}

static void test_hostile_lengths_are_damage(void **state)
{
    static const struct {
        uint64_t channel_len, len;
    } rows[] = {{0, 8}, {65, 8}, {255, 8}, {1, SMALL}, {1, UINT32_MAX}, {64, 24}, {1, 8 * 1024}};
    struct ring_message m;
    uint64_t lost;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_int_equal(put(&writer, "c", "fifteen bytes..", 15), 0);
        set_word(reader.at, message_word(rows[i].channel_len, rows[i].len));
        assert_int_equal(next(&m, &lost), RING_DAMAGED);
        expect_empty(); /* skipped */
        reader.number = writer.number;
        writer.tail = writer.head; /* as a new writer would have it */
    }
    assert_int_equal(put(&writer, "c", "good again", 10), 0);
    expect("c", "good again", 10);
}

static void test_hostile_head_is_damage(void **state)
{
    static const uint64_t moves[] = {1, 7, SMALL + 8, UINT64_MAX / 2 + 1, UINT64_MAX - 7};
    struct ring_message m;
    uint64_t lost;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(moves); i++) {
        atomic_store(&ring.control->head, reader.at + moves[i]);
        assert_int_equal(next(&m, &lost), RING_DAMAGED);
        expect_empty();
    }
    ring_writer_init(&writer, &ring);
    assert_int_equal(put(&writer, "c", "good again", 10), 0);
    while (next(&m, &lost) != RING_MESSAGE)
        continue;
    expect("c", "good again", 10);
}

/* Random words, heads and tails: readers and writers end, and stay in bounds. */
static void test_random_damage_ends(void **state)
{
    static char data[SMALL];
    struct ring_message m;
    uint64_t lost;

    (void)state;
    for (int i = 0; i < 100000; i++) {
        for (uint64_t n = random_number() % 4; n > 0; n--)
            set_word(random_number() % SMALL & ~UINT64_C(7),
                     random_number() % 2 ? random_number() : random_number() % 0x4000000200);
        if (random_number() % 4 == 0)
            atomic_store(&ring.control->head, reader.at + random_number() % (2 * SMALL));
        if (random_number() % 8 == 0)
            atomic_store(&ring.control->tail, reader.at - random_number() % (2 * SMALL));
        if (random_number() % 16 == 0)
            ring_writer_init(&writer, &ring);
        (void)put(&writer, "channel", data, random_number() % SMALL);
        for (int n = 0; n < 20; n++) {
            if (next(&m, &lost) != RING_MESSAGE)
                continue;
            assert_in_range(m.channel_len, 1, MESSAGE_CHANNEL_MAX);
            assert_in_range(m.len, 0, SMALL);
            if (ring_read(&reader, &ring, &m, data))
                ring_pass(&reader, &m);
        }
    }
}

static void test_writer_survives_its_damaged_ring(void **state)
{
    static char data[1000];

    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(put(&writer, "c", data, sizeof(data)), 0);
        memset(ring.data, 0xff, ring.size);
    }
    assert_in_range(writer.head - writer.tail, 0, SMALL);
    ring_reader_init(&reader, &ring);
    assert_int_equal(put(&writer, "c", "good", 4), 0);
    expect("c", "good", 4);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_messages_come_in_order),
        ROW(test_every_wrap_position_is_whole),
        ROW(test_longest_message_fits_exactly),
        ROW(test_new_reader_gets_nothing_old),
        ROW(test_positions_wrap_past_64_bits),
        ROW(test_overtaken_reader_is_told_and_goes_on),
        ROW(test_overtaken_between_look_and_copy),
        ROW(test_reader_beside_a_fast_writer),
        ROW(test_message_without_head_is_not_there),
        cmocka_unit_test_setup_teardown(test_killed_writers_leave_no_torn_message, set_up_large,
                                        tear_down),
        ROW(test_hostile_lengths_are_damage),
        ROW(test_hostile_head_is_damage),
        ROW(test_random_damage_ends),
        ROW(test_writer_survives_its_damaged_ring),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
