/* SPDX-License-Identifier: MIT
 *
 * See cores.h. A quota holds for a cgroup and everything below it, so the smallest one on the way
 * from the process's own cgroup to the root counts. Inside a container the path that
 * /proc/self/cgroup shows may be the host's and not exist under /sys/fs/cgroup: files that are not
 * there are passed over, and the way ends at the mount's root, which is the container's cgroup.
 *
 * Whatever cannot be read means "no quota": a wrong guess costs speed, a failed start costs more.
 */
#include "system/cores.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/util.h"

enum { PATH_SIZE = 4096 + 256, CPUS_MAX = 65536 };

/* A small file of the kernel as a string; false when there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    FILE *f = fopen(path, "re");

    if (!f)
        return false;
    size_t n = fread(text, 1, size - 1, f);
    text[n] = '\0';
    (void)fclose(f); /* only read from */
    return n > 0;
}

static void lower(double *quota, long long limit, long long period)
{
    double cpus = period > 0 ? (double)limit / (double)period : 0;

    if (limit > 0 && cpus > 0 && (*quota == 0 || cpus < *quota))
        *quota = cpus;
}

/* The quota of one cgroup: v2 "150000 100000" or "max 100000"; v1 one number a file, -1 for none.
 */
static void read_v2(const char *dir, double *quota)
{
    char path[PATH_SIZE + 32], text[128];
    long long limit, period;

    (void)snprintf(path, sizeof(path), "%s/cpu.max", dir);
    if (read_text(path, text, sizeof(text)) && sscanf(text, "%lld %lld", &limit, &period) == 2)
        lower(quota, limit, period);
}

static void read_v1(const char *dir, double *quota)
{
    char path[PATH_SIZE + 32], text[128];
    long long limit, period;

    (void)snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", dir);
    if (!read_text(path, text, sizeof(text)) || sscanf(text, "%lld", &limit) != 1)
        return;
    (void)snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", dir);
    if (read_text(path, text, sizeof(text)) && sscanf(text, "%lld", &period) == 1)
        lower(quota, limit, period);
}

/* From mount/cgroup up to mount itself. */
static void walk_up(const char *mount, const char *cgroup, double *quota,
                    void (*read_quota)(const char *dir, double *quota))
{
    char dir[PATH_SIZE];
    size_t mount_len = strlen(mount);

    /* "/../x": the process was moved out of what its cgroup namespace shows. */
    if (strstr(cgroup, "/.."))
        cgroup = "/";
    int len = snprintf(dir, sizeof(dir), "%s%s", mount, cgroup);
    if (len < 0 || (size_t)len >= sizeof(dir))
        return;
    for (;;) {
        read_quota(dir, quota);
        char *slash = strrchr(dir, '/');
        if (!slash || (size_t)(slash - dir) < mount_len)
            return;
        *slash = '\0';
    }
}

static bool lists_cpu(const char *controllers)
{
    for (const char *c = controllers; *c != '\0'; c += strcspn(c, ",")) {
        c += *c == ',';
        if (strcspn(c, ",") == 3 && strncmp(c, "cpu", 3) == 0)
            return true;
    }
    return false;
}

/* A line of /proc/self/cgroup, "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1). A machine may have
 * both, with the cpu controller in one of them. */
static void read_line(const char *root, char *line, double *quota)
{
    char mount[PATH_SIZE];
    char *controllers = strchr(line, ':');
    char *cgroup = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!cgroup)
        return;
    *cgroup++ = '\0';
    controllers++;
    cgroup[strcspn(cgroup, "\n")] = '\0';
    if (controllers[0] == '\0') {
        (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup", root);
        walk_up(mount, cgroup, quota, read_v2);
    } else if (lists_cpu(controllers)) {
        /* Mounted under its own name or, where that is no link to it, under all of the names. */
        (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/cpu", root);
        if (access(mount, X_OK) < 0)
            (void)snprintf(mount, sizeof(mount), "%s/sys/fs/cgroup/%s", root, controllers);
        walk_up(mount, cgroup, quota, read_v1);
    }
}

/* In CPUs; 0 for none. */
static double cgroup_quota(const char *root)
{
    char line[PATH_SIZE];
    double quota = 0;

    (void)snprintf(line, sizeof(line), "%s/proc/self/cgroup", root);
    FILE *f = fopen(line, "re");
    if (!f)
        return 0;
    while (fgets(line, sizeof(line), f))
        read_line(root, line, &quota);
    (void)fclose(f); /* only read from */
    return quota;
}

int cores_under(const char *root, int affinity, char *how, size_t size)
{
    double quota = cgroup_quota(root);
    int cores = affinity > 1 ? affinity : 1;

    if (quota > 0 && quota < cores) {
        int whole = (int)quota;

        cores = quota > whole ? whole + 1 : whole;
    }
    const char *plural = cores == 1 ? "" : "s";
    if (quota > 0)
        (void)snprintf(how, size, "%d core%s (affinity %d, cgroup quota %.4g CPU%s)", cores, plural,
                       affinity, quota, quota == 1 ? "" : "s");
    else
        (void)snprintf(how, size, "%d core%s (affinity %d, no cgroup quota)", cores, plural,
                       affinity);
    return cores;
}

/* The kernel refuses a mask smaller than its own, so larger ones are tried. */
static int affinity_count(void)
{
    for (int cpus = 1024; cpus <= CPUS_MAX; cpus *= 2) {
        size_t mask_size = CPU_ALLOC_SIZE((size_t)cpus);
        cpu_set_t *mask = xcalloc(1, mask_size);
        int count = sched_getaffinity(0, mask_size, mask) == 0 ? CPU_COUNT_S(mask_size, mask) : 0;

        free(mask);
        if (count > 0)
            return count;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 && online <= CPUS_MAX ? (int)online : 1;
}

int cores_available(char *how, size_t size)
{
    return cores_under("", affinity_count(), how, size);
}
