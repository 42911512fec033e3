/* SPDX-License-Identifier: MIT
 *
 * What /proc says of processes, of this one and of made-up texts.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>

#include "in_child.h"
#include "system/process/procfs.h"

static void test_memory_is_counted_in_bytes(void **state)
{
    const size_t size = 32 << 20;
    uint64_t private_before, private_after, resident_before, resident_after;

    (void)state;
    assert_int_equal(procfs_private_memory(getpid(), &private_before), 0);
    assert_int_equal(procfs_resident_memory(getpid(), &resident_before), 0);
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    memset(map, 1, size);
    assert_int_equal(procfs_private_memory(getpid(), &private_after), 0);
    assert_int_equal(procfs_resident_memory(getpid(), &resident_after), 0);
    assert_in_range(private_after - private_before, size / 4 * 3, 4 * size);
    assert_in_range(resident_after - resident_before, size / 4 * 3, 4 * size);
    assert_int_equal(munmap(map, size), 0);
}

static void test_shared_memory_is_not_private(void **state)
{
    const size_t size = 32 << 20;
    uint64_t private_before, private_after, resident_before, resident_after;

    (void)state;
    assert_int_equal(procfs_private_memory(getpid(), &private_before), 0);
    assert_int_equal(procfs_resident_memory(getpid(), &resident_before), 0);
    char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    memset(map, 1, size);
    assert_int_equal(procfs_private_memory(getpid(), &private_after), 0);
    assert_int_equal(procfs_resident_memory(getpid(), &resident_after), 0);
    assert_true(private_after < private_before + size / 4);
    assert_true(resident_after >= resident_before + size / 4 * 3);
    assert_int_equal(munmap(map, size), 0);
}

static void test_absent_process_is_an_error(void **state)
{
    struct procfs_pages pages;
    uint64_t size = 7;

    (void)state;
    assert_int_equal(procfs_pages(INT32_MAX, &pages), -1);
    assert_int_equal(errno, ENOENT);
    assert_int_equal(procfs_private_memory(INT32_MAX, &size), -1);
    assert_int_equal(procfs_resident_memory(INT32_MAX, &size), -1);
    assert_int_equal(size, 7);
    assert_false(procfs_dumps_core(INT32_MAX));
    assert_int_equal(procfs_tracer(INT32_MAX), 0);
}

static void test_untraced_process_has_no_tracer(void **state)
{
    (void)state;
    assert_false(procfs_dumps_core(getpid()));
    assert_int_equal(procfs_tracer(getpid()), 0);
}

static void be_traced(void *arg)
{
    (void)arg;
    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) /* a tracer of the tests, such as strace */
        _exit(77);
    CHECK(procfs_tracer(getpid()) == getppid());
}

static void test_tracer_is_named(void **state)
{
    int status = in_child(be_traced, NULL);

    (void)state;
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_number_is_found_by_its_whole_key(void **state)
{
    static const char status[] = "Name:\tTracerPid: 9\nXTracerPid:\t5\nTracerPid:\t4711\nUid:\t1";

    (void)state;
    assert_int_equal(procfs_find_number(status, "TracerPid"), 4711);
    assert_int_equal(procfs_find_number(status, "Uid"), 1);
    assert_int_equal(procfs_find_number(status, "Tracer"), 0); /* no such key */
    assert_int_equal(procfs_find_number("", "Uid"), 0);
    assert_int_equal(procfs_find_number("Uid", "Uid"), 0); /* cut before the number */
    assert_int_equal(procfs_find_number("Uid:", "Uid"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_counted_in_bytes),
        cmocka_unit_test(test_shared_memory_is_not_private),
        cmocka_unit_test(test_absent_process_is_an_error),
        cmocka_unit_test(test_untraced_process_has_no_tracer),
        cmocka_unit_test(test_tracer_is_named),
        cmocka_unit_test(test_number_is_found_by_its_whole_key),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
