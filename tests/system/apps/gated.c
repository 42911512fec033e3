/* SPDX-License-Identifier: MIT
 *
 * gated - an application whose boot and life a test holds in its hand, by files in the directory of
 * the server:
 *
 *   closed     a boot waits in gcorn_on_worker_init until the file is gone, and makes PID.boots
 *   fails      gcorn_on_worker_init refuses
 *   /pid       the pid; VERSION with /version
 *   /hold?name=F   makes F.running, and answers when F.go exists
 *   /exit      leaves by _exit(5); /crash by a fault
 */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

#ifndef VERSION
#define VERSION "0"
#endif

static int *volatile nowhere;

static void make(const char *name)
{
    FILE *file = fopen(name, "w");

    if (file)
        fclose(file);
}

static void pause_while(const char *name, int exists)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    while ((access(name, F_OK) == 0) == exists)
        nanosleep(&pause, NULL);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    char name[64];

    if (access("closed", F_OK) == 0) {
        (void)snprintf(name, sizeof(name), "%d.boots", (int)getpid());
        make(name);
        pause_while("closed", 1);
    }
    return access("fails", F_OK) == 0 ? -1 : 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/exit") == 0)
        _exit(5);
    if (strcmp(path, "/crash") == 0)
        *nowhere = 1;
    if (strcmp(path, "/hold") == 0) {
        const char *name = gcorn_query(env, "name");

        make(gcorn_printf(env, "%s.running", name));
        pause_while(gcorn_printf(env, "%s.go", name), 0);
    }
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, strcmp(path, "/version") == 0
                                    ? VERSION
                                    : gcorn_printf(env, "%d", (int)getpid()));
}
