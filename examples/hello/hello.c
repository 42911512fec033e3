/* SPDX-License-Identifier: MIT
 *
 * hello - the smallest application. Compile it alone, and serve it with four workers:
 *
 *   cc -shared -fPIC -o hello.so hello.c $(pkg-config --cflags gcorn)
 *   gcorn --workers 4 hello.so:handler
 *
 * A request is one call: it begins the answer with a status and a header list, and returns a body.
 * The list and the text are constants, so nothing is allocated; the length of the text goes into
 * Content-Length by itself, and HEAD needs no care.
 */
#include <gcorn.h>

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_start(start_response, "200 OK", headers);
    return gcorn_body_text(env, "Hello, World!");
}
