/* SPDX-License-Identifier: MIT
 *
 * safe_open: which links a root process follows, and which the workers' user could have placed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/util.h"
#include "system/process/privileges.h"
#include "system/file/safe_open.h"

enum { WORKER = 4000000, GROUP = 4000001, TEAM = 4000002, DEPLOYER = 4000009 };

static gid_t groups[] = {GROUP, TEAM};
static const struct privileges workers = {
    .uid = WORKER, .gid = GROUP, .groups = groups, .group_count = ARRAY_LEN(groups)};
static char top[64];

/* Directories by their name: which users may write there. */
static const struct {
    const char *name;
    mode_t mode;
    uid_t uid;
    gid_t gid;
} dirs[] = {
    {"root", 0755, 0, 0},      {"closed", 0555, WORKER, 0},   {"worker", 0755, WORKER, GROUP},
    {"team", 0775, 0, TEAM},   {"adm", 0775, 0, 4},           {"any", 0777, 0, 0},
    {"tmp", 01777, 0, 0},      {"own-tmp", 01777, WORKER, 0}, {"deploy", 0755, DEPLOYER, 0},
    {"root/deep", 0755, 0, 0},
};

static int make_dirs(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof(top), "/tmp/gcorn-test-XXXXXX");
    if (!mkdtemp(top) || chmod(top, 0755) < 0 || chdir(top) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        if (mkdir(dirs[i].name, 0700) < 0 || chown(dirs[i].name, dirs[i].uid, dirs[i].gid) < 0 ||
            chmod(dirs[i].name, dirs[i].mode) < 0)
            return -1;
    }
    return 0;
}

static int lowest_free_fd(void)
{
    int fd = dup(STDERR_FILENO);

    (void)close(fd);
    return fd;
}

static void test_walk_leaves_no_descriptor_open(void **state)
{
    int before = lowest_free_fd();

    (void)state;
    int fd = safe_open("root/deep/../deep/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0600, &workers);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(lowest_free_fd(), before); /* the walk's own descriptors are closed */
    assert_int_equal(unlink("root/deep/new"), 0);
    assert_int_equal(safe_open("root/absent/x", O_RDONLY, 0, &workers), -1);
    assert_int_equal(lowest_free_fd(), before);
}

static int remove_dirs(void **state)
{
    char *command = xasprintf("rm -r %s", top);
    int result = chdir("/") == 0 && geteuid() == 0 ? system(command) : 0;

    (void)state;
    free(command);
    return result;
}

static void place_link(const char *target, const char *name, uid_t owner)
{
    assert_int_equal(symlink(target, name), 0);
    assert_int_equal(lchown(name, owner, 0), 0);
}

static int try(const char *path)
{
    int fd = safe_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, 0644, &workers);
    int reason = fd < 0 ? errno : 0;

    if (fd >= 0)
        assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    fd_close(&fd);
    return reason;
}

/* A link to root/secret in each directory: of root's, the workers' and a third user. */
static void test_link_that_workers_could_have_placed(void **state)
{
    static const struct {
        const char *dir;
        int of_root, of_deployer;
    } rows[] = {
        {"root", 0, 0},
        {"closed", ELOOP, ELOOP},
        {"worker", ELOOP, ELOOP},
        {"team", ELOOP, ELOOP},
        {"adm", 0, 0},
        {"any", ELOOP, ELOOP},
        {"tmp", 0, 0},
        {"own-tmp", ELOOP, ELOOP},
        {"deploy", 0, 0},
        {"root/deep", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        static const uid_t owners[] = {0, DEPLOYER, WORKER};
        const int wanted[] = {rows[i].of_root, rows[i].of_deployer, ELOOP};

        for (size_t j = 0; j < ARRAY_LEN(owners); j++) {
            char *link = xasprintf("%s/link%zu", rows[i].dir, j);
            char *through = xasprintf("%s/through%zu", rows[i].dir, j);
            char *file = xasprintf("%s/file", through);
            char *target = xasprintf("%s/root/secret", top), *deep = xasprintf("%s/root/deep", top);

            place_link(target, link, owners[j]);
            place_link(deep, through, owners[j]);
            assert_int_equal(try(link), wanted[j]);
            assert_int_equal(try(file), wanted[j]);
            assert_int_equal(access(target, F_OK), wanted[j] == 0 ? 0 : -1);
            (void)unlink(target);
            assert_int_equal(access("root/deep/file", F_OK), wanted[j] == 0 ? 0 : -1);
            (void)unlink("root/deep/file");
            (void)unlink(link);
            (void)unlink(through);
            free(link);
            free(through);
            free(file);
            free(target);
            free(deep);
        }
    }
    assert_non_null(strstr(safe_open_reason(ELOOP), "symbolic link that the user of the workers"));
    assert_string_equal(safe_open_reason(EACCES), "Permission denied");
}

/* Relative targets, chains, dot and dot-dot, slashes: as open finds them. */
static void test_paths_lead_where_open_leads(void **state)
{
    static const char *const paths[] = {
        "root/a",     "./root//a", "root/deep/../a",        "deploy/../root/a",
        "root/chain", "root/up/a", "/proc/self/cwd/root/a", "worker/../root/a"};
    struct stat wanted, got;

    (void)state;
    assert_int_equal(try("root/a"), 0);
    place_link("second", "root/chain", 0);
    place_link("deep/.././a", "root/second", 0);
    place_link("../root", "root/up", 0);
    assert_int_equal(stat("root/a", &wanted), 0);
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char *absolute = paths[i][0] == '/' ? xstrdup(paths[i]) : xasprintf("%s/%s", top, paths[i]);
        const char *const both[] = {paths[i], absolute};

        for (size_t j = 0; j < ARRAY_LEN(both); j++) {
            int fd = safe_open(both[j], O_RDONLY, 0, &workers);

            if (fd < 0)
                fail_msg("%s: %s", both[j], strerror(errno));
            assert_int_equal(fstat(fd, &got), 0);
            assert_int_equal(got.st_ino, wanted.st_ino);
            fd_close(&fd);
        }
        free(absolute);
    }
}

