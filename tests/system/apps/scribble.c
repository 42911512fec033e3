/* SPDX-License-Identifier: MIT
 *
 * scribble - a worker gone mad. /own starts a thread that overwrites the worker's own slot, again
 * and again: with ones, with letters, with noise. /all makes every page of shared memory writable
 * first, and overwrites it all. /stray writes one word into the slot of a sibling. /hold waits for
 * ever, any other path answers the pid.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <gcorn.h>

#include "system/ipc/scoreboard.h"

enum { PARTS_MAX = 16 };

/* The mappings of shared memory that this process has, as /proc/self/maps lists them. */
static struct part {
    char *start;
    size_t size;
    int is_writable;
} parts[PARTS_MAX];
static size_t part_count;

static int find(void)
{
    unsigned long start, end;
    char line[512], mode[8];
    FILE *maps = fopen("/proc/self/maps", "re");

    part_count = 0;
    while (maps && part_count < PARTS_MAX && fgets(line, sizeof(line), maps)) {
        if (!strstr(line, "memfd:gcorn-scoreboard") && !strstr(line, "memfd:gcorn-ledger"))
            continue;
        if (sscanf(line, "%lx-%lx %7s", &start, &end, mode) == 3)
            parts[part_count++] = (struct part){(char *)start, end - start, mode[1] == 'w'};
    }
    if (maps)
        fclose(maps);
    return part_count > 0 ? 0 : -1;
}

/* The own slot is the one writable part that is longer than a page. */
static int keep_own(void)
{
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].is_writable && parts[i].size >= sizeof(struct slot)) {
            parts[0] = parts[i];
            part_count = 1;
            return 0;
        }
    }
    return -1;
}

static int open_all(void)
{
    for (size_t i = 0; i < part_count; i++) {
        if (mprotect(parts[i].start, parts[i].size, PROT_READ | PROT_WRITE) < 0)
            return -1;
    }
    return 0;
}

static void fill(char *to, size_t size, unsigned round)
{
    static uint64_t noise = 88172645463325252u;

    if (round % 3 < 2) {
        memset(to, round % 3 == 0 ? 0xff : 'A', size);
        return;
    }
    for (size_t i = 0; i + sizeof(noise) <= size; i += sizeof(noise)) {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        memcpy(to + i, &noise, sizeof(noise));
    }
}

static void *scribble(void *unused)
{
    for (unsigned round = 0;; round++) {
        for (size_t i = 0; i < part_count; i++)
            fill(parts[i].start, parts[i].size, round);
        usleep(500);
    }
    return unused;
}

static int start_scribbling(const char *path)
{
    static int is_started;
    pthread_t thread;

    if (is_started || find() < 0 || (strcmp(path, "/own") == 0 ? keep_own() : open_all()) < 0)
        return -1;
    is_started = 1;
    return pthread_create(&thread, NULL, scribble, NULL) == 0 ? 0 : -1;
}

/* Through every part that is not the worker's own, without asking. */
static void stray(void)
{
    for (size_t i = 0; find() == 0 && i < part_count; i++) {
        if (!parts[i].is_writable)
            memset(parts[i].start, 1, parts[i].size);
    }
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", headers);
    if ((strcmp(path, "/own") == 0 || strcmp(path, "/all") == 0) && start_scribbling(path) < 0)
        return NULL;
    if (strcmp(path, "/stray") == 0)
        stray();
    while (strcmp(path, "/hold") == 0)
        pause();
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
