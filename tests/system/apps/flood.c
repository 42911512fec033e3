/* SPDX-License-Identifier: MIT
 *
 * flood - answers that never run dry:
 *
 *   /stream?piece=N&ms=N   an endless stream, N bytes a next, which takes so long (0: no time)
 *   /bytes?mib=N           so much in one piece
 *   /                      the worker's pid
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

static const char zeros[64 * 1024];

struct stream {
    size_t piece;
    struct timespec pause;
};

static size_t number(struct gcorn_environ *env, const char *name)
{
    const char *text = gcorn_query(env, name);

    return text ? strtoul(text, NULL, 10) : 0;
}

static ssize_t next_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    const struct stream *stream = state;

    (void)env;
    if (stream->pause.tv_nsec > 0)
        (void)nanosleep(&stream->pause, NULL);
    *chunk = zeros;
    return (ssize_t)stream->piece;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/stream") == 0) {
        struct stream *stream = gcorn_alloc(env, sizeof(*stream));
        size_t piece = number(env, "piece");

        stream->piece = piece < sizeof(zeros) ? piece : sizeof(zeros);
        stream->pause = (struct timespec){.tv_nsec = (long)number(env, "ms") * 1000000};
        return gcorn_body_iter(env, next_piece, NULL, stream);
    }
    if (strcmp(path, "/bytes") == 0) {
        size_t len = number(env, "mib") << 20;
        char *bytes = calloc(1, len);

        gcorn_defer(env, free, bytes);
        return bytes ? gcorn_body_borrow(env, bytes, len) : NULL;
    }
    return gcorn_body_text(env, gcorn_printf(env, "%d", (int)getpid()));
}
