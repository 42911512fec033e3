/* SPDX-License-Identifier: MIT
 *
 * hooks - every hook of gcorn.h writes a line into the file hooks.txt. /hang blocks for ever, /hold
 * until there is a file go. With
 * -DREFUSES gcorn_on_worker_init refuses; with -DCRASHES the object's constructor crashes; with
 * -DLEAVES it calls exit(0), with -DKILLED it is killed, with -DSTUCK it never returns. With
 * -DTAKES_LEAVE a worker takes 4 s to exit.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

#include "broken.h"

/* One write, of what a signal handler may use, too. */
static void note(const char *line)
{
    int fd = open("hooks.txt", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (write(fd, line, strlen(line)) < 0)
        _exit(99);
    close(fd);
}

#ifdef SLOW
__attribute__((constructor)) static void be_slow(void)
{
    sleep(1);
}
#endif

#ifdef KILLED
__attribute__((constructor)) static void get_killed(void)
{
    kill(getpid(), SIGKILL);
}
#endif

#ifdef STUCK
__attribute__((constructor)) static void get_stuck(void)
{
    for (;;)
        pause();
}
#endif

GCORN_EXPORT int gcorn_on_worker_init(void)
{
#ifdef REFUSES
    return -1;
#else
    note("init\n");
    return 0;
#endif
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
#ifdef TAKES_LEAVE
    sleep(4);
#endif
    note("exit\n");
}

GCORN_EXPORT void gcorn_on_worker_abort(void)
{
    note("abort\n");
}

GCORN_EXPORT void gcorn_on_pre_request(struct gcorn_environ *env)
{
    note(gcorn_printf(env, "pre %s\n", gcorn_get(env, "PATH_INFO")));
}

GCORN_EXPORT void gcorn_on_post_request(struct gcorn_environ *env)
{
    const char *status = gcorn_get(env, "gcorn.status");
    const char *sent = gcorn_get(env, "gcorn.bytes_sent");

    note(gcorn_printf(env, "post %s %s %s\n", gcorn_get(env, "PATH_INFO"), status ? status : "?",
                      sent ? sent : "?"));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    while (strcmp(gcorn_get(env, "PATH_INFO"), "/hang") == 0)
        pause();
    while (strcmp(gcorn_get(env, "PATH_INFO"), "/hold") == 0 && access("go", F_OK) < 0)
        usleep(1000);
    note("call\n");
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "hooked");
}
