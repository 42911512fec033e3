/* SPDX-License-Identifier: MIT
 *
 * forker - what tools look at: / forks a child that calls in_child(), and waits for it; /overrun
 * reads a byte behind a block of the heap; /spin turns in spin() until the file "go" exists.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gcorn.h>

#define NOINLINE __attribute__((noinline))

static volatile int sum;

static NOINLINE void in_child(void)
{
    sum++;
}

static NOINLINE int fork_child(void)
{
    int status = -1;
    pid_t pid = fork();

    if (pid == 0) {
        in_child();
        _exit(sum == 1 ? 7 : 0);
    }
    if (pid > 0)
        (void)waitpid(pid, &status, 0);
    return status;
}

static NOINLINE void overrun(const char *block, size_t size)
{
    sum += block[size];
}

static NOINLINE void spin(void)
{
    while (access("go", F_OK) != 0) {
        for (volatile unsigned i = 0; i < 1000000; i++)
            continue;
    }
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");
    int status = 0;

    if (strcmp(path, "/overrun") == 0) {
        char *block = calloc(1, 17);

        overrun(block, 17);
        free(block);
    } else if (strcmp(path, "/spin") == 0) {
        spin();
    } else {
        status = fork_child();
    }
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "status %d\n", status));
}
