/* SPDX-License-Identifier: MIT
 *
 * The budget is never passed, a buffer keeps its pages for the next owner, and what is not used goes
 * back to the system.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/buffer_pool.h"

enum { PAGE = 4096, BUFFERS = 4, SIZE = 16 * PAGE, MAX = BUFFERS * SIZE };

/* The bytes of a mapping that take memory. */
static size_t resident(const char *data, size_t size)
{
    unsigned char pages[SIZE / PAGE + 1] = {0};
    size_t count = 0;

    assert_int_equal(mincore((void *)(uintptr_t)data, size, pages), 0);
    for (size_t i = 0; i < size / PAGE; i++)
        count += pages[i] & 1;
    return count * PAGE;
}

static void test_no_budget_gives_no_buffer(void **state)
{
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, 0);
    errno = 0;
    assert_null(buffer_take(&p, 1));
    assert_int_equal(errno, ENOBUFS);
    buffer_pool_trim(&p);
    assert_true(buffer_pool_is_idle(&p));
    buffer_pool_release(&p);
}

static void test_budget_is_reached_exactly(void **state)
{
    struct buffer *b[BUFFERS];
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    for (int i = 0; i < BUFFERS; i++)
        assert_non_null(b[i] = buffer_take(&p, SIZE));
    assert_int_equal(p.mapped, MAX);
    assert_null(buffer_take(&p, 1));
    assert_int_equal(buffer_resize(&p, b[0], SIZE + 1), -1);
    assert_int_equal(errno, ENOBUFS);
    assert_int_equal(b[0]->size, SIZE);
    buffer_give(&p, b[3]);
    assert_non_null(b[3] = buffer_take(&p, SIZE));
    for (int i = 0; i < BUFFERS; i++)
        buffer_give(&p, b[i]);
    assert_true(buffer_pool_is_idle(&p));
    assert_null(buffer_take(&p, MAX + 1));
    buffer_pool_release(&p);
}

/* Each byte of it, and one more for a NUL. */
static void test_buffer_has_all_its_bytes(void **state)
{
    struct buffer_pool p;
    struct buffer *b;

    (void)state;
    buffer_pool_init(&p, MAX);
    assert_non_null(b = buffer_take(&p, SIZE));
    memset(b->data, 'x', SIZE);
    b->data[SIZE] = '\0';
    assert_int_equal(strlen(b->data), SIZE);
    buffer_give(&p, b);
    buffer_pool_release(&p);
}

static void test_given_buffer_comes_back_with_its_pages(void **state)
{
    struct buffer *first, *second;
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    first = buffer_take(&p, SIZE);
    second = buffer_take(&p, SIZE);
    memset(first->data, 1, SIZE);
    const char *data = first->data;
    buffer_give(&p, second);
    buffer_give(&p, first); /* given back last: its bytes are in the cache */
    assert_ptr_equal(buffer_take(&p, 1), first);
    assert_ptr_equal(first->data, data);
    assert_int_equal(resident(data, SIZE), SIZE);
    assert_ptr_equal(buffer_take(&p, SIZE), second);
    buffer_give(&p, first);
    buffer_give(&p, second);
    buffer_pool_release(&p);
}

/* A client that sends little takes little, whatever it announces. */
static void test_untouched_pages_take_no_memory(void **state)
{
    struct buffer_pool p;
    struct buffer *b;

    (void)state;
    buffer_pool_init(&p, MAX);
    b = buffer_take(&p, SIZE);
    b->data[0] = 1;
    assert_int_equal(resident(b->data, SIZE), PAGE);
    buffer_give(&p, b);
    buffer_pool_release(&p);
}

static void test_resize_keeps_the_bytes(void **state)
{
    struct buffer_pool p;
    struct buffer *b;

    (void)state;
    buffer_pool_init(&p, MAX);
    b = buffer_take(&p, PAGE);
    for (size_t size = PAGE; size <= SIZE; size += PAGE) {
        assert_int_equal(buffer_resize(&p, b, size), 0);
        memset(b->data + size - PAGE, (int)(size / PAGE), PAGE);
    }
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(b->data[i], i / PAGE + 1);
    const char *data = b->data;
    assert_int_equal(buffer_resize(&p, b, 10), 0);
    assert_ptr_equal(b->data, data);
    assert_int_equal(b->size, 10);
    buffer_give(&p, b);
    buffer_pool_release(&p);
}

/* Free buffers give way, the one that was free longest first; those in use keep their bytes. */
static void test_free_buffers_give_way(void **state)
{
    struct buffer *b[BUFFERS], *large;
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    for (int i = 0; i < BUFFERS; i++)
        b[i] = buffer_take(&p, SIZE);
    memset(b[0]->data, 7, SIZE);
    buffer_give(&p, b[1]);
    buffer_give(&p, b[2]);
    buffer_give(&p, b[3]);
    large = buffer_take(&p, 2 * SIZE); /* b[3], and what b[1] had */
    assert_ptr_equal(large, b[3]);
    assert_int_equal(p.mapped, MAX);
    assert_ptr_equal(p.first, b[2]);
    for (size_t i = 0; i < SIZE; i++)
        assert_int_equal(b[0]->data[i], 7);
    buffer_give(&p, large);
    buffer_give(&p, b[0]);
    buffer_pool_release(&p);
}

