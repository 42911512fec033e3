/* SPDX-License-Identifier: MIT
 *
 * table - an application with a large table that its constructor fills: MIB of it. /loader is the
 * pid that ran the constructor, /private how many KiB this process has to itself, /grow has it take MIB
 * MiB more, /crash faults.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

#ifndef MIB
#define MIB 1
#endif

static uint32_t *table;
static void *more;
static int loader;
static volatile uintptr_t nowhere = 64; /* volatile: the compiler would warn */

__attribute__((constructor)) static void load(void)
{
    size_t count = (size_t)MIB * 1024 * 1024 / sizeof(*table);

    table = malloc(count * sizeof(*table));
    for (size_t i = 0; i < count; i++)
        table[i] = (uint32_t)(i * 2654435761u);
    loader = (int)getpid();
    printf("the table is there\n");
    fflush(stdout);
}

static long private_kib(void)
{
    char line[256];
    long sum = 0, kib;
    FILE *rollup = fopen("/proc/self/smaps_rollup", "re");

    while (rollup && fgets(line, sizeof(line), rollup)) {
        if (sscanf(line, "Private_Clean: %ld", &kib) == 1 ||
            sscanf(line, "Private_Dirty: %ld", &kib) == 1)
            sum += kib;
    }
    if (rollup)
        fclose(rollup);
    return sum;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", headers);
    if (strcmp(path, "/crash") == 0)
        *(volatile int *)nowhere = (int)table[0];
    if (strcmp(path, "/grow") == 0)
        memset(more = malloc((size_t)MIB << 20), 1, (size_t)MIB << 20);
    if (strcmp(path, "/private") == 0)
        return gcorn_body_text(env, gcorn_printf(env, "%ld", private_kib()));
    return gcorn_body_text(env, gcorn_printf(env, "%d %d", (int)getpid(), loader));
}
