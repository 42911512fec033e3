/* SPDX-License-Identifier: MIT
 *
 * flood - answers that never run dry:
 *
 *   /stream?piece=N   an endless stream, N bytes a next
 *   /bytes?mib=N      so much in one piece
 *   /                 the worker's pid
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

static const char zeros[64 * 1024];

static size_t number(struct gcorn_environ *env, const char *name)
{
    const char *text = gcorn_query(env, name);

    return text ? strtoul(text, NULL, 10) : 1;
}

static ssize_t next_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    *chunk = zeros;
    return (ssize_t) * (size_t *)state;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/stream") == 0) {
        size_t *piece = gcorn_alloc(env, sizeof(*piece)), asked = number(env, "piece");

        *piece = asked < sizeof(zeros) ? asked : sizeof(zeros);
        return gcorn_body_iter(env, next_piece, NULL, piece);
    }
    if (strcmp(path, "/bytes") == 0) {
        size_t len = number(env, "mib") << 20;
        char *bytes = calloc(1, len);

        gcorn_defer(env, free, bytes);
        return bytes ? gcorn_body_bytes(env, bytes, len) : NULL;
    }
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
