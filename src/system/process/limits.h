/* SPDX-License-Identifier: MIT
 *
 * limits - resource limits (setrlimit(2)) of this process.
 */
#ifndef GCORN_SYSTEM_PROCESS_LIMITS_H
#define GCORN_SYSTEM_PROCESS_LIMITS_H

#include <stdint.h>
#include <sys/resource.h>

/* Raises the soft limit of open files to wanted (RLIM_INFINITY: all that is allowed), but not above
 * the hard limit; never lowers it. *got is the soft limit afterwards. Returns 0, or -1 with
 * errno. */
int limits_raise_nofile(rlim_t wanted, rlim_t *got);

/* Lets this process map at most this many bytes more than it has now (RLIMIT_AS). Reads /proc.
 * Returns 0, or -1 with errno. */
int limits_set_memory(uint64_t more);

#endif
