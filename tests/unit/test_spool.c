/* SPDX-License-Identifier: MIT
 *
 * Bodies of any length: the same bytes whether they lie in memory or in a file, and no file that
 * anyone could see.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <signal.h>

#include <sys/resource.h>

#include "base/buffer_pool.h"
#include "base/spool.h"
#include "in_child.h"
#include "temp_dir.h"

enum { MEM_MAX = 100 };

/* How much is kept in memory. */
static const struct spool_place short_ones = {.mem_max = MEM_MAX, .dir = temp_dir};
static const struct spool_place long_ones = {.mem_max = 50000, .dir = temp_dir};
static const struct spool_place files = {.mem_max = 0, .dir = temp_dir};
static const struct spool_place nowhere = {.mem_max = MEM_MAX, .dir = "/nonexistent/gcorn"};

static char byte_at(size_t i)
{
    return (char)(i * 13 + i / 256);
}

static void append(struct spool *s, size_t len)
{
    char piece[5000];

    for (size_t i = 0; i < len; i++)
        piece[i] = byte_at((size_t)s->len + i);
    assert_int_equal(spool_append(s, piece, len), 0);
    memset(piece, 0xdd, len);
}

static void expect_bytes(struct spool *s, size_t len)
{
    char buf[64];
    size_t at = 0;
    ssize_t n;

    assert_int_equal(s->len, len);
    while ((n = spool_read(s, at, buf, 1 + at % sizeof(buf))) > 0) {
        for (size_t i = 0; i < (size_t)n; i++)
            assert_int_equal(buf[i], byte_at(at + i));
        at += (size_t)n;
    }
    assert_int_equal(n, 0);
    assert_int_equal(at, len);
}

static size_t names_in_dir(void)
{
    DIR *d = opendir(temp_dir);
    size_t names = 0;
    struct dirent *entry;

    assert_non_null(d);
    while ((entry = readdir(d)) != NULL)
        names += entry->d_name[0] != '.';
    assert_int_equal(closedir(d), 0);
    return names;
}

static void test_spool_empty(void **state)
{
    struct spool s;
    char c;

    (void)state;
    spool_init(&s, &short_ones, NULL);
    assert_int_equal(spool_append(&s, NULL, 0), 0);
    assert_int_equal(spool_read(&s, 0, &c, 1), 0);
    assert_int_equal(spool_read(&s, 99, &c, 1), 0);
    assert_string_equal(spool_map(&s), "");
    spool_release(&s);
    spool_release(&s);
}

/* Every split of lengths around the limit and the page size. */
static void test_spool_lengths(void **state)
{
    static const size_t firsts[] = {0, 1, 50, 99, 100, 101, 4096};
    static const size_t seconds[] = {0, 1, 49, 50, 51, 4000, 4096};

    (void)state;
    for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
        for (size_t k = 0; k < sizeof(seconds) / sizeof(seconds[0]); k++) {
            size_t len = firsts[i] + seconds[k];
            struct spool s;

            spool_init(&s, &short_ones, NULL);
            append(&s, firsts[i]);
            expect_bytes(&s, firsts[i]);
            append(&s, seconds[k]); /* also after it was read */
            assert_int_equal(s.fd >= 0, len > MEM_MAX);
            expect_bytes(&s, len);
            const char *map = spool_map(&s);
            assert_non_null(map);
            for (size_t b = 0; b < len; b++)
                assert_int_equal(map[b], byte_at(b));
            assert_int_equal(map[len], 0);
            assert_ptr_equal(spool_map(&s), map);
            expect_bytes(&s, len); /* the NUL is no part of it */
            assert_int_equal(names_in_dir(), 0);
            if (s.fd >= 0)
                assert_true(fcntl(s.fd, F_GETFD) & FD_CLOEXEC);
            spool_release(&s);
            assert_int_equal(s.fd, -1);
            assert_int_equal(s.len, 0);
        }
    }
}

static void test_spool_reuse(void **state)
{
    struct spool s;

    (void)state;
    spool_init(&s, &short_ones, NULL);
    for (int i = 0; i < 3; i++) {
        append(&s, 300);
        assert_non_null(spool_map(&s));
        spool_release(&s);
        append(&s, 10);
        assert_int_equal(s.fd, -1);
        expect_bytes(&s, 10);
        spool_release(&s);
    }
}

static void test_spool_file_only(void **state)
{
    struct spool s;

    (void)state;
    spool_init(&s, &files, NULL); /* nothing in memory at all */
    append(&s, 1);
    assert_true(s.fd >= 0);
    append(&s, 5000);
    expect_bytes(&s, 5001);
    spool_release(&s);
}

