/* SPDX-License-Identifier: MIT
 *
 * cgroup - what the control groups of this process allow it, version 1 and 2: a container's real
 * size.
 */
#ifndef GCORN_SYSTEM_HOST_CGROUP_H
#define GCORN_SYSTEM_HOST_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0: no limit, or none that can be read. */
struct cgroup_limits {
    double cpus;          /* cpu.max: a quota, in processors */
    uint64_t memory_size; /* memory.max: bytes */
    uint64_t processes;   /* pids.max: threads count too */
};

/* proc and sys are taken from under root, "" being the system's own; others are for tests. */
void cgroup_read(struct cgroup_limits *limits, const char *root);

/* Finds memory.events of this process's cgroup, whose line "oom_kill N" counts the processes of the
 * cgroup that the kernel has killed for want of memory, wherever the limit was. False where there is
 * no such file: in the root cgroup and under version 1. */
bool cgroup_find_memory_events(char *path, size_t size, const char *root);

#endif
