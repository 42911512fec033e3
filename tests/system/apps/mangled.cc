/* SPDX-License-Identifier: MIT
 *
 * mangled - C++ without GCORN_EXPORT: the function's name is not "handler".
 */
#include <gcorn.h>

struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_start(start_response, "200 OK", nullptr);
    return gcorn_body_text(env, "");
}
