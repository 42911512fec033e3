/* SPDX-License-Identifier: MIT
 *
 * around - what goes before an answer and after its body. /late, /early, /file and /push add a
 * trailer, at the end of an iterator, before a text, before a file, after what was pushed
 * (gcorn_send); the result of gcorn_trailer is in the log.
 * /head sends a 103 from gcorn_on_head already. Every other path sends a 103 with Link first, and then:
 *
 *   /hold?name=F   makes F.running, and answers when F.go exists
 *   /wait          sends a second 103 from next, and answers after 50 ms
 *   /many?n=N      sends N more
 *   /pushed        pushes its answer, and then tries to send another
 *   /null          fails
 *   /crash?name=F  as /hold, and crashes instead
 *   other          answers at once
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

static int *volatile nowhere;

static void send_hint(struct gcorn_environ *env)
{
    static const struct gcorn_header headers[] = {{"Link", "</style.css>; rel=preload; as=style"},
                                                  {NULL, NULL}};

    gcorn_interim(env, "103 Early Hints", headers);
}

static void hold(struct gcorn_environ *env)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const char *name = gcorn_query(env, "name");
    FILE *file = fopen(gcorn_printf(env, "%s.running", name), "w");

    if (file)
        fclose(file);
    while (access(gcorn_printf(env, "%s.go", name), F_OK) != 0)
        nanosleep(&pause, NULL);
}

struct wait {
    uint64_t until;
    bool ended;
};

static ssize_t next(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    if (w->until == 0) {
        send_hint(env);
        w->until = gcorn_now() + 50;
    }
    gcorn_wake_at(env, w->until);
    if (gcorn_now() < w->until)
        return GCORN_AGAIN;
    *chunk = "waited\n";
    w->ended = !w->ended;
    return w->ended ? 7 : 0;
}

/* ---- trailers ---------------------------------------------------------------------------- */

static void add_sum(struct gcorn_environ *env)
{
    int result = gcorn_trailer(env, "X-Sum", "1 2 3");

    gcorn_log(env, GCORN_INFO, "trailer: %s", result == 0 ? "added" : strerror(errno));
}

static ssize_t next_number(struct gcorn_environ *env, void *state, const void **chunk)
{
    static const char *const numbers[] = {"1\n", "2\n", "3\n"};
    int *n = state;

    if (*n == 3) {
        add_sum(env);
        return 0;
    }
    *chunk = numbers[(*n)++];
    return 2;
}

/* NULL: the path is another's. */
static struct gcorn_body *with_trailer(struct gcorn_environ *env, const char *path,
                                       struct gcorn_start_response *start_response)
{
    bool is_early = strcmp(path, "/early") == 0, is_file = strcmp(path, "/file") == 0;

    if (strcmp(path, "/push") == 0) {
        gcorn_start(start_response, "200 OK", NULL);
        gcorn_send(env, "1\n2\n", 4);
        add_sum(env);
        return gcorn_body_text(env, "3\n");
    }
    if (!is_early && !is_file && strcmp(path, "/late") != 0)
        return NULL;
    if (is_early || is_file)
        add_sum(env);
    gcorn_start(start_response, "200 OK", NULL);
    if (is_file)
        return gcorn_body_file(env, open("file", O_RDONLY | O_CLOEXEC), 0, -1);
    if (is_early)
        return gcorn_body_text(env, "1\n2\n3\n");
    return gcorn_body_iter(env, next_number, NULL, gcorn_alloc(env, sizeof(int)));
}

GCORN_EXPORT
struct gcorn_body *gcorn_on_head(struct gcorn_environ *env,
                                 struct gcorn_start_response *start_response)
{
    (void)start_response;
    if (strcmp(gcorn_get(env, "PATH_INFO"), "/head") == 0)
        send_hint(env);
    return NULL;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO"), *n = gcorn_query(env, "n");

    struct gcorn_body *body = with_trailer(env, path, start_response);

    if (body)
        return body;
    send_hint(env);
    if (strcmp(path, "/hold") == 0 || strcmp(path, "/crash") == 0)
        hold(env);
    if (strcmp(path, "/crash") == 0)
        *nowhere = 1;
    if (strcmp(path, "/null") == 0)
        return NULL;
    for (int i = n ? atoi(n) : 0; i > 0; i--)
        send_hint(env);
    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/pushed") == 0) {
        gcorn_send(env, "who", 3);
        send_hint(env); /* too late */
        return gcorn_body_text(env, "le\n");
    }
    if (strcmp(path, "/wait") == 0)
        return gcorn_body_iter(env, next, NULL, gcorn_alloc(env, sizeof(struct wait)));
    return gcorn_body_text(env, "whole\n");
}