/* Short bodies in buffers that were longer hold no more of the budget than they need. */
static void test_tails_in_use_give_way(void **state)
{
    struct buffer *b[BUFFERS], *one;
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    for (int i = 0; i < BUFFERS; i++) {
        b[i] = buffer_take(&p, SIZE);
        memset(b[i]->data, i + 1, SIZE);
        assert_int_equal(buffer_resize(&p, b[i], 2 * PAGE), 0);
    }
    assert_int_equal(p.mapped, MAX); /* they keep their pages as long as no other needs them */
    const char *data = b[3]->data;
    assert_non_null(one = buffer_take(&p, SIZE));
    assert_true(p.mapped <= MAX);
    assert_ptr_equal(b[3]->data, data);
    for (int i = 0; i < BUFFERS; i++) {
        for (size_t at = 0; at < 2 * PAGE; at++)
            assert_int_equal(b[i]->data[at], i + 1);
    }
    for (int i = 0; i < BUFFERS; i++)
        buffer_give(&p, b[i]);
    buffer_give(&p, one);
    buffer_pool_release(&p);
}

/* Its own tail does not count as room for it twice. */
static void test_growing_never_passes_the_budget(void **state)
{
    struct buffer *b[BUFFERS];
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    for (int i = 0; i < BUFFERS; i++)
        b[i] = buffer_take(&p, SIZE);
    for (int i = 0; i < BUFFERS; i++)
        assert_int_equal(buffer_resize(&p, b[i], PAGE), 0);
    for (size_t size = PAGE; buffer_resize(&p, b[0], size) == 0; size += PAGE)
        assert_true(p.mapped <= MAX);
    assert_int_equal(b[0]->size, MAX - (BUFFERS - 1) * PAGE);
    assert_int_equal(p.mapped, MAX);
    for (int i = 0; i < BUFFERS; i++)
        buffer_give(&p, b[i]);
    buffer_pool_release(&p);
}

static void test_trim_unmaps_what_was_not_used(void **state)
{
    struct buffer *idle, *busy;
    struct buffer_pool p;

    (void)state;
    buffer_pool_init(&p, MAX);
    idle = buffer_take(&p, SIZE);
    busy = buffer_take(&p, SIZE);
    memset(busy->data, 1, SIZE);
    assert_int_equal(buffer_resize(&p, busy, PAGE), 0);
    buffer_give(&p, idle);
    buffer_pool_trim(&p);
    assert_int_equal(p.mapped, 2 * SIZE); /* it was used since the call before */
    buffer_pool_trim(&p);
    assert_int_equal(p.mapped, PAGE); /* of the one in use, without its tail */
    assert_ptr_equal(p.first, busy);
    assert_int_equal(busy->data[PAGE - 1], 1);
    buffer_give(&p, busy);
    buffer_pool_trim(&p);
    assert_int_equal(p.mapped, PAGE);
    buffer_pool_trim(&p);
    assert_int_equal(p.mapped, 0);
    assert_null(p.first);
    buffer_pool_release(&p);
}

static void test_trim_leaves_what_is_used_again(void **state)
{
    struct buffer_pool p;
    struct buffer *b;

    (void)state;
    buffer_pool_init(&p, MAX);
    b = buffer_take(&p, SIZE);
    for (int i = 0; i < 5; i++) {
        buffer_give(&p, b);
        buffer_pool_trim(&p);
        assert_ptr_equal(buffer_take(&p, SIZE), b);
        assert_int_equal(p.mapped, SIZE);
    }
    buffer_give(&p, b);
    buffer_pool_release(&p);
}

/* Threads whose buffers others cut and unmap: each finds its own bytes. */
static void *use_buffers(void *arg)
{
    struct buffer_pool *p = arg;

    for (size_t i = 0; i < 2000; i++) {
        struct buffer *b = buffer_take(p, PAGE * (1 + i % 3));
        char mark = (char)(uintptr_t)b ^ (char)i;

        if (!b)
            continue;
        memset(b->data, mark, b->size);
        (void)buffer_resize(p, b, PAGE * (1 + i % 16));
        for (size_t at = 0; at < PAGE; at += 512) {
            if (b->data[at] != mark)
                return b;
        }
        buffer_give(p, b);
        if (i % 50 == 0)
            buffer_pool_trim(p);
    }
    return NULL;
}

static void test_threads_share_a_pool(void **state)
{
    pthread_t threads[8];
    struct buffer_pool p;
    void *failed;

    (void)state;
    buffer_pool_init(&p, MAX);
    for (int i = 0; i < 8; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, use_buffers, &p), 0);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_true(buffer_pool_is_idle(&p) && p.mapped <= MAX);
    buffer_pool_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_budget_gives_no_buffer),
        cmocka_unit_test(test_budget_is_reached_exactly),
        cmocka_unit_test(test_buffer_has_all_its_bytes),
        cmocka_unit_test(test_given_buffer_comes_back_with_its_pages),
        cmocka_unit_test(test_untouched_pages_take_no_memory),
        cmocka_unit_test(test_resize_keeps_the_bytes),
        cmocka_unit_test(test_free_buffers_give_way),
        cmocka_unit_test(test_tails_in_use_give_way),
        cmocka_unit_test(test_growing_never_passes_the_budget),
        cmocka_unit_test(test_trim_unmaps_what_was_not_used),
        cmocka_unit_test(test_trim_leaves_what_is_used_again),
        cmocka_unit_test(test_threads_share_a_pool),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
