/* SPDX-License-Identifier: MIT
 *
 * withlib - an application that brings a private library, libprivate.so.1, found by $ORIGIN.
 */
#include <gcorn.h>

const char *private_text(void);

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, private_text());
}
