/* SPDX-License-Identifier: MIT
 *
 * scribble - a worker gone mad: /scribble starts a thread that overwrites its slot, and the
 * scoreboard's header, again and again: with ones, with letters, with noise. /crash faults, /hold
 * waits for ever, any other path answers the pid.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

#include "system/scoreboard.h"

enum { HEADER_SIZE = 4096 };

static char *header, *slot;
static volatile uintptr_t nowhere = 64;

/* The mapping, and in it the slot that has our pid. */
static int find(void)
{
    unsigned long start, end;
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "re");

    while (maps && fgets(line, sizeof(line), maps)) {
        if (strstr(line, "gcorn-scoreboard") && sscanf(line, "%lx-%lx", &start, &end) == 2) {
            header = (char *)start;
            for (char *s = header + HEADER_SIZE; s < (char *)end; s += SLOT_SIZE) {
                if (((struct slot *)(void *)s)->pid == (int32_t)getpid())
                    slot = s;
            }
        }
    }
    if (maps)
        fclose(maps);
    return slot ? 0 : -1;
}

static void fill(char *to, size_t size, unsigned round)
{
    static uint64_t noise = 88172645463325252u;

    if (round % 3 < 2) {
        memset(to, round % 3 == 0 ? 0xff : 'A', size);
        return;
    }
    for (size_t i = 0; i < size; i++) {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        to[i] = (char)noise;
    }
}

static void *scribble(void *unused)
{
    for (unsigned round = 0;; round++) {
        fill(header, HEADER_SIZE, round);
        fill(slot, SLOT_SIZE, round);
        usleep(500);
    }
    return unused;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");
    pthread_t thread;

    gcorn_start(start_response, "200 OK", headers);
    if (strcmp(path, "/scribble") == 0 &&
        (find() < 0 || pthread_create(&thread, NULL, scribble, NULL) != 0))
        return NULL;
    if (strcmp(path, "/crash") == 0)
        *(volatile int *)nowhere = 1;
    while (strcmp(path, "/hold") == 0)
        pause();
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
