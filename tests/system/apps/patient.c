/* SPDX-License-Identifier: MIT
 *
 * patient - waits in one system call, and says whether that was interrupted: /poll?ms=N,
 * /sleep?ms=N.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <gcorn.h>

__attribute__((noinline)) static int wait_poll(int ms)
{
    return poll(NULL, 0, ms) < 0 ? errno : 0;
}

__attribute__((noinline)) static int wait_sleep(int ms)
{
    const struct timespec time = {ms / 1000, ms % 1000 * 1000000L};

    return nanosleep(&time, NULL) < 0 ? errno : 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *ms = gcorn_query(env, "ms"), *path = gcorn_get(env, "PATH_INFO");
    int error = strcmp(path, "/poll") == 0 ? wait_poll(atoi(ms)) : wait_sleep(atoi(ms));

    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, error == 0 ? "no EINTR" : strerror(error));
}
