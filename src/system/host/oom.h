/* SPDX-License-Identifier: MIT
 *
 * oom - did the kernel kill a process for want of memory? The parent of the process sees a SIGKILL
 * like any other, but the kernel counts its kills in the cgroup (memory.events).
 */
#ifndef GCORN_SYSTEM_HOST_OOM_H
#define GCORN_SYSTEM_HOST_OOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct oom {
    char *events;       /* the file with the count; NULL: no such file */
    uint64_t before;    /* the count of some seconds ago */
    uint64_t recent;    /* the latest one */
    uint64_t recent_ms; /* when that was read */
    uint64_t explained; /* the kills up to this count have each explained a death */
};

enum oom_answer {
    OOM_NO,
    OOM_YES,
    OOM_UNKNOWN, /* the system does not count */
};

/* Finds the file that counts, and reads it. proc and sys are taken from under root, "" being the
 * system's own; others are for tests. */
void oom_init(struct oom *o, const char *root, uint64_t now_ms);
void oom_release(struct oom *o);

/* To be called about every second: a kill that is older than some seconds explains no death,
 * because the application's own children are counted too. */
void oom_tick(struct oom *o, uint64_t now_ms);

/* A worker that was just reaped has died of a SIGKILL that the master did not send: did the kernel
 * send it? how: the evidence, "cgroup /sys/fs/cgroup/a: oom_kill 3 -> 4"; "" unless OOM_YES. One
 * kill explains one death. */
enum oom_answer oom_explains(struct oom *o, char *how, size_t size);

/* Raises this process's oom_score_adj above its parent's, because the end of the parent would end
 * all. To be called before the process changes its user. Failure changes nothing. */
void oom_volunteer(void);

/* The value to write to oom_score_adj where it is `score`. */
int oom_score_above(int score);

#endif
