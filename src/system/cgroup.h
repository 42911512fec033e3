/* SPDX-License-Identifier: MIT
 *
 * cgroup - what the control groups of this process allow it, version 1 and 2: a container's real
 * size.
 */
#ifndef GCORN_SYSTEM_CGROUP_H
#define GCORN_SYSTEM_CGROUP_H

#include <stdint.h>

/* 0: no limit, or none that can be read. */
struct cgroup_limits {
    double cpus;          /* cpu.max: a quota, in processors */
    uint64_t memory_size; /* memory.max: bytes */
    uint64_t processes;   /* pids.max: threads count too */
};

/* proc and sys are taken from under root, "" being the system's own; others are for tests. */
void cgroup_read(struct cgroup_limits *limits, const char *root);

#endif