/* All that can be read has its place on the disk, also the NUL where it has a page to itself. */
static void test_spool_map_has_no_hole(void **state)
{
    struct spool s;

    (void)state;
    spool_init(&s, &files, NULL);
    append(&s, 4096);
    append(&s, 4096);
    assert_non_null(spool_map(&s));
    assert_int_equal(lseek(s.fd, 0, SEEK_HOLE), 8193);
    spool_release(&s);
}

/* What was appended before a failure is kept. */
static void test_spool_no_file(void **state)
{
    char piece[200] = "";
    struct spool s;

    (void)state;
    spool_init(&s, &nowhere, NULL);
    append(&s, 100);
    errno = 0;
    assert_int_equal(spool_append(&s, piece, 1), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(spool_append(&s, piece, sizeof(piece)), -1);
    expect_bytes(&s, 100);
    spool_release(&s);
}

/* Write system calls of this process so far (proc(5), io). */
static unsigned long written(void)
{
    char line[64];
    unsigned long count = 0;
    FILE *io = fopen("/proc/self/io", "re");

    assert_non_null(io);
    while (fgets(line, sizeof(line), io) && sscanf(line, "syscw: %lu", &count) != 1)
        continue;
    assert_int_equal(fclose(io), 0);
    return count;
}

static void test_spool_small_pieces_are_gathered(void **state)
{
    struct spool s;

    (void)state;
    spool_init(&s, &short_ones, NULL);
    unsigned long before = written();
    for (size_t i = 0; i < 100000; i++)
        append(&s, 1);
    assert_true(written() - before <= 10);
    expect_bytes(&s, 100000); /* also before it is finished */
    append(&s, 5000);
    assert_int_equal(spool_finish(&s), 0);
    assert_null(s.mem);
    expect_bytes(&s, 105000);
    const char *map = spool_map(&s);
    for (size_t i = 0; i < 105000; i++)
        assert_int_equal(map[i], byte_at(i));
    spool_release(&s);
}

/* Large pieces after small ones stay in order. */
static void test_spool_mixed_pieces(void **state)
{
    static const size_t sizes[] = {1, 5000, 5000, 5000, 5000, 1, 4999, 3};
    static char large[40000];
    struct spool s;

    (void)state;
    spool_init(&s, &files, NULL);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        append(&s, sizes[i]);
    size_t len = (size_t)s.len;
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = byte_at(len + i);
    assert_int_equal(spool_append(&s, large, sizeof(large)), 0);
    append(&s, 7);
    expect_bytes(&s, len + sizeof(large) + 7);
    assert_int_equal(spool_finish(&s), 0);
    expect_bytes(&s, len + sizeof(large) + 7);
    spool_release(&s);
}

static void test_spool_budget_is_shared(void **state)
{
    struct spool_budget budget = {.max = 1000};
    struct spool one, two;
    char piece[500] = "";

    (void)state;
    spool_init(&one, &short_ones, &budget);
    spool_init(&two, &short_ones, &budget);
    append(&one, 90);
    append(&two, 90);
    assert_int_equal(budget.used, 0); /* memory is not counted */
    append(&one, 500);
    assert_int_equal(budget.used, 590);
    errno = 0;
    assert_int_equal(spool_append(&two, piece, 321), -1);
    assert_int_equal(errno, ENOBUFS);
    expect_bytes(&two, 90);
    append(&two, 320);
    assert_int_equal(budget.used, 1000);
    assert_int_equal(spool_append(&one, piece, 1), -1);
    expect_bytes(&one, 590);
    spool_release(&two);
    assert_int_equal(budget.used, 590);
    append(&one, 410);
    spool_release(&one);
    assert_int_equal(budget.used, 0);
}

/* A failure gives back what was asked for. */
static void test_spool_failure_keeps_the_budget(void **state)
{
    struct spool_budget budget = {.max = 1000};
    struct spool s;
    char piece[200] = "";

    (void)state;
    spool_init(&s, &nowhere, &budget);
    append(&s, 50);
    assert_int_equal(spool_append(&s, piece, 200), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(budget.used, 0);
    spool_release(&s);
    assert_int_equal(budget.used, 0);
}

static void test_release_closes_the_file(void **state)
{
    struct spool s;
    int before = dup(STDERR_FILENO);

    (void)state;
    (void)close(before);
    spool_init(&s, &files, NULL);
    assert_int_equal(spool_append(&s, "file", 4), 0);
    assert_true(s.fd >= 0);
    spool_release(&s);
    assert_int_equal(s.fd, -1);
    int after = dup(STDERR_FILENO);
    assert_int_equal(after, before);
    (void)close(after);
}

/* In a child: a file there may grow to 30000 bytes. */
static void append_past_the_limit(void *arg)
{
    const struct rlimit limit = {30000, 30000};
    struct spool_budget budget = {.max = 1000000};
    char bytes[20000] = "";
    struct spool s;

    (void)arg;
    (void)signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    spool_init(&s, &files, &budget);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == 0);
    CHECK(budget.used == 20000);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == -1 && errno == EFBIG);
    CHECK(budget.used == 20000 && s.len == 20000); /* as before */
    spool_release(&s);
    CHECK(budget.used == 0);
    spool_init(&s, &long_ones, &budget); /* in memory, until it moves to a file */
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == 0);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == 0);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == -1 && errno == EFBIG);
    CHECK(budget.used == 0 && s.len == 40000 && s.fd == -1);
    spool_release(&s);
}

