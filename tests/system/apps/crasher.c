/* SPDX-License-Identifier: MIT
 *
 * crasher - crashes that faulty does not show, one a path:
 *
 *   /midstream?framing=F   a body's first piece, then a fault: chunked, counted, close
 *   /big?kb=N              N KiB in one piece
 *   /segv  /recurse        a bad pointer; the end of the stack
 *   /thread  /thread-later in a thread, while the call waits; when the file "go" exists
 *   /thread-soon           the same, some milliseconds after the call
 *   /echo?TEXT             the text
 *   /fork-segv             in a child; answers the signal that ended it
 *   /close  /unreadable    behind a body's last piece; a body that is not where it is said to be
 *   /exit                  exit(); with FALLS_AGAIN what exit() calls is a fault
 *   /hang-later            blocks all signals for ever, between two calls
 *   /steal  /block         takes SIGSEGV's handler away; blocks all signals
 *   /deaf                  closes the server's listening sockets
 *
 * With HANDLES it installs a signal handler when it is loaded.
 */
#include <ev.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <gcorn.h>

static volatile uintptr_t nowhere = 64;

static void fault(void)
{
    *(volatile int *)nowhere = 1;
}

__attribute__((noinline)) static int recurse(volatile int depth)
{
    volatile char page[4096];

    page[0] = (char)depth;
    return depth == -1 ? 0 : recurse(depth + 1) + page[0];
}

static void *crash_now(void *unused)
{
    (void)unused;
    fault();
    return NULL;
}

static void *crash_soon(void *unused)
{
    const struct timespec pause = {.tv_nsec =
                                       3000000 + (time(NULL) * 7919 + clock()) % 1000 * 1000};

    nanosleep(&pause, NULL);
    return crash_now(unused);
}

static void *crash_later(void *unused)
{
    const struct timespec pause = {.tv_nsec = 1000000};

    while (access("go", F_OK) < 0)
        nanosleep(&pause, NULL);
    return crash_now(unused);
}

static const char *fork_segv(struct gcorn_environ *env)
{
    const struct rlimit no_core = {0, 0};
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &no_core);
        fault();
    }
    waitpid(pid, &status, 0);
    return gcorn_printf(env, "%d", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void on_moment(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    sigset_t all;

    (void)loop;
    (void)timer;
    (void)revents;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;)
        pause();
}

static void hang_later(void)
{
    static struct ev_timer moment;

    ev_timer_init(&moment, on_moment, 0.05, 0);
    ev_timer_start(gcorn_loop(), &moment);
}

static void close_listeners(void)
{
    for (int fd = 3; fd < 256; fd++) {
        int listens = 0;
        socklen_t len = sizeof(listens);

        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens)
            close(fd);
    }
}

static const char *run(struct gcorn_environ *env, const char *path)
{
    pthread_t thread;
    sigset_t all;

    if (strcmp(path, "/segv") == 0) {
        fault();
    } else if (strcmp(path, "/recurse") == 0) {
        recurse(0);
    } else if (strcmp(path, "/thread") == 0) {
        pthread_create(&thread, NULL, crash_now, NULL);
        pthread_join(thread, NULL);
    } else if (strcmp(path, "/thread-later") == 0) {
        pthread_create(&thread, NULL, crash_later, NULL);
        pthread_detach(thread);
    } else if (strcmp(path, "/thread-soon") == 0) {
        pthread_create(&thread, NULL, crash_soon, NULL);
        pthread_detach(thread);
    } else if (strcmp(path, "/echo") == 0) {
        return gcorn_get(env, "QUERY_STRING");
    } else if (strcmp(path, "/fork-segv") == 0) {
        return fork_segv(env);
    } else if (strcmp(path, "/exit") == 0) {
        exit(0);
    } else if (strcmp(path, "/hang-later") == 0) {
        hang_later();
    } else if (strcmp(path, "/steal") == 0) {
        signal(SIGSEGV, SIG_DFL);
    } else if (strcmp(path, "/block") == 0) {
        sigfillset(&all);
        sigprocmask(SIG_BLOCK, &all, NULL);
    } else if (strcmp(path, "/deaf") == 0) {
        close_listeners();
    }
    return "";
}

static ssize_t next_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *calls = state;

    (void)env;
    if ((*calls)++ > 0)
        fault();
    *chunk = "first";
    return 5;
}

static struct gcorn_body *midstream(struct gcorn_environ *env,
                                    struct gcorn_start_response *start_response)
{
    static const struct gcorn_header counted[] = {{"Content-Length", "100"}, {NULL, NULL}};
    const char *framing = gcorn_query(env, "framing");

    gcorn_start(start_response, "200 OK",
                framing && strcmp(framing, "counted") == 0 ? counted : NULL);
    return gcorn_body_iter(env, next_piece, NULL, gcorn_alloc(env, sizeof(int)));
}

static void close_body(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    fault();
}

static ssize_t only_piece(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *calls = state;

    (void)env;
    *chunk = "whole";
    return (*calls)++ == 0 ? 5 : 0;
}

static struct gcorn_body *closed(struct gcorn_environ *env)
{
    return gcorn_body_iter(env, only_piece, close_body, gcorn_alloc(env, sizeof(int)));
}

static struct gcorn_body *big(struct gcorn_environ *env)
{
    size_t len = (size_t)atoi(gcorn_query(env, "kb")) * 1024;
    char *data = gcorn_alloc(env, len + 1);

    return gcorn_body_borrow(env, memset(data, 'b', len), len);
}

#ifdef FALLS_AGAIN
int gcorn_on_worker_init(void)
{
    return atexit(fault);
}
#endif

#ifdef HANDLES
static void on_segv(int number)
{
    static const char text[] = "the application's own handler ran\n";

    (void)!write(STDERR_FILENO, text, sizeof(text) - 1);
    signal(number, SIG_DFL);
}

int gcorn_on_worker_init(void)
{
    signal(SIGSEGV, on_segv);
    return 0;
}
#endif

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    if (strcmp(path, "/midstream") == 0)
        return midstream(env, start_response);
    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/big") == 0)
        return big(env);
    if (strcmp(path, "/close") == 0)
        return closed(env);
    if (strcmp(path, "/unreadable") == 0)
        return gcorn_body_borrow(env, (const void *)nowhere, 10);
    return gcorn_body_text(env, run(env, path));
}
