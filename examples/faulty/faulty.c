/* SPDX-License-Identifier: MIT
 *
 * faulty - the ways an application goes wrong, one a path, to see what the server makes of them:
 * which worker dies, who is answered what, what the log says. GET / lists the paths.
 *
 *   gcorn --workers 2 --timeout 5 faulty.so:handler
 *   curl -i http://127.0.0.1:8000/segv
 *
 * Nothing here is an example to follow. `volatile` keeps the compiler from seeing a fault coming:
 * it would warn, or leave the code away.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

static const char paths[] = "/segv        writes through a bad pointer\n"
                            "/abort       calls abort()\n"
                            "/exit        calls exit(0)\n"
                            "/_exit       calls _exit(0)\n"
                            "/hang        blocks for ever\n"
                            "/spin        computes for ever\n"
                            "/sleep?ms=N  sleeps N milliseconds, then answers\n"
                            "/leak?mb=N   takes N megabytes, keeps them, answers\n"
                            "/overflow    writes past an array on the stack\n"
                            "/null        returns no body\n"
                            "/bad-header  sends a field with a line break in it\n"
                            "/fork-exit   forks a child that calls exit(0), answers\n";

static volatile uintptr_t nowhere = 64;
static volatile bool ever = true;

/* A number of the query from 0 to max; 0 when there is none. */
static long number(struct gcorn_environ *env, const char *name, long max)
{
    const char *text = gcorn_query(env, name);
    long n = text ? strtol(text, NULL, 10) : 0;

    return n < 0 ? 0 : n > max ? max : n;
}

static const char *sleep_ms(struct gcorn_environ *env, long ms)
{
    struct timespec left;

    left.tv_sec = ms / 1000;
    left.tv_nsec = ms % 1000 * 1000000L;
    while (nanosleep(&left, &left) < 0 && errno == EINTR)
        continue; /* a signal for the server must not shorten what the application does */
    return gcorn_printf(env, "slept %ld ms\n", ms);
}

static const char *leak_mb(struct gcorn_environ *env, long mb)
{
    static char *volatile kept; /* each piece begins with the address of the one before */

    for (long i = 0; i < mb; i++) {
        char *before = kept;
        char *piece = (char *)malloc(1 << 20);

        if (!piece)
            return "malloc failed\n";
        memset(piece, 'x', 1 << 20); /* memory that was never touched costs nothing */
        memcpy(piece, &before, sizeof(before));
        kept = piece;
    }
    return gcorn_printf(env, "leaked %ld MB\n", mb);
}

/* Writes on past its own array, over the address it was to return to. */
__attribute__((noinline)) static const char *overflow(volatile size_t len)
{
    volatile char array[16];

    for (volatile size_t i = 0; i < len; i = i + 1)
        array[i] = 'A';
    return array[0] == 'A' ? "still alive\n" : "odd\n";
}

/* The child's exit() runs what the worker registered with atexit, on the worker's sockets. */
static const char *fork_exit(struct gcorn_environ *env)
{
    int status = -1;
    pid_t pid = fork();

    if (pid < 0)
        return "fork failed\n";
    if (pid == 0)
        exit(0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return gcorn_printf(env, "the child's status is %d\n", status);
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    static const struct gcorn_header plain[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    static const struct gcorn_header split[] = {{"X-Name", "a\r\nSet-Cookie: b=1"}, {NULL, NULL}};
    const struct gcorn_header *headers = plain;
    const char *path = gcorn_get(env, "PATH_INFO");
    const char *status = "200 OK", *text = "still alive\n";

    if (strcmp(path, "/") == 0) {
        text = paths;
    } else if (strcmp(path, "/segv") == 0) {
        *(volatile int *)nowhere = 1;
    } else if (strcmp(path, "/abort") == 0) {
        abort();
    } else if (strcmp(path, "/exit") == 0) {
        exit(0); /* "this request is done", as a script would say it */
    } else if (strcmp(path, "/_exit") == 0) {
        _exit(0);
    } else if (strcmp(path, "/hang") == 0) {
        while (ever)
            pause();
    } else if (strcmp(path, "/spin") == 0) {
        while (ever)
            continue;
    } else if (strcmp(path, "/sleep") == 0) {
        text = sleep_ms(env, number(env, "ms", 3600 * 1000L));
    } else if (strcmp(path, "/leak") == 0) {
        text = leak_mb(env, number(env, "mb", 65536));
    } else if (strcmp(path, "/overflow") == 0) {
        text = overflow(512);
    } else if (strcmp(path, "/null") == 0) {
        return NULL;
    } else if (strcmp(path, "/bad-header") == 0) {
        headers = split;
    } else if (strcmp(path, "/fork-exit") == 0) {
        text = fork_exit(env);
    } else {
        status = "404 Not Found";
        text = "no such fault; GET / lists them\n";
    }
    gcorn_start(start_response, status, headers);
    return gcorn_body_text(env, text);
}