static void test_failed_write_changes_nothing(void **state)
{
    (void)state;
    expect_exit(append_past_the_limit, NULL, 0);
}

/* ---- with buffers of a pool --------------------------------------------------------------- */

enum { KIB = 1024, MIB = 1024 * KIB };

static struct buffer_pool pool;
static const struct spool_place recycled = {.mem_max = 64 * KIB, .pool = &pool, .dir = temp_dir};

static void append_long(struct spool *s, size_t len)
{
    for (size_t n; len > 0; len -= n) {
        n = len < 5000 ? len : 5000;
        append(s, n);
    }
}

static void expect_map(struct spool *s, size_t len)
{
    const char *map = spool_map(s);

    assert_non_null(map);
    for (size_t i = 0; i < len; i++) {
        if (map[i] != byte_at(i))
            fail_msg("byte %zu", i);
    }
    assert_int_equal(map[len], 0);
}

/* Where a body of each length lies. */
static void test_length_says_where_a_body_lies(void **state)
{
    static const struct {
        size_t len;
        bool has_buffer, has_file;
    } rows[] = {
        {SPOOL_BUFFER_MIN, false, false},
        {SPOOL_BUFFER_MIN + 1, true, false},
        {64 * KIB, true, false},
        {64 * KIB + 1, true, false},
        {SPOOL_BUFFER_MAX - 1, true, false},
        {SPOOL_BUFFER_MAX, true, false},
        {SPOOL_BUFFER_MAX + 1, false, true},
    };
    struct spool s;

    (void)state;
    buffer_pool_init(&pool, 16 * MIB);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        spool_init(&s, &recycled, NULL);
        append_long(&s, rows[i].len);
        assert_int_equal(spool_finish(&s), 0);
        assert_int_equal(s.buffer != NULL, rows[i].has_buffer);
        assert_int_equal(s.fd >= 0, rows[i].has_file);
        if (s.buffer)
            assert_int_equal(s.buffer->size, rows[i].len); /* what was kept for more is free */
        expect_bytes(&s, rows[i].len);
        expect_map(&s, rows[i].len);
        spool_release(&s);
        assert_true(buffer_pool_is_idle(&pool));
    }
    buffer_pool_release(&pool);
}

/* A body that is known to be too long for a buffer does not take one first. */
static void test_long_body_takes_no_buffer(void **state)
{
    struct spool s;

    (void)state;
    buffer_pool_init(&pool, 16 * MIB);
    spool_init(&s, &recycled, NULL);
    spool_expect(&s, SPOOL_BUFFER_MAX + 1);
    append_long(&s, 100000);
    assert_true(s.fd >= 0);
    assert_int_equal(pool.mapped, 0);
    spool_release(&s);
    buffer_pool_release(&pool);
}

/* The 17th of 16 MiB goes to a file, and comes back to memory when there is room again. */
static void test_full_pool_sends_a_body_to_the_file(void **state)
{
    struct spool_budget budget = {.max = 2 * MIB};
    struct spool s[17];

    (void)state;
    buffer_pool_init(&pool, 16 * MIB);
    for (int i = 0; i < 17; i++) {
        spool_init(&s[i], &recycled, &budget);
        append_long(&s[i], MIB);
        assert_int_equal(s[i].fd >= 0, i == 16);
    }
    assert_int_equal(budget.used, MIB);
    assert_int_equal(pool.mapped, 16 * MIB);
    for (int i = 0; i < 17; i++)
        expect_map(&s[i], MIB);
    spool_release(&s[3]);
    spool_release(&s[16]);
    assert_int_equal(budget.used, 0);
    append_long(&s[16], MIB);
    assert_int_equal(s[16].fd, -1);
    expect_map(&s[16], MIB);
    for (int i = 0; i < 17; i++)
        spool_release(&s[i]);
    buffer_pool_release(&pool);
}

