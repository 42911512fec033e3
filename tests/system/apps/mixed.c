/* SPDX-License-Identifier: MIT
 *
 * mixed - an answer of every kind, each with something of the heap that is freed when the request
 * is over. Every request wakes the eight before it, whatever has become of them.
 *
 *   /text         a few bytes
 *   /buffer?n=N   N kilobytes, written into a buffer
 *   /file?n=N     the first N kilobytes of this program's own file, from an offset of 7
 *   /stream?n=N   an iterator of N pieces of 5000 bytes
 *   /wait?n=N     starts its answer after N ms, or when it is woken that often
 *   /fails?n=N    the same as /stream, and fails behind the last piece
 *   /null         no body at all
 *   /echo         the request's body; read piece by piece with ?n=1
 *
 * With &wrap=N the answer goes through N applications that iterate over it.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <gcorn.h>

enum { PIECE = 5000, LATEST = 8 };

struct stream {
    struct gcorn_start_response *start;
    unsigned left;
    bool fails, waits, started;
    uint64_t until;
    char *piece;
};

struct wrapped {
    struct gcorn_body *inner;
    struct gcorn_start_response *outer;
    struct gcorn_environ *env;
};

static _Atomic uint64_t latest[LATEST];
static _Atomic unsigned count;

static unsigned number(struct gcorn_environ *env, const char *name)
{
    const char *text = gcorn_query(env, name);

    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static void start(struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};

    gcorn_start(start_response, "200 OK", headers);
}

static void free_piece(struct gcorn_environ *env, void *state)
{
    (void)env;
    free(((struct stream *)state)->piece);
}

static ssize_t next_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct stream *s = state;

    if (s->waits && s->left > 0 && gcorn_now() < s->until) {
        s->left--;
        gcorn_wake_at(env, s->until);
        return GCORN_AGAIN;
    }
    if (s->waits)
        s->left = s->started ? 0 : 1;
    if (!s->started)
        start(s->start);
    s->started = true;
    if (s->left-- == 0)
        return s->fails ? -1 : 0;
    *chunk = s->piece;
    return PIECE;
}

static struct gcorn_body *stream(struct gcorn_environ *env, struct gcorn_start_response *begin,
                                 bool fails, bool waits)
{
    struct stream *s = gcorn_alloc(env, sizeof(*s));
    unsigned n = number(env, "n");

    *s = (struct stream){.start = begin, .left = n, .fails = fails, .waits = waits};
    s->until = gcorn_now() + n;
    s->piece = calloc(1, PIECE);
    return gcorn_body_iter(env, next_piece, free_piece, s);
}

static struct gcorn_body *buffer(struct gcorn_environ *env)
{
    struct gcorn_body *body = gcorn_body_buffer(env);

    for (unsigned n = number(env, "n"); n > 0; n--)
        gcorn_buffer_printf(body, "%1024u", n);
    return body;
}

static struct gcorn_body *echo(struct gcorn_environ *env)
{
    struct gcorn_body *body = gcorn_body_buffer(env);
    char piece[1000];
    size_t len;
    ssize_t n;

    if (number(env, "n") == 0) {
        const char *input = gcorn_input_all(env, &len);
        return gcorn_body_borrow(env, input, len);
    }
    while ((n = gcorn_input_read(env, piece, sizeof(piece))) > 0)
        gcorn_buffer_write(body, piece, (size_t)n);
    return body;
}

static struct gcorn_body *answer(struct gcorn_environ *env, struct gcorn_start_response *begin)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/wait") == 0)
        return stream(env, begin, false, true);
    start(begin);
    if (strcmp(path, "/stream") == 0 || strcmp(path, "/fails") == 0)
        return stream(env, begin, strcmp(path, "/fails") == 0, false);
    if (strcmp(path, "/buffer") == 0)
        return buffer(env);
    if (strcmp(path, "/file") == 0)
        return gcorn_body_file(env, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), 7,
                               number(env, "n") * 1024);
    if (strcmp(path, "/echo") == 0)
        return echo(env);
    return strcmp(path, "/null") == 0 ? NULL : gcorn_body_text(env, "mixed");
}

/* ---- around it ------------------------------------------------------------------------------- */

static int start_wrapped(void *state, const char *status, const struct gcorn_header *headers)
{
    struct wrapped *w = state;

    struct gcorn_header_list *list = gcorn_header_list_new(w->env, headers);

    gcorn_header_append(list, "X-Wrapped", "1");
    return gcorn_start(w->outer, status, gcorn_header_array(list));
}

static ssize_t next_wrapped(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    return gcorn_body_next(((struct wrapped *)state)->inner, chunk);
}

static struct gcorn_body *wrap(struct gcorn_environ *env, struct gcorn_start_response *begin,
                               unsigned times)
{
    struct wrapped *w = gcorn_alloc(env, sizeof(*w));

    if (times == 0)
        return answer(env, begin);
    *w = (struct wrapped){.outer = begin, .env = env};
    w->inner = wrap(env, gcorn_start_wrap(env, start_wrapped, w), times - 1);
    return w->inner ? gcorn_body_iter(env, next_wrapped, NULL, w) : NULL;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    gcorn_defer(env, free, strdup(gcorn_get(env, "gcorn.request_id")));
    for (int i = 0; i < LATEST; i++)
        gcorn_wake(latest[i]);
    latest[count++ % LATEST] = gcorn_ticket(env);
    return wrap(env, start_response, number(env, "wrap"));
}
