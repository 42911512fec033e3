/* SPDX-License-Identifier: MIT
 *
 * procfs - what /proc says about a process. Nothing here blocks: the kernel makes these files from
 * memory.
 */
#ifndef GCORN_SYSTEM_PROCESS_PROCFS_H
#define GCORN_SYSTEM_PROCESS_PROCFS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* The memory of a process in pages (sysconf(_SC_PAGESIZE)). */
struct procfs_pages {
    uint64_t mapped, resident;
    uint64_t shared; /* of the resident ones: files and shared memory */
};

/* Reads /proc/PID/statm. Returns 0, or -1 with errno: ENOENT, there is no such process. */
int procfs_pages(pid_t pid, struct procfs_pages *pages);

/* The private memory of a process in bytes: resident, less shared. Pages that it shares with its
 * parent since a fork count. Returns 0, or -1 with errno. */
int procfs_private_memory(pid_t pid, uint64_t *size);

/* The resident memory of a process in bytes, shared memory included. Returns 0, or -1 with errno. */
int procfs_resident_memory(pid_t pid, uint64_t *size);

/* The number in the line "key:" of a text like /proc/PID/status; 0 when there is no such line. */
int procfs_find_number(const char *text, const char *key);

/* The process that traces this one (ptrace(2)): a debugger, strace, or a helper of gcorn. 0: none,
 * or it cannot be read. */
pid_t procfs_tracer(pid_t pid);

/* Is the kernel writing a core of this process? SIGKILL would cut it off. False before Linux 4.15,
 * which does not tell. */
bool procfs_dumps_core(pid_t pid);

#endif
