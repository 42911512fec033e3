/* SPDX-License-Identifier: MIT
 *
 * bodies - the application of those loads of `make bench` that hello does not fit: 100 KiB from
 * memory, the file of $BENCH_FILE by sendfile (/file/big), a body that is looked at where it lies, as
 * libh2o's program is given it, or (/copy) copied by gcorn_input_read.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { BODY_SIZE = 100 * 1024 };

static char body[BODY_SIZE];

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");
    char piece[64 * 1024];

    gcorn_start(start_response, "200 OK", headers);
    if (strcmp(path, "/body") == 0) {
        if (!body[0])
            memset(body, 'x', sizeof(body));
        return gcorn_body_borrow(env, body, sizeof(body));
    }
    if (strcmp(path, "/file/big") == 0)
        return gcorn_body_file(env, open(getenv("BENCH_FILE"), O_RDONLY | O_CLOEXEC), 0, -1);
    if (strcmp(path, "/copy") == 0) {
        while (gcorn_input_read(env, piece, sizeof(piece)) > 0)
            ;
    } else if (!gcorn_input_all(env, NULL)) {
        return NULL;
    }
    return gcorn_body_text(env, "Hello, World!");
}
