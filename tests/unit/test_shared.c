/* SPDX-License-Identifier: MIT
 *
 * Memory of several processes: which of them can write it, and copies of it while it is written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/util.h"
#include "system/ipc/shared.h"

enum { SIZE = 3 * 4096 };

static struct shared memory;

static int set_up(void **state)
{
    (void)state;
    return shared_new(&memory, "gcorn-test", SIZE);
}

static int tear_down(void **state)
{
    (void)state;
    shared_release(&memory);
    return 0;
}

static void test_size_and_flags_are_fixed(void **state)
{
    (void)state;
    assert_true(fcntl(memory.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(ftruncate(memory.fd, 0), -1);
    assert_int_equal(ftruncate(memory.fd, 1 << 20), -1);
    assert_int_equal(fcntl(memory.fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
}

static void test_only_inherited_mappings_write(void **state)
{
    int status;

    (void)state;
    if (!memory.is_sealed)
        skip(); /* Linux before 5.1 */
    assert_int_equal(pwrite(memory.fd, "x", 1, 0), -1);
    assert_true(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0) == MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0) {
        memory.map[0] = 'y';
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_int_equal(memory.map[0], 'y');
}

static void test_read_only_is_for_good(void **state)
{
    int status;

    (void)state;
    if (!memory.is_sealed)
        skip();
    memory.map[SIZE - 1] = 'z';
    pid_t pid = fork();
    if (pid == 0) {
        bool is_right = shared_make_read_only(&memory) == 0 && memory.fd == -1 &&
                        memory.map[SIZE - 1] == 'z' &&
                        mprotect(memory.map, SIZE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES;
        _exit(is_right ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void test_release_of_nothing(void **state)
{
    struct shared nothing = {.fd = -1};

    (void)state;
    shared_release(&nothing);
    assert_int_equal(shared_new(&nothing, "gcorn-test", SIZE_MAX / 2), -1);
    shared_release(&nothing);
}

/* ---- copies ------------------------------------------------------------------------------ */

enum { WORDS = 64, ROUNDS = 200000 };

static _Atomic uint64_t sequence;
static _Atomic bool is_over;

/* All words the same, between two steps of the sequence. */
static void *write_on(void *unused)
{
    uint64_t words[WORDS], number = 0;

    for (int i = 1; i <= ROUNDS; i++) {
        for (int j = 0; j < WORDS; j++)
            words[j] = (uint64_t)i;
        atomic_store_explicit(&sequence, ++number, memory_order_relaxed);
        shared_store(memory.map, words, sizeof(words));
        atomic_store_explicit(&sequence, ++number, memory_order_release);
    }
    atomic_store(&is_over, true);
    return unused;
}

static bool read_whole(uint64_t words[WORDS])
{
    uint64_t before = atomic_load_explicit(&sequence, memory_order_acquire);

    if (before % 2 == 1)
        return false;
    shared_load(words, memory.map, WORDS * sizeof(words[0]));
    return atomic_load_explicit(&sequence, memory_order_relaxed) == before;
}

static void test_copy_between_two_sequences_is_whole(void **state)
{
    uint64_t words[WORDS];
    pthread_t writer;

    (void)state;
    atomic_store(&is_over, false);
    assert_int_equal(pthread_create(&writer, NULL, write_on, NULL), 0);
    while (!atomic_load(&is_over)) {
        for (int j = 1; read_whole(words) && j < WORDS; j++)
            assert_true(words[j] == words[0]);
    }
    (void)pthread_join(writer, NULL);
    assert_true(read_whole(words));
    assert_int_equal(words[WORDS - 1], ROUNDS);
    shared_zero(memory.map, sizeof(words));
    assert_true(read_whole(words));
    assert_int_equal(words[WORDS - 1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_size_and_flags_are_fixed, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_only_inherited_mappings_write, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_read_only_is_for_good, set_up, tear_down),
        cmocka_unit_test(test_release_of_nothing),
        cmocka_unit_test_setup_teardown(test_copy_between_two_sequences_is_whole, set_up,
                                        tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