/* Bodies of up to mem_max stay in memory whatever the pool has. */
static void test_full_pool_keeps_short_bodies_in_memory(void **state)
{
    struct spool first, second;

    (void)state;
    buffer_pool_init(&pool, 100 * KIB);
    spool_init(&first, &recycled, NULL);
    spool_init(&second, &recycled, NULL);
    append_long(&first, 60 * KIB);
    assert_int_equal(spool_finish(&first), 0);
    append_long(&second, 30 * KIB);
    assert_true(first.buffer && second.buffer);
    append_long(&second, 34 * KIB);
    assert_true(!second.buffer && second.fd < 0);
    expect_map(&second, 64 * KIB);
    spool_release(&second);
    spool_init(&second, &recycled, NULL);
    append_long(&second, 60 * KIB);
    assert_true(!second.buffer && second.fd < 0);
    append_long(&second, 5 * KIB);
    assert_true(second.fd >= 0);
    expect_bytes(&second, 65 * KIB);
    spool_release(&first);
    spool_release(&second);
    buffer_pool_release(&pool);
}

/* Bytes that are written to spool_room, in pieces of any size, beside others that are copied. */
static void test_room_is_filled_in_place(void **state)
{
    static const size_t lengths[] = {100 * KIB, 300 * KIB + 17, MIB - 1, MIB};
    struct spool s;

    (void)state;
    buffer_pool_init(&pool, 16 * MIB);
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        size_t size, rooms = 0;

        spool_init(&s, &recycled, NULL);
        assert_null(spool_room(&s, lengths[i], &size)); /* nothing has come yet */
        append_long(&s, SPOOL_BUFFER_MIN + 100);
        while (s.len < lengths[i]) {
            uint64_t left = lengths[i] - s.len;
            char *room = spool_room(&s, left, &size);

            if (!room) {
                append_long(&s, left < 700 ? (size_t)left : 700);
                continue;
            }
            assert_true(size > 0 && size <= left);
            size_t n = ++rooms % 3 == 0 ? size : size / 2 + 1;
            for (size_t at = 0; at < n; at++)
                room[at] = byte_at((size_t)s.len + at);
            assert_int_equal(spool_append(&s, room, n), 0);
            assert_ptr_equal(s.mem + s.len, room + n); /* where it was */
            assert_int_equal(s.mem[s.len], 0);
        }
        assert_true(rooms > 1 && s.fd < 0);
        assert_int_equal(spool_finish(&s), 0);
        expect_bytes(&s, lengths[i]);
        expect_map(&s, lengths[i]);
        spool_release(&s);
    }
    buffer_pool_release(&pool);
}

/* A client that has sent 20 KB of an announced MiB has no more of the budget than a few times that. */
static void test_room_grows_with_what_came(void **state)
{
    struct spool s;
    size_t size;

    (void)state;
    buffer_pool_init(&pool, 16 * MIB);
    spool_init(&s, &recycled, NULL);
    append_long(&s, 20000);
    assert_non_null(spool_room(&s, MIB - 20000, &size));
    assert_true(s.buffer->size <= 5 * 20000);
    spool_release(&s);
    buffer_pool_release(&pool);
}

static void test_full_pool_has_no_room(void **state)
{
    struct spool first, second;
    size_t size;

    (void)state;
    buffer_pool_init(&pool, 128 * KIB);
    spool_init(&first, &recycled, NULL);
    spool_init(&second, &recycled, NULL);
    append_long(&first, 100 * KIB);
    append_long(&second, 20 * KIB);
    assert_non_null(second.buffer);
    while (spool_room(&second, MIB, &size)) {
        memset(second.mem + second.len, 0, size);
        assert_int_equal(spool_append(&second, second.mem + second.len, size), 0);
    }
    assert_true(pool.mapped <= 128 * KIB && second.fd < 0);
    append_long(&second, 50 * KIB);
    assert_true(second.fd >= 0);
    spool_release(&first);
    spool_release(&second);
    buffer_pool_release(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spool_empty),
        cmocka_unit_test(test_spool_lengths),
        cmocka_unit_test(test_spool_reuse),
        cmocka_unit_test(test_spool_file_only),
        cmocka_unit_test(test_spool_map_has_no_hole),
        cmocka_unit_test(test_spool_no_file),
        cmocka_unit_test(test_spool_small_pieces_are_gathered),
        cmocka_unit_test(test_spool_mixed_pieces),
        cmocka_unit_test(test_spool_budget_is_shared),
        cmocka_unit_test(test_spool_failure_keeps_the_budget),
        cmocka_unit_test(test_release_closes_the_file),
        cmocka_unit_test(test_failed_write_changes_nothing),
        cmocka_unit_test(test_length_says_where_a_body_lies),
        cmocka_unit_test(test_long_body_takes_no_buffer),
        cmocka_unit_test(test_full_pool_sends_a_body_to_the_file),
        cmocka_unit_test(test_full_pool_keeps_short_bodies_in_memory),
        cmocka_unit_test(test_room_is_filled_in_place),
        cmocka_unit_test(test_room_grows_with_what_came),
        cmocka_unit_test(test_full_pool_has_no_room),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
