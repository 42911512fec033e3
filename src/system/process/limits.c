/* SPDX-License-Identifier: MIT
 *
 * See limits.h.
 */
#include "system/process/limits.h"

#include <unistd.h>

#include "system/process/procfs.h"

int limits_raise_nofile(rlim_t wanted, rlim_t *got)
{
    struct rlimit limit;

    *got = 0;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    *got = limit.rlim_cur;
    rlim_t goal = wanted < limit.rlim_max ? wanted : limit.rlim_max; /* infinity is the largest */
    if (goal <= limit.rlim_cur)
        return 0;
    limit.rlim_cur = goal;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -1;
    *got = goal;
    return 0;
}

/* Relative to what is mapped, because a sanitizer reserves terabytes. */
int limits_set_memory(uint64_t more)
{
    struct procfs_pages pages;

    if (procfs_pages(getpid(), &pages) < 0)
        return -1;
    rlim_t most = (rlim_t)(pages.mapped * (uint64_t)sysconf(_SC_PAGESIZE) + more);
    const struct rlimit limit = {.rlim_cur = most, .rlim_max = most};
    return setrlimit(RLIMIT_AS, &limit);
}
