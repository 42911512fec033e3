/* SPDX-License-Identifier: MIT
 *
 * Memory that workers share by a name: which names give which, what fits, and what a killed or
 * broken worker leaves to the others.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "in_child.h"
#include "system/messages/named_memory.h"

enum { SIZE = 64 * 1024 };

static struct named_memory memory;

static int set_up(void **state)
{
    (void)state;
    return named_memory_new(&memory, SIZE - 1); /* rounded up to whole pages */
}

static int tear_down(void **state)
{
    (void)state;
    named_memory_release(&memory);
    assert_int_equal(memory.fd, -1);
    return 0;
}

static void *get(const char *name, size_t size)
{
    bool fresh;

    return named_memory_get(&memory, name, size, &fresh);
}

static void test_same_name_is_the_same_memory(void **state)
{
    bool fresh = false;
    char *a = named_memory_get(&memory, "a", 100, &fresh);

    (void)state;
    assert_true(fresh);
    assert_int_equal((uintptr_t)a % 64, 0);
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], 0);
    char *b = named_memory_get(&memory, "b", 1, &fresh);
    assert_true(fresh && b >= a + 100);
    assert_ptr_equal(named_memory_get(&memory, "a", 100, &fresh), a);
    assert_false(fresh);
}

static void write_in_child(void *arg)
{
    bool fresh;
    char *a = named_memory_get(arg, "a", 10, &fresh);

    CHECK(a && !fresh);
    memcpy(a, "of child", 9);
}

static void test_processes_share_it(void **state)
{
    (void)state;
    char *a = get("a", 10);
    expect_exit(write_in_child, &memory, 0);
    assert_string_equal(a, "of child");
}

static void expect_refused(const char *name, size_t size, int reason)
{
    assert_null(get(name, size));
    assert_int_equal(errno, reason);
}

static void test_wrong_names_and_sizes_are_refused(void **state)
{
    char name[MEMORY_NAME_MAX + 2];

    (void)state;
    memset(name, 'n', sizeof(name));
    name[MEMORY_NAME_MAX + 1] = '\0';
    expect_refused(NULL, 1, EINVAL);
    expect_refused("", 1, EINVAL);
    expect_refused(name, 1, EINVAL);
    expect_refused("a", 0, EINVAL);
    name[MEMORY_NAME_MAX] = '\0';
    assert_non_null(get(name, 8));
    expect_refused(name, 9, EINVAL);
    expect_refused("large", SIZE + 1, ENOSPC);
    expect_refused("larger", SIZE_MAX, ENOSPC);
}

static void test_memory_and_names_run_out(void **state)
{
    char name[16];

    (void)state;
    assert_non_null(get("most", SIZE - 255 * 64));
    for (int i = 1; i < MEMORY_PIECES_MAX; i++) {
        (void)snprintf(name, sizeof(name), "%d", i);
        assert_non_null(get(name, 64));
    }
    expect_refused("one more", 1, ENOSPC);
    assert_non_null(get("most", SIZE - 255 * 64));
    named_memory_release(&memory);
    assert_int_equal(named_memory_new(&memory, SIZE), 0);
    assert_non_null(get("all", SIZE));
    expect_refused("one more", 1, ENOSPC);
}

static void *get_many(void *arg)
{
    for (int i = 0; i < 1000; i++) {
        char name[16];

        (void)snprintf(name, sizeof(name), "%d", i % 50);
        char *own = get(name, 100);
        if (!own || (arg && strcmp(name, "0") == 0 && own != arg))
            abort();
    }
    return NULL;
}

static void test_threads_get_the_same(void **state)
{
    pthread_t threads[3];
    char *zero = get("0", 100);

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, get_many, zero), 0);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
}

/* Killed at any point of adding, a process holds up no other, and what it has added is whole. */
static void test_killed_adders_leave_a_good_table(void **state)
{
    bool fresh;
    int status;

    (void)state;
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork();

        for (int n = 0; pid == 0; n++) {
            char name[16];

            (void)snprintf(name, sizeof(name), "%d", (i + n) % 40);
            (void)named_memory_get(&memory, name, 100, &fresh);
        }
        assert_true(pid > 0);
        (void)usleep((useconds_t)(i % 50) * 20);
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_non_null(get("mine", 100));
    }
    char *first = get("0", 100), *mine = get("mine", 100);
    assert_true(first && first != mine);
}

static void test_damaged_table_is_refused(void **state)
{
    (void)state;
    assert_non_null(get("a", 100));
    char *table = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
    assert_true(table != MAP_FAILED);
    memset(strstr(table + 24, "a") + 72, 0xff, 8); /* its offset */
    expect_refused("a", 100, EPROTO);
    memset(table + 12, 0xff, 4); /* the count */
    expect_refused("new", 100, ENOSPC);
    (void)munmap(table, 4096);
}

static void test_other_master_takes_it_over(void **state)
{
    struct named_memory next;
    bool fresh;
    int ends[2];

    (void)state;
    memcpy(get("a", 10), "kept", 5);
    assert_int_equal(named_memory_adopt(&next, dup(memory.fd)), 0);
    assert_int_equal(next.size, SIZE);
    assert_string_equal(named_memory_get(&next, "a", 10, &fresh), "kept");
    assert_false(fresh);
    named_memory_release(&next);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(named_memory_adopt(&next, ends[0]), -1);
    assert_int_equal(errno, EPROTO);
    assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    (void)close(ends[1]);
    assert_int_equal(pwrite(memory.fd, "G", 1, 0), 1);
    assert_int_equal(named_memory_adopt(&next, dup(memory.fd)), -1);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_same_name_is_the_same_memory),
        ROW(test_processes_share_it),
        ROW(test_wrong_names_and_sizes_are_refused),
        ROW(test_memory_and_names_run_out),
        ROW(test_threads_get_the_same),
        ROW(test_killed_adders_leave_a_good_table),
        ROW(test_damaged_table_is_refused),
        ROW(test_other_master_takes_it_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
