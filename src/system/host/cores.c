/* SPDX-License-Identifier: MIT
 *
 * See cores.h.
 */
#include "system/host/cores.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/util.h"
#include "system/host/cgroup.h"

enum { CPUS_MAX = 65536 };

int cores_under(const char *root, int affinity, char *how, size_t size)
{
    struct cgroup_limits limits;
    int cores = affinity > 1 ? affinity : 1;

    cgroup_read(&limits, root);
    double quota = limits.cpus;
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

/* The kernel refuses a mask that is smaller than its own: then a larger one is tried. */
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
