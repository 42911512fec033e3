/* SPDX-License-Identifier: MIT
 *
 * stacks - what every thread of another process is doing, as text: what /proc tells of it, and its
 * stack, taken from outside. It is for a process of its own (master/postmortem/helper.h): this
 * reads foreign memory and foreign debug information, which may be broken, and waits for the
 * threads to stop.
 *
 *   process 4711 "gcorn", 2 threads
 *   thread 4711 "gcorn": sleeping in pipe_read; user 4 ms, system 1 ms
 *   thread 4713 "gcorn": running; user 60123 ms, system 3 ms
 *   stopped for 2 ms
 *
 *   stack of thread 4711
 *     #0 read+0xd (libc.so.6+0xf81ed)
 *     #1 fetch+0x1e at /home/app/fetch.c:30 (app.so+0x1182)
 *   ...
 *
 * `addr2line -f -e app.so 0x1182` finds a frame again. The address of a caller is the one that the
 * call returns to. Threads whose stacks are the same share one.
 */
#ifndef GCORN_SYSTEM_TRACE_STACKS_H
#define GCORN_SYSTEM_TRACE_STACKS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct image;
struct privileges;
struct strbuf;

enum {
    STACKS_FRAMES_MAX = 100, /* of a thread, the innermost */
    STACKS_HOLD_MS = 1000,   /* the process stands still no longer, whatever is missing then */
};

struct stacks_target {
    pid_t pid;
    const struct image *image;           /* what its application was loaded from; NULL: nothing */
    const struct privileges *privileges; /* to become before anything foreign is read; NULL: stay */
    size_t text_max;                     /* bytes to append at most */
};

/* Appends the text. The process goes on as before when this returns, and also when the caller dies
 * in it. 0, or -1: not one stack could be taken, and the text says why. */
int stacks_write(const struct stacks_target *target, struct strbuf *out);

#endif
