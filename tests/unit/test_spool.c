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

#include "base/spool.h"
#include "in_child.h"
#include "temp_dir.h"

enum { MEM_MAX = 100 };

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
    spool_init(&s, MEM_MAX, temp_dir, NULL);
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

            spool_init(&s, MEM_MAX, temp_dir, NULL);
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
    spool_init(&s, MEM_MAX, temp_dir, NULL);
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
    spool_init(&s, 0, temp_dir, NULL); /* nothing in memory at all */
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
    spool_init(&s, 0, temp_dir, NULL);
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
    spool_init(&s, MEM_MAX, "/nonexistent/gcorn", NULL);
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
    spool_init(&s, MEM_MAX, temp_dir, NULL);
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
    spool_init(&s, 0, temp_dir, NULL);
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
    spool_init(&one, MEM_MAX, temp_dir, &budget);
    spool_init(&two, MEM_MAX, temp_dir, &budget);
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
    spool_init(&s, MEM_MAX, "/nonexistent/gcorn", &budget);
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
    spool_init(&s, 0, temp_dir, NULL);
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
    spool_init(&s, 0, temp_dir, &budget);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == 0);
    CHECK(budget.used == 20000);
    CHECK(spool_append(&s, bytes, sizeof(bytes)) == -1 && errno == EFBIG);
    CHECK(budget.used == 20000 && s.len == 20000); /* as before */
    spool_release(&s);
    CHECK(budget.used == 0);
    spool_init(&s, 50000, temp_dir, &budget); /* in memory, until it moves to a file */
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
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
