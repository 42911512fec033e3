/* SPDX-License-Identifier: MIT
 *
 * Whose death the kernel's counts explain, under made-up trees of /proc, /sys and /dev.
 */
#include "made_up_root.h"

#include "system/host/oom.h"

enum { START_MS = 1000000, VICTIM = 4711 };

static void expect(struct oom *o, uint64_t now, enum oom_answer wanted, const char *wanted_how)
{
    char how[512];

    assert_int_equal(oom_explains(o, VICTIM, now, how, sizeof(how)), wanted);
    if (wanted_how[0] == '\0')
        assert_string_equal(how, "");
    else if (!strstr(how, wanted_how))
        fail_msg("\"%s\" is not in \"%s\"", wanted_how, how);
}

static void put_count(const char *root, const char *path, unsigned count)
{
    char text[128];

    (void)snprintf(text, sizeof(text),
                   "oom_kill_disable 7\noom 99\noom_kill %u\noom_group_kill 8\n", count);
    put(root, path, text);
}

#define V2 "sys/fs/cgroup/app/memory.events"

static void open_v2(struct oom *o, const char *root, unsigned count)
{
    put(root, "proc/self/cgroup", "0::/app\n");
    put_count(root, V2, count);
    oom_init(o, root, START_MS);
}

static void test_cgroup_v2(void **state)
{
    struct oom o;

    open_v2(&o, *state, 3);
    expect(&o, START_MS, OOM_NO, "");
    put_count(*state, V2, 4);
    expect(&o, START_MS, OOM_YES, "/sys/fs/cgroup/app: oom_kill 3 -> 4");
    oom_release(&o);
}

static void test_cgroup_v1(void **state)
{
    struct oom o;

    put(*state, "proc/self/cgroup", "5:cpuset:/x\n4:memory:/app/w\n0::/other\n");
    put_count(*state, "sys/fs/cgroup/memory/app/w/memory.oom_control", 0);
    put_count(*state, "sys/fs/cgroup/memory/app/memory.oom_control", 5);
    oom_init(&o, *state, START_MS);
    put_count(*state, "sys/fs/cgroup/memory/app/memory.oom_control", 6); /* another's */
    expect(&o, START_MS, OOM_NO, "");
    put_count(*state, "sys/fs/cgroup/memory/app/w/memory.oom_control", 1);
    expect(&o, START_MS, OOM_YES, "/memory/app/w: oom_kill 0 -> 1");
    oom_release(&o);
}

static void test_a_containers_cgroup_is_the_mounts_root(void **state)
{
    struct oom o;

    put(*state, "proc/self/cgroup", "0::/docker/0123\n");
    put_count(*state, "sys/fs/cgroup/memory.events", 0);
    oom_init(&o, *state, START_MS);
    put_count(*state, "sys/fs/cgroup/memory.events", 1);
    expect(&o, START_MS, OOM_YES, "/sys/fs/cgroup: oom_kill 0 -> 1");
    oom_release(&o);
}

static void test_each_kill_explains_one_death(void **state)
{
    struct oom o;

    open_v2(&o, *state, 0);
    put_count(*state, V2, 2);
    expect(&o, START_MS, OOM_YES, "oom_kill 0 -> 2");
    expect(&o, START_MS, OOM_YES, "oom_kill 1 -> 2");
    expect(&o, START_MS, OOM_NO, "");
    oom_release(&o);
}

/* A child of the application was killed an hour ago. */
static void test_an_old_kill_explains_nothing(void **state)
{
    struct oom o;

    open_v2(&o, *state, 0);
    put_count(*state, V2, 1);
    for (unsigned s = 1; s <= 3600; s++)
        oom_tick(&o, START_MS + 1000 * s);
    expect(&o, START_MS + 3600 * 1000, OOM_NO, "");
    oom_release(&o);
}

/* The count is there before the process is gone, and a tick may come in between. */
static void test_a_tick_before_the_death_spoils_nothing(void **state)
{
    for (unsigned at = 1; at <= 30; at++) {
        struct oom o;

        open_v2(&o, *state, 0);
        for (unsigned s = 1; s <= 30; s++) {
            if (s == at)
                put_count(*state, V2, 1);
            oom_tick(&o, START_MS + 1000 * s);
            if (s == at + 9)
                expect(&o, START_MS + 1000 * s, OOM_YES, "oom_kill 0 -> 1");
        }
        oom_release(&o);
    }
}

