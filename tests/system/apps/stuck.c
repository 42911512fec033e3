/* SPDX-License-Identifier: MIT
 *
 * stuck - calls that do not end by themselves, for who looks at them from outside:
 *
 *   /loop      turns in spin() until the file "go" exists
 *   /read      reads the fifo "fifo"
 *   /others    how often the worker's other threads, in poll and nanosleep, were interrupted
 */
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

#define NOINLINE __attribute__((noinline))

static atomic_int interrupted;
static pthread_barrier_t all_sit; /* a worker is not READY before */

static NOINLINE void *sit_in_poll(void *arg)
{
    (void)pthread_barrier_wait(&all_sit);
    for (;;) {
        if (poll(NULL, 0, -1) < 0)
            interrupted++;
    }
    return arg;
}

static NOINLINE void *sit_in_nanosleep(void *arg)
{
    const struct timespec length = {.tv_sec = 3600};

    (void)pthread_barrier_wait(&all_sit);
    for (;;) {
        if (nanosleep(&length, NULL) < 0)
            interrupted++;
    }
    return arg;
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    pthread_t thread;

    if (pthread_barrier_init(&all_sit, NULL, 3) != 0 ||
        pthread_create(&thread, NULL, sit_in_poll, NULL) != 0 ||
        pthread_create(&thread, NULL, sit_in_nanosleep, NULL) != 0)
        return -1;
    (void)pthread_barrier_wait(&all_sit);
    return 0;
}

static NOINLINE void spin(void)
{
    volatile unsigned turns = 0;

    while (access("go", F_OK) < 0) {
        for (turns = 0; turns < 50000000; turns++)
            continue;
    }
}

static NOINLINE void read_fifo(void)
{
    char byte;
    int fd = open("fifo", O_RDONLY);

    if (fd < 0 || read(fd, &byte, 1) < 0)
        return;
    close(fd);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/loop") == 0)
        spin();
    else if (strcmp(path, "/read") == 0)
        read_fifo();
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)interrupted));
}
