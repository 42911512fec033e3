/* SPDX-License-Identifier: MIT
 *
 * See cgroup.h. A limit holds for a cgroup and all below it, so the smallest one between the
 * process's own cgroup and the root counts. In a container the path in /proc/self/cgroup may be the
 * host's and not exist under /sys/fs/cgroup: absent files are skipped, and the root of the mount is
 * the container's cgroup.
 *
 * A file that cannot be read means "no limit": a wrong guess costs speed, a failed start costs
 * more.
 */
#include "system/host/cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/small_file.h"
#include "base/strbuf.h"
#include "base/util.h"

enum {
    PATH_SIZE = 4096 + 256,
    CGROUP_FILE_MAX = 64 * 1024, /* of /proc/self/cgroup: a line for each hierarchy of version 1 */
};

/* Reads the numbers that a small file of the kernel begins with, and returns how many, 0 to 2: the
 * word "max" is not a number. */
static int read_numbers(const char *dir, const char *name, long long numbers[2])
{
    char path[PATH_SIZE + 32], text[128];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (small_file_start(path, text, sizeof(text)) < 0)
        return 0;
    int count = sscanf(text, "%lld %lld", &numbers[0], &numbers[1]);
    return count > 0 ? count : 0;
}

static void lower_cpus(double *cpus, long long limit, long long period)
{
    double quota = period > 0 ? (double)limit / (double)period : 0;

    if (limit > 0 && quota > 0 && (*cpus == 0 || quota < *cpus))
        *cpus = quota;
}

/* "No limit" of memory is in version 1 the largest number of whole pages. */
static void lower_count(uint64_t *count, const char *dir, const char *name)
{
    long long limit[2];

    if (read_numbers(dir, name, limit) > 0 && limit[0] > 0 && limit[0] < INT64_MAX / 2 &&
        (*count == 0 || (uint64_t)limit[0] < *count))
        *count = (uint64_t)limit[0];
}

/* ---- one cgroup, by version and controller ---------------------------------------------- */

/* What to read in each cgroup. */
struct question {
    void (*v2)(const char *dir, void *to);
    struct controller {
        const char *name;
        void (*ask)(const char *dir, void *to);
    } v1[3];
    void *to;
};

static void read_v2(const char *dir, void *to)
{
    struct cgroup_limits *limits = to;
    long long quota[2];

    if (read_numbers(dir, "cpu.max", quota) == 2) /* "150000 100000" or "max 100000" */
        lower_cpus(&limits->cpus, quota[0], quota[1]);
    lower_count(&limits->memory_size, dir, "memory.max");
    lower_count(&limits->processes, dir, "pids.max");
}

static void read_v1_cpu(const char *dir, void *to)
{
    struct cgroup_limits *limits = to;
    long long quota[2], period[2];

    if (read_numbers(dir, "cpu.cfs_quota_us", quota) > 0 && /* -1: none */
        read_numbers(dir, "cpu.cfs_period_us", period) > 0)
        lower_cpus(&limits->cpus, quota[0], period[0]);
}

static void read_v1_memory(const char *dir, void *to)
{
    struct cgroup_limits *limits = to;

    lower_count(&limits->memory_size, dir, "memory.limit_in_bytes");
}

static void read_v1_pids(const char *dir, void *to)
{
    struct cgroup_limits *limits = to;

    lower_count(&limits->processes, dir, "pids.max");
}

struct file_name {
    char *path;
    size_t size;
};

/* Keeps the first one that exists. */
static void find_file(const char *dir, const char *name, struct file_name *found)
{
    char path[PATH_SIZE + 32];

    (void)snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (found->path[0] == '\0' && access(path, R_OK) == 0 && strlen(path) < found->size)
        memcpy(found->path, path, strlen(path) + 1);
}

static void find_events(const char *dir, void *to)
{
    find_file(dir, "memory.events", to);
}

/* ---- walking up -------------------------------------------------------------------------- */

/* Calls ask for mount/cgroup and each directory above it up to mount. */
static void walk_up(const char *mount, const char *cgroup, void (*ask)(const char *dir, void *to),
                    void *to)
{
    char dir[PATH_SIZE];
    size_t mount_len = strlen(mount);

    /* "/../x": the process is outside of its cgroup namespace. */
    if (strstr(cgroup, "/.."))
        cgroup = "/";
    int len = snprintf(dir, sizeof(dir), "%s%s", mount, cgroup);
    if (len < 0 || (size_t)len >= sizeof(dir))
        return;
    for (;;) {
        ask(dir, to);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < mount_len)
            return;
        *slash = '\0';
    }
}

static bool lists(const char *controllers, const char *name)
{
    size_t len = strlen(name);

    for (const char *c = controllers; *c != '\0'; c += strcspn(c, ",")) {
        c += *c == ',';
        if (strcspn(c, ",") == len && strncmp(c, name, len) == 0)
            return true;
    }
    return false;
}

/* A controller is mounted under its own name, or else under the names of all in its hierarchy. */
static void walk_v1(const char *root, const char *controllers, const char *cgroup,
                    const struct controller *controller, void *to)
{
    char mount[PATH_SIZE];

    (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, controller->name);
    if (access(mount, X_OK) < 0)
        (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, controllers);
    walk_up(mount, cgroup, controller->ask, to);
}

/* A line of /proc/self/cgroup: "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1). A
 * machine may have both, each controller in one of them. */
static void read_line(const char *root, char *line, const struct question *q)
{
    char mount[PATH_SIZE];
    char *controllers = strchr(line, ':');
    char *cgroup = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!cgroup)
        return;
    *cgroup++ = '\0';
    controllers++;
    if (controllers[0] == '\0') {
        (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
        walk_up(mount, cgroup, q->v2, q->to);
    }
    for (size_t i = 0; i < ARRAY_LEN(q->v1) && q->v1[i].name; i++) {
        if (lists(controllers, q->v1[i].name))
            walk_v1(root, controllers, cgroup, &q->v1[i], q->to);
    }
}

static void ask_all(const char *root, const struct question *q)
{
    char path[PATH_SIZE], *line;
    struct strbuf lines = {0};

    (void)snprintf(path, sizeof(path), "%s/proc/self/cgroup", root);
    if (small_file_read(path, CGROUP_FILE_MAX, &lines) == 0) {
        for (char *rest = lines.data; rest && (line = strsep(&rest, "\n"));)
            read_line(root, line, q);
    }
    strbuf_release(&lines);
}

void cgroup_read(struct cgroup_limits *limits, const char *root)
{
    const struct question q = {
        .v2 = read_v2,
        .v1 = {{"cpu", read_v1_cpu}, {"memory", read_v1_memory}, {"pids", read_v1_pids}},
        .to = limits,
    };

    *limits = (struct cgroup_limits){0};
    ask_all(root, &q);
}

bool cgroup_find_memory_events(char *path, size_t size, const char *root)
{
    struct file_name found = {path, size};
    const struct question q = {.v2 = find_events, .to = &found};

    path[0] = '\0';
    ask_all(root, &q);
    return path[0] != '\0';
}