static void test_without_a_cgroup_the_machine_counts(void **state)
{
    struct oom o;

    put(*state, "proc/self/cgroup", "0::/\n");
    put_count(*state, "proc/vmstat", 1);
    oom_init(&o, *state, START_MS);
    expect(&o, START_MS, OOM_NO, "");
    put_count(*state, "proc/vmstat", 2);
    expect(&o, START_MS, OOM_YES, "some process of this machine: oom_kill 1 -> 2");
    oom_release(&o);
}

static void put_log(const char *root, unsigned long long ms, int pid)
{
    char text[512];

    (void)snprintf(text, sizeof(text),
                   "6,1,100,-;memory is fine\n"
                   "3,1234,%llu000,-;Out of memory: Killed process %d (gcorn) total-vm:1kB\n"
                   " SUBSYSTEM=none\n",
                   ms, pid);
    put(root, "dev/kmsg", text);
}

static void test_the_kernels_log_names_the_process(void **state)
{
    char *ns = xasprintf("%s/proc/self/ns/pid", (const char *)*state);
    struct oom o;

    put(*state, "proc/self/cgroup", "0::/\n");
    put_count(*state, "proc/vmstat", 1);
    put(*state, "proc/self/ns/other", "");
    put_log(*state, START_MS, 471);
    assert_int_equal(symlink("pid:[4026531836]", ns), 0);
    oom_init(&o, *state, START_MS);
    put_count(*state, "proc/vmstat", 2); /* another process was: the log knows better */
    expect(&o, START_MS, OOM_NO, "");
    put_log(*state, START_MS, VICTIM);
    expect(&o, START_MS + 5000, OOM_YES, "the kernel's log names it");
    expect(&o, START_MS + 3600 * 1000, OOM_NO, ""); /* the number was another's, an hour ago */
    oom_release(&o);

    assert_int_equal(unlink(ns), 0); /* in a container its pids are not ours */
    assert_int_equal(symlink("pid:[4026532000]", ns), 0);
    oom_init(&o, *state, START_MS);
    expect(&o, START_MS, OOM_NO, "");
    put_count(*state, "proc/vmstat", 3);
    expect(&o, START_MS, OOM_YES, "some process of this machine: oom_kill 2 -> 3");
    oom_release(&o);
    free(ns);
}

static void test_a_system_that_does_not_count(void **state)
{
    struct oom o;

    oom_init(&o, *state, START_MS);
    expect(&o, START_MS, OOM_UNKNOWN, "");
    oom_tick(&o, START_MS + 20000);
    oom_release(&o);
    put(*state, "proc/self/cgroup", "0::/app\n"); /* an old kernel */
    put(*state, V2, "low 0\nhigh 0\nmax 0\noom 0\n");
    put(*state, "proc/vmstat", "nr_free_pages 1\n");
    oom_init(&o, *state, START_MS);
    expect(&o, START_MS, OOM_UNKNOWN, "");
    oom_release(&o);
}

static void test_score(void **state)
{
    (void)state;
    assert_int_equal(oom_score_above(0), 50);
    assert_int_equal(oom_score_above(-1000), -950);
    assert_int_equal(oom_score_above(950), 1000);
    assert_int_equal(oom_score_above(951), 1000);
    assert_int_equal(oom_score_above(1000), 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define UNDER_ROOT(f) cmocka_unit_test_setup_teardown(f, make_root, remove_root)
        UNDER_ROOT(test_cgroup_v2),
        UNDER_ROOT(test_cgroup_v1),
        UNDER_ROOT(test_a_containers_cgroup_is_the_mounts_root),
        UNDER_ROOT(test_each_kill_explains_one_death),
        UNDER_ROOT(test_an_old_kill_explains_nothing),
        UNDER_ROOT(test_a_tick_before_the_death_spoils_nothing),
        UNDER_ROOT(test_without_a_cgroup_the_machine_counts),
        UNDER_ROOT(test_the_kernels_log_names_the_process),
        UNDER_ROOT(test_a_system_that_does_not_count),
        cmocka_unit_test(test_score),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
