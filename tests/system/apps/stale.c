/* SPDX-License-Identifier: MIT
 *
 * stale - each request reads a local variable of a function that has returned.
 */
#include <gcorn.h>

static int *volatile kept;

__attribute__((noinline)) static void keep_a_local(void)
{
    volatile int local = 1;

    kept = (int *)&local;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    keep_a_local();
    gcorn_start(start_response, *kept ? "200 OK" : "404 Not Found", NULL);
    return gcorn_body_text(env, "read\n");
}
