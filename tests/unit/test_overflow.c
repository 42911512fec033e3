/* SPDX-License-Identifier: MIT
 *
 * overflow: bytes come back in order, the file never grows beyond its limit, and what does not fit is
 * refused whole.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#include "base/overflow.h"
#include "base/spool.h"
#include "base/util.h"
#include "temp_dir.h"

enum { MAX = 1000 };

static char byte_at(uint64_t i)
{
    return (char)(i * 13 + i / 256);
}

static int append(struct overflow *o, size_t len)
{
    char bytes[MAX + 1];
    uint64_t from = atomic_load(&o->written);

    for (size_t i = 0; i < len; i++)
        bytes[i] = byte_at(from + i);
    return overflow_append(o, bytes, len);
}

/* Takes up to size bytes, which are those that come next. */
static size_t take(struct overflow *o, size_t size)
{
    char bytes[MAX];
    uint64_t from = atomic_load(&o->taken);
    ssize_t n = overflow_take(o, bytes, size);

    assert_true(n >= 0);
    for (ssize_t i = 0; i < n; i++)
        assert_int_equal(bytes[i], byte_at(from + (uint64_t)i));
    return (size_t)n;
}

static void test_bytes_come_back_in_order(void **state)
{
    struct overflow o;
    size_t piece = 1;

    (void)state;
    overflow_init(&o, MAX, temp_dir, NULL);
    assert_int_equal(take(&o, 10), 0);
    for (int round = 0; round < 200; round++) {
        while (append(&o, piece) == 0)
            piece = piece * 7 % 331 + 1;
        assert_int_equal(errno, ENOBUFS);
        for (size_t size = 1; overflow_len(&o) > (uint64_t)round; size = size * 5 % 257 + 1)
            assert_true(take(&o, size) > 0);
    }
    overflow_release(&o);
}

static void test_file_is_not_longer_than_its_limit(void **state)
{
    struct overflow o;
    struct stat st;

    (void)state;
    overflow_init(&o, MAX, temp_dir, NULL);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(append(&o, 700), 0);
        while (take(&o, MAX) > 0)
            continue;
    }
    assert_int_equal(fstat(o.fd, &st), 0);
    assert_int_equal(st.st_size, MAX);
    assert_int_equal(st.st_nlink, 0);
    overflow_release(&o);
    assert_int_equal(o.fd, -1);
}

static void test_what_does_not_fit_is_refused_whole(void **state)
{
    struct overflow o;

    (void)state;
    overflow_init(&o, MAX, temp_dir, NULL);
    assert_int_equal(append(&o, MAX + 1), -1);
    assert_int_equal(o.fd, -1); /* no file was needed */
    assert_int_equal(append(&o, MAX), 0);
    assert_int_equal(append(&o, 1), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(overflow_len(&o), MAX);
    overflow_release(&o);
    overflow_init(&o, 0, temp_dir, NULL);
    assert_int_equal(append(&o, 1), -1);
    assert_int_equal(errno, ENOBUFS);
}

static void test_budget_counts_bytes_that_wait(void **state)
{
    struct spool_budget budget = {.max = 500};
    struct overflow o;

    (void)state;
    overflow_init(&o, MAX, temp_dir, &budget);
    assert_int_equal(append(&o, 501), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(append(&o, 400), 0);
    assert_int_equal(budget.used, 400);
    (void)take(&o, 150);
    assert_int_equal(budget.used, 250);
    assert_int_equal(append(&o, 250), 0);
    overflow_release(&o);
    assert_int_equal(budget.used, 0);
}

static void test_missing_directory_is_an_error(void **state)
{
    struct spool_budget budget = {.max = 500};
    struct overflow o;

    (void)state;
    overflow_init(&o, MAX, "/nowhere", &budget);
    assert_int_equal(append(&o, 1), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(budget.used, 0);
    overflow_release(&o);
}

enum { ALL = 300000 };

static void *write_in_thread(void *arg)
{
    struct overflow *o = arg;

    while (atomic_load(&o->written) < ALL)
        (void)append(o, 1 + atomic_load(&o->written) % 90);
    return NULL;
}

static void test_one_thread_writes_while_another_reads(void **state)
{
    struct overflow o;
    pthread_t writer;

    (void)state;
    overflow_init(&o, MAX, temp_dir, NULL);
    assert_int_equal(pthread_create(&writer, NULL, write_in_thread, &o), 0);
    for (uint64_t got = 0; got < ALL;)
        got += take(&o, 1 + got % 130);
    assert_int_equal(pthread_join(writer, NULL), 0);
    overflow_release(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_come_back_in_order),
        cmocka_unit_test(test_file_is_not_longer_than_its_limit),
        cmocka_unit_test(test_what_does_not_fit_is_refused_whole),
        cmocka_unit_test(test_budget_counts_bytes_that_wait),
        cmocka_unit_test(test_missing_directory_is_an_error),
        cmocka_unit_test(test_one_thread_writes_while_another_reads),
    };

    return cmocka_run_group_tests(tests, temp_dir_make, temp_dir_remove);
}
