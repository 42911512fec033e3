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
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

static const char paths[] =
    "/segv        writes through a bad pointer\n"
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
    "/fork-exit   forks a child that calls exit(0), answers\n"
    "/spawn       runs the program `true`, answers\n"
    "/fork-segv   forks a child that writes through a bad pointer, answers\n"
    "/own-thread-segv  waits for a thread of its own that does so\n"
    "/uaf         uses memory after it was freed, answers if it can\n"
    "/block-signals    blocks all signals, then for ever\n"
    "/steals-sigsegv   catches SIGSEGV itself, then does as /segv\n"
    "/crash-midstream?framing=chunked|counted|close  sends some of its body,\n"
    "             then does as /segv; close is for HTTP/1.0 clients\n";

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

/* A function of its own, so that a stack trace names more than the handler. */
__attribute__((noinline)) static void segv(void)
{
    *(volatile int *)nowhere = 1;
}

/* Writes on past its own array, over the address it was to return to. */
__attribute__((noinline)) static const char *overflow(volatile size_t len)
{
    volatile char array[16];

    for (volatile size_t i = 0; i < len; i = i + 1)
        array[i] = 'A';
    return array[0] == 'A' ? "still alive\n" : "odd\n";
}

static const char *status_of(struct gcorn_environ *env, pid_t pid)
{
    int status = -1;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return gcorn_printf(env, "the child's status is %d\n", status);
}

static const char *spawn(struct gcorn_environ *env)
{
    char name[] = "true", *const argv[] = {name, NULL}, *const variables[] = {NULL};
    pid_t pid;

    if (posix_spawnp(&pid, name, NULL, NULL, argv, variables) != 0)
        return "posix_spawnp failed\n";
    return status_of(env, pid);
}

/* The child's exit() runs what the worker registered with atexit, on the worker's sockets. */
static const char *fork_exit(struct gcorn_environ *env)
{
    pid_t pid = fork();

    if (pid < 0)
        return "fork failed\n";
    if (pid == 0)
        exit(0);
    return status_of(env, pid);
}

/* The worker is not hurt, but the child has inherited its handlers and its sockets. */
static const char *fork_segv(struct gcorn_environ *env)
{
    int status = -1;
    pid_t pid = fork();

    if (pid < 0)
        return "fork failed\n";
    if (pid == 0) {
        segv();
        _exit(0);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return gcorn_printf(env, "the child's signal is %d\n", WTERMSIG(status));
}

static void *segv_thread(void *unused)
{
    segv();
    return unused;
}

/* The thread that faults is not the one that serves, and has no signal stack of the server's. */
static const char *own_thread_segv(void)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, segv_thread, NULL) != 0)
        return "pthread_create failed\n";
    pthread_join(thread, NULL);
    return "still alive\n";
}

/* The sanitizers report the first write. The C library notices by luck, when at all: what is
 * written over is its own list of free pieces. */
static const char *use_after_free(void)
{
    char *volatile piece = (char *)malloc(64);
    volatile char *freed = piece;

    if (!piece)
        return "malloc failed\n";
    free(piece);
    for (int i = 0; i < 64; i++)
        freed[i] = 'A';
    for (int i = 0; i < 4; i++) {
        piece = (char *)malloc(64); /* these stay: to free them would go on from there */
        if (piece)
            piece[0] = 'B';
    }
    return "still alive\n";
}

/* Nothing but SIGKILL, and what the kernel itself forces, gets through. */
static void block_signals(void)
{
    sigset_t all;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    while (ever)
        pause();
}

static void leave_at_once(int signal_number)
{
    (void)signal_number;
    _exit(1);
}

/* As a library for crash reports does, so that the server's own handler is never run. */
static void steal_sigsegv(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    action.sa_handler = leave_at_once;
    sigaction(SIGSEGV, &action, NULL);
    segv();
}

/* The first piece is on its way, or with a slow client partly so, when the second is asked for. */
static ssize_t next_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    static const char first[] = "some bytes of the body\n";
    bool *begun = (bool *)state;

    (void)env;
    if (*begun)
        segv();
    *begun = true;
    *chunk = first;
    return (ssize_t)sizeof(first) - 1;
}

/* How the end of an answer is known: by the sizes of its chunks, by its Content-Length, or by the
 * end of the connection, which is how an HTTP/1.0 client gets one without either. */
static struct gcorn_body *crash_midstream(struct gcorn_environ *env,
                                          struct gcorn_start_response *start_response)
{
    static const struct gcorn_header plain[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    static const struct gcorn_header counted[] = {
        {"Content-Type", "text/plain"}, {"Content-Length", "1000000"}, {NULL, NULL}};
    const char *framing = gcorn_query(env, "framing");
    bool is_old = strcmp(gcorn_get(env, "SERVER_PROTOCOL"), "HTTP/1.0") == 0;
    bool is_counted = framing && strcmp(framing, "counted") == 0;

    if (!is_counted && (framing && strcmp(framing, "close") == 0) != is_old) {
        gcorn_start(start_response, "400 Bad Request", plain);
        return gcorn_body_text(env, "chunked is for HTTP/1.1, close for HTTP/1.0\n");
    }
    gcorn_start(start_response, "200 OK", is_counted ? counted : plain);
    return gcorn_body_iter(env, next_piece, NULL, gcorn_alloc(env, sizeof(bool)));
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
        segv();
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
    } else if (strcmp(path, "/spawn") == 0) {
        text = spawn(env);
    } else if (strcmp(path, "/fork-segv") == 0) {
        text = fork_segv(env);
    } else if (strcmp(path, "/own-thread-segv") == 0) {
        text = own_thread_segv();
    } else if (strcmp(path, "/uaf") == 0) {
        text = use_after_free();
    } else if (strcmp(path, "/block-signals") == 0) {
        block_signals();
    } else if (strcmp(path, "/steals-sigsegv") == 0) {
        steal_sigsegv();
    } else if (strcmp(path, "/crash-midstream") == 0) {
        return crash_midstream(env, start_response);
    } else {
        status = "404 Not Found";
        text = "no such fault; GET / lists them\n";
    }
    gcorn_start(start_response, status, headers);
    return gcorn_body_text(env, text);
}
