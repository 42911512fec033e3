/* SPDX-License-Identifier: MIT
 *
 * The arena: alignment, no two pieces overlap, reset keeps one ordinary block.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

static void test_arena_nothing(void **state)
{
    struct arena a = {0};

    (void)state;
    arena_reset(&a);
    arena_release(&a);
    arena_init(&a);
    arena_release(&a);
    assert_null(a.block);
}

/* Sizes around those of a block; each piece is filled, and all are still whole at the end. */
static void test_arena_pieces(void **state)
{
    static const size_t sizes[] = {0,    1,    15,   16,   17,    100,   1000, 4000, 4050,
                                   4063, 4064, 4065, 4080, 4081,  4096,  4097, 5,    20000,
                                   3,    0,    8,    1,    65536, 40000, 31};
    enum { COUNT = sizeof(sizes) / sizeof(sizes[0]) };
    struct arena a = {0};

    (void)state;
    for (int round = 0; round < 3; round++) {
        unsigned char *pieces[COUNT];

        for (size_t i = 0; i < COUNT; i++) {
            pieces[i] = arena_alloc(&a, sizes[i]);
            assert_non_null(pieces[i]);
            assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
            memset(pieces[i], (int)i + 1, sizes[i]);
        }
        for (size_t i = 0; i < COUNT; i++) {
            for (size_t k = 0; k < sizes[i]; k++)
                assert_int_equal(pieces[i][k], i + 1);
        }
        arena_reset(&a);
    }
    arena_release(&a);
    assert_null(a.block);
}

/* Many small pieces, over many blocks. */
static void test_arena_many(void **state)
{
    struct arena a = {0};
    int *numbers[5000];

    (void)state;
    for (int i = 0; i < 5000; i++) {
        numbers[i] = arena_alloc(&a, sizeof(int));
        *numbers[i] = i;
    }
    for (int i = 0; i < 5000; i++)
        assert_int_equal(*numbers[i], i);
    arena_release(&a);
}

static void test_arena_reset(void **state)
{
    struct arena a = {0};

    (void)state;
    const void *first = arena_alloc(&a, 10);
    (void)arena_alloc(&a, 10000);
    (void)arena_alloc(&a, 3000);
    arena_reset(&a);
    assert_ptr_equal(arena_alloc(&a, 10), first); /* the same block anew */
    arena_release(&a);

    /* but a large one is not kept for ever */
    (void)arena_alloc(&a, 100000);
    arena_reset(&a);
    assert_null(a.block);
    (void)arena_alloc(&a, 1);
    arena_release(&a);
}

static void test_arena_texts(void **state)
{
    struct arena a = {0};

    (void)state;
    char text[] = "hello";
    const char *copy = arena_strdup(&a, text);
    const char *part = arena_strndup(&a, text, 2);
    const char *none = arena_strndup(&a, text, 0);
    memset(text, '#', 5);
    assert_string_equal(copy, "hello");
    assert_string_equal(part, "he");
    assert_string_equal(none, "");
    assert_string_equal(arena_printf(&a, "%d %s", 42, "x"), "42 x");
    const char *wide = arena_printf(&a, "%09000d", 5);
    assert_int_equal(strlen(wide), 9000);
    assert_int_equal(wide[8999], '5');
    arena_release(&a);
}

static void test_arena_fixed(void **state)
{
    static _Alignas(max_align_t) char memory[4096];
    struct arena a;

    (void)state;
    for (int i = 0; i < 2; i++) { /* used again by a second init */
        arena_init_fixed(&a, memory, sizeof(memory));
        char *first = arena_strdup(&a, "text");
        char *second = arena_alloc(&a, 1000);

        assert_true(first > memory && second > first);
        assert_true(second + 1000 <= memory + sizeof(memory));
        assert_string_equal(first, "text");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arena_fixed),  cmocka_unit_test(test_arena_nothing),
        cmocka_unit_test(test_arena_pieces), cmocka_unit_test(test_arena_many),
        cmocka_unit_test(test_arena_reset),  cmocka_unit_test(test_arena_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
