/* SPDX-License-Identifier: MIT
 *
 * Users, groups and capabilities of workers; what needs root is skipped without it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/error.h"
#include "base/util.h"
#include "in_child.h"
#include "system/process/privileges.h"

static void test_privileges_resolve(void **state)
{
    struct privileges p;
    struct error err;

    (void)state;
    assert_int_equal(privileges_resolve(&p, NULL, "", false, &err), 0);
    assert_int_equal(p.uid, geteuid());
    assert_int_equal(p.gid, getegid());
    assert_int_equal(privileges_take(&p, true, &err), 0); /* that is us already */
    privileges_release(&p);

    const struct passwd *nobody = getpwnam("nobody");
    if (!nobody)
        skip();
    uid_t uid = nobody->pw_uid;
    gid_t gid = nobody->pw_gid;
    assert_int_equal(privileges_resolve(&p, "nobody", NULL, true, &err), 0);
    assert_int_equal(p.uid, uid);
    assert_int_equal(p.gid, gid); /* its own, not ours */
    assert_true(p.group_count >= 1);
    privileges_release(&p);
    assert_int_equal(privileges_resolve(&p, "4000000", "4000001", true, &err), 0);
    assert_int_equal(p.uid, 4000000);
    assert_int_equal(p.gid, 4000001);
    assert_int_equal(p.group_count, 1);
    privileges_release(&p);
}

static void test_privileges_unknown(void **state)
{
    struct privileges p;
    struct error err;

    (void)state;
    assert_int_equal(privileges_resolve(&p, "no-such-user", NULL, false, &err), -1);
    assert_int_equal(err.status, EXIT_USAGE);
    assert_string_equal(err.text, "user: there is no user 'no-such-user' on this system");
    assert_int_equal(privileges_resolve(&p, NULL, "no-such-group", false, &err), -1);
    assert_string_equal(err.text, "group: there is no group 'no-such-group' on this system");
    assert_int_equal(privileges_resolve(&p, "4000000", NULL, false, &err), -1);
    assert_non_null(strstr(err.text, "a group must be set"));
    assert_int_equal(privileges_resolve(&p, "4294967295", "0", false, &err), -1);
    assert_int_equal(privileges_resolve(&p, "-1", "0", false, &err), -1);
}

static void drop(void *arg)
{
    struct privileges p;
    struct error err;
    gid_t groups[8];

    (void)arg;
    CHECK(privileges_resolve(&p, "4000000", "4000001", false, &err) == 0);
    CHECK(privileges_take(&p, false, &err) == 0);
    CHECK(getuid() == 4000000 && geteuid() == 4000000 && getegid() == 4000001);
    CHECK(getgroups(8, groups) == 1 && groups[0] == 4000001);
    CHECK(setuid(0) == -1 && setgid(0) == -1);
    CHECK(privileges_take(&p, false, &err) == 0);
    p.uid = 0;
    CHECK(privileges_take(&p, false, &err) == -1);
    CHECK(strstr(err.text, "cannot become user 0, group 4000001: ") == err.text);
    privileges_release(&p);
}

static void test_privileges_take(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(drop, NULL, 0);
}

static uint64_t capability_set(const char *key)
{
    char line[256];
    unsigned long long set = ~0ull;
    FILE *file = fopen("/proc/self/status", "re");

    while (file && fgets(line, sizeof(line), file)) {
        if (strncmp(line, key, strlen(key)) == 0)
            (void)sscanf(line + strlen(key), ": %llx", &set);
    }
    if (file)
        (void)fclose(file);
    return set;
}

static void expect_no_capabilities(uint64_t bounding)
{
    CHECK(capability_set("CapAmb") == 0);
    CHECK(capability_set("CapInh") == 0);
    CHECK(capability_set("CapPrm") == 0);
    CHECK(capability_set("CapEff") == 0);
    CHECK(capability_set("CapBnd") == bounding);
}

