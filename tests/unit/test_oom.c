/* SPDX-License-Identifier: MIT
 *
 * Whose death the kernel's counts explain, under made-up trees of /proc and /sys.
 */
#include "made_up_root.h"

#include "system/host/oom.h"

enum { START_MS = 1000000 };

static void expect(struct oom *o, enum oom_answer wanted, const char *wanted_how)
{
    char how[512];

    assert_int_equal(oom_explains(o, how, sizeof(how)), wanted);
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
    expect(&o, OOM_NO, "");
    put_count(*state, V2, 4);
    expect(&o, OOM_YES, "/sys/fs/cgroup/app: oom_kill 3 -> 4");
    oom_release(&o);
}

static void test_a_containers_cgroup_is_the_mounts_root(void **state)
{
    struct oom o;

    put(*state, "proc/self/cgroup", "0::/docker/0123\n");
    put_count(*state, "sys/fs/cgroup/memory.events", 0);
    oom_init(&o, *state, START_MS);
    put_count(*state, "sys/fs/cgroup/memory.events", 1);
    expect(&o, OOM_YES, "/sys/fs/cgroup: oom_kill 0 -> 1");
    oom_release(&o);
}

static void test_each_kill_explains_one_death(void **state)
{
    struct oom o;

    open_v2(&o, *state, 0);
    put_count(*state, V2, 2);
    expect(&o, OOM_YES, "oom_kill 0 -> 2");
    expect(&o, OOM_YES, "oom_kill 1 -> 2");
    expect(&o, OOM_NO, "");
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
    expect(&o, OOM_NO, "");
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
                expect(&o, OOM_YES, "oom_kill 0 -> 1");
        }
        oom_release(&o);
    }
}

/* No kill that the master cannot be sure of is called one: version 1, and the whole machine. */
static void test_other_counters_are_not_asked(void **state)
{
    struct oom o;

    put(*state, "proc/self/cgroup", "4:memory:/app\n0::/\n");
    put_count(*state, "sys/fs/cgroup/memory/app/memory.oom_control", 1);
    put_count(*state, "proc/vmstat", 1);
    oom_init(&o, *state, START_MS);
    put_count(*state, "sys/fs/cgroup/memory/app/memory.oom_control", 2);
    put_count(*state, "proc/vmstat", 2);
    expect(&o, OOM_UNKNOWN, "");
    oom_release(&o);
}

static void test_a_counter_that_goes_away(void **state)
{
    struct oom o;

    open_v2(&o, *state, 3);
    char *path = xasprintf("%s/" V2, (const char *)*state);
    assert_int_equal(unlink(path), 0);
    oom_tick(&o, START_MS + 20000);
    expect(&o, OOM_UNKNOWN, "");
    put_count(*state, V2, 4);
    expect(&o, OOM_YES, "oom_kill 3 -> 4");
    oom_release(&o);
    free(path);
}

static void test_a_system_that_does_not_count(void **state)
{
    struct oom o;

    oom_init(&o, *state, START_MS);
    expect(&o, OOM_UNKNOWN, "");
    oom_tick(&o, START_MS + 20000);
    oom_release(&o);
    put(*state, "proc/self/cgroup", "0::/app\n"); /* an old kernel */
    put(*state, V2, "low 0\nhigh 0\nmax 0\noom 0\n");
    oom_init(&o, *state, START_MS);
    expect(&o, OOM_UNKNOWN, "");
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
        UNDER_ROOT(test_a_containers_cgroup_is_the_mounts_root),
        UNDER_ROOT(test_each_kill_explains_one_death),
        UNDER_ROOT(test_an_old_kill_explains_nothing),
        UNDER_ROOT(test_a_tick_before_the_death_spoils_nothing),
        UNDER_ROOT(test_other_counters_are_not_asked),
        UNDER_ROOT(test_a_counter_that_goes_away),
        UNDER_ROOT(test_a_system_that_does_not_count),
        cmocka_unit_test(test_score),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
