/* SPDX-License-Identifier: MIT
 *
 * picky - boots anywhere but in worker 1, as long as the file "picky" exists.
 */
#include <unistd.h>

#include <gcorn.h>

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    return gcorn_worker_number() == 1 && access("picky", F_OK) == 0 ? -1 : 0;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "picky");
}
