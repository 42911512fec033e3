/* SPDX-License-Identifier: MIT
 *
 * oom - did the kernel kill a process because memory was out? It tells nobody so: whoever waits for
 * the process sees a SIGKILL like any other. But it counts, in the cgroup (memory.events,
 * memory.oom_control), or, outside of any, for the whole machine (/proc/vmstat), where its log
 * (/dev/kmsg) names the process.
 */
#ifndef GCORN_SYSTEM_HOST_OOM_H
#define GCORN_SYSTEM_HOST_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct oom {
    char *counter;      /* the file that counts; NULL: there is none */
    char *counted;      /* whose processes, for people */
    char *kernel_log;   /* where the pids in it are ours, and it says more than the counter */
    uint64_t before;    /* the count of some seconds ago */
    uint64_t recent;    /* the latest one */
    uint64_t recent_ms; /* when that was read */
    uint64_t explained; /* a count up to which every kill is known to be somebody's */
};

enum oom_answer {
    OOM_NO,
    OOM_YES,
    OOM_UNKNOWN, /* this system says nothing about it */
};

/* Looks for what counts, and reads it. proc, sys and dev are taken from under root, "" being the
 * system's own; others are for tests. */
void oom_init(struct oom *o, const char *root, uint64_t now_ms);
void oom_release(struct oom *o);

/* To be called every second or so: what is older than some seconds explains no death, for an
 * application's own children are counted too. Mostly does nothing. */
void oom_tick(struct oom *o, uint64_t now_ms);

/* A process, just reaped, has died of a SIGKILL that we did not send: was this why? how: on what
 * grounds, "cgroup /sys/fs/cgroup/a: oom_kill 3 -> 4"; "" unless yes. One kill explains one death.
 */
enum oom_answer oom_explains(struct oom *o, pid_t pid, uint64_t now_ms, char *how, size_t size);

/* Makes this process likelier to be chosen than its parent, whose choice would end everything. To
 * be called before it changes its user; where it cannot be done, nothing happens. */
void oom_volunteer(void);

/* The value to write to oom_score_adj, with this one there. */
int oom_score_above(int score);

#endif
