/* SPDX-License-Identifier: MIT
 *
 * runtime - the hooks of an interpreter append lines to the file said: the hook's name, the process
 * and the thread. /tid answers the thread's id. /late waits in a call until gcorn_on_call_late has
 * been called, /stuck for ever, /slow?ms=N for so long; /told says how often it was.
 *
 * -DREFUSES: gcorn_on_load refuses. -DCRASHES=N: it crashes in 1 load, 2 the child of a fork, 3 the
 * start of a thread, 4 before a fork, 5 in the end of a thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

#ifndef CRASHES
#define CRASHES 0
#endif

static volatile uintptr_t nowhere = 64; /* volatile: the compiler would warn */
static volatile sig_atomic_t told;

static void note(int step, const char *name)
{
    char line[80];
    int len = snprintf(line, sizeof(line), "%s %d %d\n", name, (int)getpid(), (int)syscall(SYS_gettid));
    int fd = open("said", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (write(fd, line, (size_t)len) < 0)
        _exit(99);
    close(fd);
    if (step == CRASHES)
        *(volatile int *)nowhere = 1;
}

GCORN_EXPORT int gcorn_on_load(void)
{
    note(1, "load");
#ifdef REFUSES
    return -1;
#else
    return 0;
#endif
}

GCORN_EXPORT void gcorn_on_fork(enum gcorn_fork when)
{
    static const char *const names[] = {"before", "parent", "child"};

    note(when == GCORN_FORK_CHILD ? 2 : when == GCORN_FORK_BEFORE ? 4 : -1, names[when]);
}

GCORN_EXPORT void gcorn_on_thread_start(unsigned number)
{
    char name[32];

    snprintf(name, sizeof(name), "start%u", number);
    note(3, name);
}

GCORN_EXPORT void gcorn_on_thread_end(unsigned number)
{
    char name[32];

    snprintf(name, sizeof(name), "end%u", number);
    note(5, name);
}

GCORN_EXPORT void gcorn_on_call_late(void)
{
    told++;
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    note(-1, "init");
    return 0;
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
    note(-1, "exit");
}

/* Sleeps until it is told: the signal ends the sleep, and nothing else does. */
static const char *sleep_until_told(void)
{
    const struct timespec hour = {.tv_sec = 3600};
    sig_atomic_t before = told;
    int result = nanosleep(&hour, NULL);

    return result < 0 && errno == EINTR && told == before + 1 ? "interrupted" : "?";
}

static const char *sleep_for(unsigned long ms)
{
    struct timespec left = {.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};

    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue;
    return "slept";
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO"), *ms = gcorn_query(env, "ms");

    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/late") == 0)
        return gcorn_body_text(env, sleep_until_told());
    while (strcmp(path, "/stuck") == 0)
        sleep_for(3600000);
    if (strcmp(path, "/slow") == 0)
        return gcorn_body_text(env, sleep_for(strtoul(ms, NULL, 10)));
    if (strcmp(path, "/told") == 0)
        return gcorn_body_printf(env, "%d", (int)told);
    return gcorn_body_printf(env, "%d", (int)syscall(SYS_gettid));
}
