/* SPDX-License-Identifier: MIT
 *
 * The limits of cgroups, and the count of usable cores, under made-up trees of /proc and /sys.
 */
#include "made_up_root.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"
#include "system/host/cgroup.h"
#include "system/host/cores.h"

static void expect(const char *root, int affinity, int cores, const char *how)
{
    char text[200];

    assert_int_equal(cores_under(root, affinity, text, sizeof(text)), cores);
    assert_string_equal(text, how);
}

static void test_no_cgroup(void **state)
{
    expect(*state, 8, 8, "8 cores (affinity 8, no cgroup quota)");
    expect(*state, 1, 1, "1 core (affinity 1, no cgroup quota)");
    expect(*state, 0, 1, "1 core (affinity 0, no cgroup quota)");
}

static void test_v2_own_quota(void **state)
{
    put(*state, "proc/self/cgroup", "0::/app\n");
    put(*state, "sys/fs/cgroup/app/cpu.max", "150000 100000\n");
    expect(*state, 8, 2, "2 cores (affinity 8, cgroup quota 1.5 CPUs)");
    expect(*state, 1, 1, "1 core (affinity 1, cgroup quota 1.5 CPUs)");
}

static void test_v2_parent_is_tighter(void **state)
{
    put(*state, "proc/self/cgroup", "0::/a.slice/b.slice/c.scope\n");
    put(*state, "sys/fs/cgroup/a.slice/b.slice/c.scope/cpu.max", "max 100000\n");
    put(*state, "sys/fs/cgroup/a.slice/b.slice/cpu.max", "400000 100000\n");
    put(*state, "sys/fs/cgroup/a.slice/cpu.max", "100000 100000\n");
    expect(*state, 8, 1, "1 core (affinity 8, cgroup quota 1 CPU)");
}

static void test_v2_container(void **state)
{
    /* The path is the host's, the files are the container's own. */
    put(*state, "proc/self/cgroup", "0::/docker/0123456789abcdef\n");
    put(*state, "sys/fs/cgroup/cpu.max", "20000 100000\n");
    expect(*state, 96, 1, "1 core (affinity 96, cgroup quota 0.2 CPUs)");
    put(*state, "proc/self/cgroup", "0::/../../elsewhere\n");
    expect(*state, 96, 1, "1 core (affinity 96, cgroup quota 0.2 CPUs)");
    put(*state, "proc/self/cgroup", "0::/\n");
    put(*state, "sys/fs/cgroup/cpu.max", "max 100000\n");
    expect(*state, 96, 96, "96 cores (affinity 96, no cgroup quota)");
}

static void test_v1(void **state)
{
    put(*state, "proc/self/cgroup",
        "5:cpuset:/x\n4:cpuacct,cpu:/app\n1:name=systemd:/app\n0::/app\n");
    put(*state, "sys/fs/cgroup/cpuacct,cpu/app/cpu.cfs_quota_us", "250000\n");
    put(*state, "sys/fs/cgroup/cpuacct,cpu/app/cpu.cfs_period_us", "100000\n");
    expect(*state, 8, 3, "3 cores (affinity 8, cgroup quota 2.5 CPUs)");
    /* Preferred when it is there; no quota in the cgroup, one above it. */
    put(*state, "sys/fs/cgroup/cpu/app/cpu.cfs_quota_us", "-1\n");
    put(*state, "sys/fs/cgroup/cpu/app/cpu.cfs_period_us", "100000\n");
    put(*state, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
    put(*state, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "10000\n");
    expect(*state, 8, 5, "5 cores (affinity 8, cgroup quota 5 CPUs)");
}

static void test_v1_other_controllers(void **state)
{
    put(*state, "proc/self/cgroup", "5:cpuset:/x\n4:cpuacct:/x\n");
    put(*state, "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "10000\n");
    put(*state, "sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "10000\n");
    expect(*state, 4, 4, "4 cores (affinity 4, no cgroup quota)");
}

static void test_rubbish(void **state)
{
    static const char *const texts[] = {"",         "x",         "100000", "100000 0", "-1 -1",
                                        "0 100000", "100000 -5", "max",    "1000 x",   "max max"};

    put(*state, "proc/self/cgroup", "\n:\n::\nno colon\n0:/x\n0::/app\n");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        put(*state, "sys/fs/cgroup/app/cpu.max", texts[i]);
        expect(*state, 4, 4, "4 cores (affinity 4, no cgroup quota)");
    }
}

static void expect_limits(const char *root, unsigned long long memory_size,
                          unsigned long long processes)
{
    struct cgroup_limits limits;

    cgroup_read(&limits, root);
    assert_int_equal(limits.memory_size, memory_size);
    assert_int_equal(limits.processes, processes);
}

static void test_v2_memory_and_processes(void **state)
{
    expect_limits(*state, 0, 0);
    put(*state, "proc/self/cgroup", "0::/a.slice/b.scope\n");
    put(*state, "sys/fs/cgroup/a.slice/b.scope/memory.max", "max\n");
    put(*state, "sys/fs/cgroup/a.slice/b.scope/pids.max", "100\n");
    expect_limits(*state, 0, 100);
    put(*state, "sys/fs/cgroup/a.slice/memory.max", "67108864\n");
    put(*state, "sys/fs/cgroup/a.slice/pids.max", "max\n");
    expect_limits(*state, 67108864, 100);
    put(*state, "sys/fs/cgroup/a.slice/pids.max", "50\n");
    expect_limits(*state, 67108864, 50);
    put(*state, "sys/fs/cgroup/a.slice/b.scope/memory.max", "33554432\n"); /* the smaller one */
    put(*state, "sys/fs/cgroup/a.slice/b.scope/pids.max", "20\n");
    expect_limits(*state, 33554432, 20);
}

static void test_v1_memory_and_processes(void **state)
{
    put(*state, "proc/self/cgroup", "8:pids:/app\n4:memory:/app\n0::/\n");
    put(*state, "sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
    put(*state, "sys/fs/cgroup/pids/app/pids.max", "max\n");
    expect_limits(*state, 0, 0);
    put(*state, "sys/fs/cgroup/memory/memory.limit_in_bytes", "1048576\n");
    put(*state, "sys/fs/cgroup/pids/pids.max", "20\n");
    expect_limits(*state, 1048576, 20);
    /* of another controller, or another version */
    put(*state, "proc/self/cgroup", "8:cpuset:/app\n");
    expect_limits(*state, 0, 0);
}

static void test_small_buffer(void **state)
{
    char how[8];

    assert_int_equal(cores_under(*state, 4, how, sizeof(how)), 4);
    assert_string_equal(how, "4 cores");
}

static void test_here(void **state)
{
    char how[200];

    (void)state;
    assert_true(cores_available(how, sizeof(how)) >= 1);
    assert_non_null(strstr(how, "affinity"));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_no_cgroup),
        TEST(test_v2_own_quota),
        TEST(test_v2_parent_is_tighter),
        TEST(test_v2_container),
        TEST(test_v1),
        TEST(test_v1_other_controllers),
        TEST(test_rubbish),
        TEST(test_small_buffer),
        TEST(test_here),
        TEST(test_v2_memory_and_processes),
        TEST(test_v1_memory_and_processes),
    };

    return cmocka_run_group_tests_name("cores", tests, NULL, NULL);
}
