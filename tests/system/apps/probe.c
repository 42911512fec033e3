/* SPDX-License-Identifier: MIT
 *
 * probe - what a test wants to know of a worker, one a path:
 *
 *   /pid  /slot  /cwd  /umask  /ids       about the process
 *   /env?name=N                           its environment
 *   /get?key=K                            the request's environ
 *   /version                              VERSION, of the compilation
 *   /big?kb=N                             N KiB in one piece; /chunks?kb=N by an iterator
 *   /promise                              a Content-Length of 10, and no body
 *   /hold?name=F                          creates the file F.running, and answers when F.go exists
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

#ifndef VERSION
#define VERSION "0"
#endif

static const char *hold(struct gcorn_environ *env)
{
    const char *name = gcorn_query(env, "name");
    const struct timespec pause = {.tv_nsec = 1000000};
    FILE *running = fopen(gcorn_printf(env, "%s.running", name), "w");

    if (running)
        fclose(running);
    while (access(gcorn_printf(env, "%s.go", name), F_OK) < 0)
        nanosleep(&pause, NULL);
    return gcorn_printf(env, "%d", (int)getpid());
}

static const char *ids(struct gcorn_environ *env)
{
    gid_t groups[64];
    int count = getgroups(64, groups);
    const char *text = gcorn_printf(env, "%d %d:", (int)getuid(), (int)getgid());

    for (int i = 0; i < count; i++)
        text = gcorn_printf(env, "%s %d", text, (int)groups[i]);
    return text;
}

static const char *umask_text(struct gcorn_environ *env)
{
    mode_t mode = umask(0);

    umask(mode);
    return gcorn_printf(env, "%03o", (unsigned)mode);
}

static size_t kilobytes(struct gcorn_environ *env)
{
    const char *kb = gcorn_query(env, "kb");

    return kb ? (size_t)atoi(kb) * 1024 : 0;
}

static ssize_t next_chunk(struct gcorn_environ *env, void *state, const void **chunk)
{
    size_t *left = state;
    static char text[1024];

    (void)env;
    memset(text, 'c', sizeof(text));
    *chunk = text;
    if (*left == 0)
        return 0;
    *left -= sizeof(text);
    return sizeof(text);
}

static struct gcorn_body *chunks(struct gcorn_environ *env)
{
    size_t *left = gcorn_alloc(env, sizeof(*left));

    *left = kilobytes(env);
    return gcorn_body_iter(env, next_chunk, NULL, left);
}

static struct gcorn_body *big(struct gcorn_environ *env)
{
    size_t len = kilobytes(env);
    char *data = gcorn_alloc(env, len + 1);

    memset(data, 'b', len);
    return gcorn_body_borrow(env, data, len);
}

static const char *text_of(struct gcorn_environ *env, const char *path)
{
    if (strcmp(path, "/pid") == 0)
        return gcorn_printf(env, "%d", (int)getpid());
    if (strcmp(path, "/slot") == 0)
        return gcorn_printf(env, "%u", gcorn_worker_number());
    if (strcmp(path, "/cwd") == 0)
        return getcwd(gcorn_alloc(env, 4096), 4096);
    if (strcmp(path, "/umask") == 0)
        return umask_text(env);
    if (strcmp(path, "/ids") == 0)
        return ids(env);
    if (strcmp(path, "/env") == 0)
        return getenv(gcorn_query(env, "name"));
    if (strcmp(path, "/get") == 0)
        return gcorn_get(env, gcorn_query(env, "key"));
    if (strcmp(path, "/version") == 0)
        return VERSION;
    if (strcmp(path, "/hold") == 0)
        return hold(env);
    return "";
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {
        {"Content-Type", "text/plain"}, {"X-Probe", "say \"hi\""}, {NULL, NULL}};
    static const struct gcorn_header promise[] = {{"Content-Length", "10"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", strcmp(path, "/promise") == 0 ? promise : headers);
    if (strcmp(path, "/big") == 0)
        return big(env);
    if (strcmp(path, "/chunks") == 0)
        return chunks(env);
    const char *text = text_of(env, path);
    return gcorn_body_text(env, text ? text : "(none)");
}
