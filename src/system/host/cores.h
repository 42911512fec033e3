/* SPDX-License-Identifier: MIT
 *
 * cores - how many processors this process may use: `workers: auto` is made of it. In a container
 * the machine's count is wrong: 96 workers with a quota of one CPU only wait for each other.
 */
#ifndef GCORN_SYSTEM_HOST_CORES_H
#define GCORN_SYSTEM_HOST_CORES_H

#include <stddef.h>

/* Returns the smaller of the affinity mask's count and the cgroups' CPU quota, rounded up; at least
 * 1. how is filled with the reason, for the log: "2 cores (affinity 8, cgroup quota 1.5 CPUs)". */
int cores_available(char *how, size_t size);

/* The same for a given affinity, and proc and sys in the directory root: for tests. */
int cores_under(const char *root, int affinity, char *how, size_t size);

#endif
