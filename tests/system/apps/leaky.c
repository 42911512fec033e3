/* SPDX-License-Identifier: MIT
 *
 * leaky - each request loses a piece of memory for good.
 */
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

__attribute__((noinline)) static void lose(void)
{
    char *volatile piece = malloc(1234);

    if (piece)
        memset(piece, 'x', 1234);
    piece = NULL;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    lose();
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, "lost\n");
}
