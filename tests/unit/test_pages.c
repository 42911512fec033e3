/* SPDX-License-Identifier: MIT
 *
 * Pages that a process lets go of, and those that it must keep: written to, they are nowhere else.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "system/code/pages.h"

/* Read-only, and of pages of its own. */
static const _Alignas(65536) char constants[65536] = "as compiled";

static unsigned long resident_pages(void)
{
    unsigned long size, resident;
    FILE *statm = fopen("/proc/self/statm", "r");

    assert_non_null(statm);
    assert_int_equal(fscanf(statm, "%lu %lu", &size, &resident), 2);
    fclose(statm);
    return resident;
}

/* The compiler may not know what is there. */
static const char *volatile text = constants;

static void test_pages_drop_clean(void **state)
{
    unsigned sum = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(constants); i += 4096)
        sum += (unsigned char)text[i];
    assert_true(sum > 0);
    unsigned long before = resident_pages();
    pages_drop_clean();
    assert_true(resident_pages() + sizeof(constants) / 4096 <= before);
    assert_string_equal(text, "as compiled");
}

/* Somebody patches code or constants, as tools do that watch calls. */
static void test_pages_keep_what_was_written(void **state)
{
    (void)state;
    assert_int_equal(mprotect((void *)(uintptr_t)text, 65536, PROT_READ | PROT_WRITE), 0);
    memcpy((char *)(uintptr_t)text, "was patched", 11);
    assert_int_equal(mprotect((void *)(uintptr_t)text, 65536, PROT_READ), 0);
    pages_drop_clean();
    assert_string_equal(text, "was patched");
}

/* By the bits of proc(5): 63 present, 62 swapped, 61 of a file; the others are about other things.
 */
static void test_pages_clean(void **state)
{
    const uint64_t present = UINT64_C(1) << 63, swapped = UINT64_C(1) << 62,
                   of_file = UINT64_C(1) << 61, others = (UINT64_C(1) << 61) - 1;

    (void)state;
    assert_true(pages_is_clean(0));
    assert_true(pages_is_clean(present | of_file | others));
    assert_false(pages_is_clean(present | others));
    assert_false(pages_is_clean(swapped));
    assert_false(pages_is_clean(swapped | others));
    assert_true(pages_is_clean(swapped | of_file)); /* being moved */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pages_drop_clean),
        cmocka_unit_test(test_pages_keep_what_was_written),
        cmocka_unit_test(test_pages_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
