/* SPDX-License-Identifier: MIT
 *
 * unresolved - needs a symbol that nobody defines; with -DABI that of an ABI that gcorn does not
 * speak.
 */
#include <gcorn.h>

#ifdef ABI
extern const char gcorn_abi_999;
const char *const wanted = &gcorn_abi_999;
#else
int not_defined_anywhere(void);
#endif

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
#ifndef ABI
    if (not_defined_anywhere())
        return NULL;
#endif
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "");
}
