/* SPDX-License-Identifier: MIT
 *
 * badboot - an application that does not come to serve. -DIN_CONSTRUCTOR, -DIN_INIT or
 * -DIN_HANDLER: where; -DHANGS, -DLEAVES (exit), else it crashes. With the file "good" it does
 * nothing of that.
 */
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <gcorn.h>

static volatile uintptr_t nowhere = 64;

__attribute__((noinline)) static void go_wrong(void)
{
    if (access("good", F_OK) == 0)
        return;
#if defined(HANGS)
    for (;;)
        pause();
#elif defined(LEAVES)
    exit(7);
#endif
    *(volatile int *)nowhere = 1;
}

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void start(void)
{
    go_wrong();
}
#endif

GCORN_EXPORT int gcorn_on_worker_init(void)
{
#ifdef IN_INIT
    go_wrong();
#endif
    return 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
#ifdef IN_HANDLER
    go_wrong();
#endif
    gcorn_start(start_response, "200 OK", NULL);
    (void)go_wrong;
    return gcorn_body_text(env, "");
}
