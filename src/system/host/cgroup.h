/* SPDX-License-Identifier: MIT
 *
 * cgroup - the limits of this process's control groups, version 1 and 2: the real size of a
 * container. system/host/ is what the machine or the container allows.
 */
#ifndef GCORN_SYSTEM_HOST_CGROUP_H
#define GCORN_SYSTEM_HOST_CGROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* 0: no limit, or it cannot be read. */
struct cgroup_limits {
    double cpus;          /* cpu.max: a quota, in processors */
    uint64_t memory_size; /* memory.max: bytes */
    uint64_t processes;   /* pids.max: threads count too */
};

/* Reads the limits. root is a directory with proc and sys in it: "", or another one for tests. */
void cgroup_read(struct cgroup_limits *limits, const char *root);

/* Writes the path of memory.events of this process's cgroup. Its line "oom_kill N" counts the
 * processes of the cgroup that the kernel has killed because memory was out, at whatever level the
 * limit was. Returns false if there is no such file: in the root cgroup and under version 1. */
bool cgroup_find_memory_events(char *path, size_t size, const char *root);

#endif
