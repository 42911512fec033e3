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

/* The file that has a line "oom_kill N", which counts the processes of this process's cgroup that
 * the kernel has killed because memory was out, wherever the limit was. False when there is none:
 * in the root cgroup of version 2, or a kernel older than 4.13. */
bool cgroup_find_oom_counter(char *path, size_t size, const char *root);

#endif