/* As a service manager starts a master: another user, with capabilities in every set. */
static void become_user_with_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2] = {{0}};
    const unsigned set = 1u << CAP_NET_BIND_SERVICE | 1u << CAP_SETUID | 1u << CAP_SETGID;

    CHECK(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0);
    CHECK(setgroups(0, NULL) == 0 && setresgid(4000001, 4000001, 4000001) == 0);
    CHECK(setresuid(4000000, 4000000, 4000000) == 0);
    sets[0] = (struct __user_cap_data_struct){set, set, set};
    CHECK(syscall(SYS_capset, &header, sets) == 0);
    CHECK(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_NET_BIND_SERVICE, 0, 0) == 0);
    CHECK(capability_set("CapAmb") == 1u << CAP_NET_BIND_SERVICE);
}

static void drop_capabilities_of_own_user(void *arg)
{
    struct privileges p;
    struct error err;
    uint64_t bounding = capability_set("CapBnd");

    (void)arg;
    become_user_with_capabilities();
    CHECK(privileges_resolve(&p, NULL, NULL, false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    expect_no_capabilities(bounding);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
    CHECK(privileges_take(&p, false, &err) == 0);
    CHECK(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    privileges_release(&p);
}

static void drop_capabilities_with_user(void *arg)
{
    struct privileges p;
    struct error err;

    become_user_with_capabilities();
    CHECK(privileges_resolve(&p, "4000002", "4000003", false, &err) == 0);
    CHECK(privileges_take(&p, arg != NULL, &err) == 0);
    CHECK(getuid() == 4000002 && getgid() == 4000003);
    expect_no_capabilities(capability_set("CapBnd")); /* to empty it takes CAP_SETPCAP */
    privileges_release(&p);
}

static void drop_capabilities_of_root(void *arg)
{
    struct privileges p;
    struct error err;
    uint64_t bounding = arg ? capability_set("CapBnd") : 0;

    CHECK(privileges_resolve(&p, "4000002", "4000003", false, &err) == 0);
    CHECK(privileges_take(&p, arg != NULL, &err) == 0);
    expect_no_capabilities(bounding);
    privileges_release(&p);
}

static void test_privileges_take_all_capabilities(void **state)
{
    int yes = 1;

    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(drop_capabilities_of_own_user, NULL, 0);
    expect_exit(drop_capabilities_with_user, NULL, 0);
    expect_exit(drop_capabilities_of_root, NULL, 0);
    expect_exit(drop_capabilities_of_root, &yes, 0);
}

static int by_number(const void *a, const void *b)
{
    gid_t v = *(const gid_t *)a, w = *(const gid_t *)b;

    return (v > w) - (v < w);
}

/* -g alone: the user is the one that the process has. */
static void take_group_with_initgroups(void *arg)
{
    const struct passwd *pw = getpwuid(geteuid());
    gid_t wanted[64], got[64];
    int count = 64;
    struct privileges p;
    struct error err;

    (void)arg;
    CHECK(pw && getgrouplist(pw->pw_name, 4000001, wanted, &count) > 0);
    CHECK(privileges_resolve(&p, NULL, "4000001", true, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgid() == 4000001 && getgroups(64, got) == count);
    qsort(wanted, (size_t)count, sizeof(*wanted), by_number);
    qsort(got, (size_t)count, sizeof(*got), by_number);
    CHECK(memcmp(wanted, got, (size_t)count * sizeof(*got)) == 0);
    privileges_release(&p);
}

/* The user and group are those that it has already; its groups are not. */
static void take_groups_of_same_user(void *arg)
{
    const gid_t inherited[] = {4000005, 4000006};
    gid_t got[8];
    struct privileges p;
    struct error err;

    (void)arg;
    CHECK(setgroups(2, inherited) == 0);
    CHECK(privileges_resolve(&p, NULL, NULL, false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgroups(8, got) == 2); /* nothing was set, nothing changes */
    privileges_release(&p);
    CHECK(privileges_resolve(&p, "0", "0", false, &err) == 0);
    CHECK(privileges_take(&p, true, &err) == 0);
    CHECK(getgroups(8, got) == 1 && got[0] == 0);
    privileges_release(&p);
}

static void test_privileges_take_groups(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    expect_exit(take_group_with_initgroups, NULL, 0);
    expect_exit(take_groups_of_same_user, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_privileges_resolve),
        cmocka_unit_test(test_privileges_unknown),
        cmocka_unit_test(test_privileges_take),
        cmocka_unit_test(test_privileges_take_all_capabilities),
        cmocka_unit_test(test_privileges_take_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