static void test_paths_that_lead_nowhere(void **state)
{
    char *longest = xmalloc(PATH_MAX + 1), *name = xmalloc(NAME_MAX + 2);

    (void)state;
    memset(longest, '/', PATH_MAX);
    longest[PATH_MAX] = '\0';
    memset(name, 'n', NAME_MAX + 1);
    name[NAME_MAX + 1] = '\0';
    place_link("loop", "root/loop", 0);
    assert_int_equal(try("root/loop"), ELOOP);
    assert_int_equal(try("nothing/file"), ENOENT);
    assert_int_equal(try("root/deep/nothing/file"), ENOENT);
    assert_int_equal(try("root"), EISDIR);
    assert_int_equal(try("/"), EISDIR);
    assert_int_equal(try(""), ENOENT);
    assert_int_equal(try(longest), ENAMETOOLONG);
    assert_int_equal(try(name), ENAMETOOLONG);
    assert_int_equal(try("root/plain"), 0);
    assert_int_equal(try("root/plain/file"), ENOTDIR);
    assert_int_equal(try("root/made/"), EISDIR); /* as open(2), which makes none */
    assert_int_equal(access("root/made", F_OK), -1);
    assert_int_equal(mkfifo("root/fifo", 0600), 0);
    assert_int_equal(try("root/fifo"), ENXIO); /* it does not wait */
    free(longest);
    free(name);
}

static void test_hard_link_that_workers_could_have_placed(void **state)
{
    (void)state;
    assert_int_equal(try("root/only"), 0);
    assert_int_equal(link("root/only", "worker/second"), 0);
    assert_int_equal(link("root/only", "root/third"), 0);
    assert_int_equal(try("worker/second"), EMLINK);
    assert_int_equal(try("root/third"), 0);
    assert_int_equal(try("worker/first"), 0);
    assert_int_equal(chown("worker/first", WORKER, GROUP), 0);
    assert_int_equal(link("worker/first", "worker/another"), 0);
    assert_int_equal(try("worker/another"), 0); /* what is its own it may write anyway */
}

static void test_same_user_follows_all(void **state)
{
    const struct privileges same = {.uid = geteuid(), .gid = getegid()};

    (void)state;
    assert_int_equal(try("root/kept"), 0);
    place_link("../root/kept", "worker/kept", WORKER);
    int fd = safe_open("worker/kept", O_RDONLY, 0, &same);
    assert_true(fd >= 0);
    fd_close(&fd);
    assert_int_equal(safe_open("worker/kept", O_RDONLY | O_NOFOLLOW, 0, &same), -1);
    assert_int_equal(errno, ELOOP);
}

static void test_last_link_is_refused_with_nofollow(void **state)
{
    (void)state;
    assert_int_equal(try("root/last"), 0);
    place_link("last", "root/first", 0);
    assert_int_equal(safe_open("root/first", O_RDONLY | O_NOFOLLOW, 0, &workers), -1);
    assert_int_equal(errno, ELOOP);
}

static void expect_shared(const char *path, const char *wanted)
{
    char *dir = safe_open_shared_dir(path, &workers);
    char *absolute = wanted ? xasprintf("%s/%s", top, wanted) : NULL;

    if (wanted && (!dir || strcmp(dir, absolute) != 0))
        fail_msg("%s: %s, not %s", path, dir ? dir : "none", absolute);
    if (!wanted && dir)
        fail_msg("%s: %s", path, dir);
    free(absolute);
    free(dir);
}

static void test_shared_directories(void **state)
{
    static const bool wanted[] = {false, true, true, true, false, true, true, true, false, false};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(dirs); i++) {
        char *file = xasprintf("%s/file", dirs[i].name);

        expect_shared(file, wanted[i] ? dirs[i].name : NULL);
        free(file);
    }
    assert_int_equal(mkdir("worker/roots", 0755), 0);
    expect_shared("worker/roots/file", "worker"); /* it can rename the directory */
    assert_int_equal(mkdir("tmp/roots", 0755), 0);
    expect_shared("tmp/roots/file", NULL);
    assert_int_equal(try("tmp/made"), 0);
    expect_shared("tmp/made", NULL); /* it is there, and root's */
    expect_shared("tmp/new", "tmp");
    expect_shared("file", NULL);
    expect_shared("nothing/file", NULL);
    expect_shared("/file", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_leaves_no_descriptor_open),
        cmocka_unit_test(test_link_that_workers_could_have_placed),
        cmocka_unit_test(test_paths_lead_where_open_leads),
        cmocka_unit_test(test_paths_that_lead_nowhere),
        cmocka_unit_test(test_hard_link_that_workers_could_have_placed),
        cmocka_unit_test(test_same_user_follows_all),
        cmocka_unit_test(test_last_link_is_refused_with_nofollow),
        cmocka_unit_test(test_shared_directories),
    };

    if (geteuid() != 0)
        return 0; /* only root has files to guard from another user */
    return cmocka_run_group_tests(tests, make_dirs, remove_dirs);
}
