/* SPDX-License-Identifier: MIT
 *
 * threaded - an application for many threads, one behaviour a path:
 *
 *   /threads           gcorn_threads(), wsgi.multithread, and the peer's address
 *   /meet?of=N         answers when N calls of it run at once
 *   /hold?name=F       creates the file F.running, and answers F when F.go exists
 *   /part?name=F       begins its answer, then the same within next; ends with F's name
 *   /drops?name=F      an iterator whose close waits as /hold does
 *   /crash?how=H       segv, stack, abort or exit, in this thread; other: in one of its own;
 *                      &name=F: not before F.go exists, as /hold
 *   /count?to=N        the numbers up to N by an iterator, one a next
 *   /extend?name=F     as /hold, having asked for a minute
 *   /leave             breaks the worker's loop (in the sync class only: it is the loop's thread's)
 *
 * A worker that exits waits, too, when there is a file exit.hold: for as long as it is there, having
 * created exit.running.
 */
#include <ev.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

struct count {
    unsigned next, to;
    char line[16];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t came = PTHREAD_COND_INITIALIZER;
static unsigned meeting;

static unsigned number(struct gcorn_environ *env, const char *name)
{
    const char *text = gcorn_query(env, name);

    return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

static const char *meet(struct gcorn_environ *env)
{
    unsigned of = number(env, "of");

    pthread_mutex_lock(&lock);
    meeting++;
    pthread_cond_broadcast(&came);
    while (meeting < of)
        pthread_cond_wait(&came, &lock);
    pthread_mutex_unlock(&lock);
    return gcorn_printf(env, "%u", of);
}

static void touch(const char *name)
{
    FILE *file = fopen(name, "w");

    if (file)
        fclose(file);
}

static const char *hold(struct gcorn_environ *env)
{
    const struct timespec pause = {.tv_nsec = 1000000};
    const char *name = gcorn_query(env, "name");
    const char *go = gcorn_printf(env, "%s.go", name);

    touch(gcorn_printf(env, "%s.running", name));
    while (access(go, F_OK) < 0)
        nanosleep(&pause, NULL);
    return name;
}

static ssize_t next_part(struct gcorn_environ *env, void *state, const void **chunk)
{
    unsigned *times = state;

    if (*times == 2)
        return 0;
    *chunk = (*times)++ == 0 ? "begun\n" : hold(env);
    return (ssize_t)strlen(*chunk);
}

static ssize_t next_nothing(struct gcorn_environ *env, void *state, const void **chunk)
{
    (void)env;
    (void)state;
    (void)chunk;
    return 0;
}

static void close_slowly(struct gcorn_environ *env, void *state)
{
    (void)state;
    (void)hold(env);
}

static ssize_t next_number(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct count *c = state;

    (void)env;
    if (c->next == c->to)
        return 0;
    *chunk = c->line;
    return snprintf(c->line, sizeof(c->line), "%u\n", c->next++);
}

static unsigned overflow(unsigned depth)
{
    volatile char page[4096];

    page[0] = (char)depth;
    return depth + 1 == 0 ? 0 : overflow(depth + 1) + (unsigned char)page[0];
}

static void *fault(void *arg)
{
    *(volatile int *)NULL = 1;
    return arg;
}

static const char *crash(struct gcorn_environ *env)
{
    const char *how = gcorn_query(env, "how");
    pthread_t thread;

    if (gcorn_query(env, "name"))
        (void)hold(env);
    if (strcmp(how, "stack") == 0)
        return gcorn_printf(env, "%u", overflow(0));
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "exit") == 0)
        exit(3);
    if (strcmp(how, "other") == 0 && pthread_create(&thread, NULL, fault, NULL) == 0)
        pthread_join(thread, NULL);
    return fault(NULL);
}

static const char *text_of(struct gcorn_environ *env, const char *path)
{
    if (strcmp(path, "/meet") == 0)
        return meet(env);
    if (strcmp(path, "/hold") == 0)
        return hold(env);
    if (strcmp(path, "/crash") == 0)
        return crash(env);
    if (strcmp(path, "/leave") == 0)
        ev_break(gcorn_loop(), EVBREAK_ALL);
    if (strcmp(path, "/extend") == 0) {
        gcorn_extend_deadline(env, 60000);
        return hold(env);
    }
    if (strcmp(path, "/threads") == 0)
        return gcorn_printf(env, "%u %s %s", gcorn_threads(), gcorn_get(env, "wsgi.multithread"),
                            gcorn_get(env, "REMOTE_ADDR"));
    return gcorn_printf(env, "%d", (int)getpid());
}

GCORN_EXPORT
void gcorn_on_worker_exit(void)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    if (access("exit.hold", F_OK) == 0)
        touch("exit.running");
    while (access("exit.hold", F_OK) == 0)
        nanosleep(&pause, NULL);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", headers);
    if (strcmp(path, "/part") == 0)
        return gcorn_body_iter(env, next_part, NULL, gcorn_alloc(env, sizeof(unsigned)));
    if (strcmp(path, "/drops") == 0)
        return gcorn_body_iter(env, next_nothing, close_slowly, NULL);
    if (strcmp(path, "/count") == 0) {
        struct count *c = gcorn_alloc(env, sizeof(*c));

        c->to = number(env, "to");
        return gcorn_body_iter(env, next_number, NULL, c);
    }
    return gcorn_body_text(env, text_of(env, path));
}
