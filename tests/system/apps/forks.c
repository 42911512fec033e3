/* An application that forks in every place where it runs.
 *
 *   /orphan            forks a child that lives until the file "go" exists; answers its pid
 *   /endless           the same, with an answer that has no length
 *   /body              the same; the child writes the request's body to the file "body" first
 *   /return            forks a child that returns from the handler as the parent does
 *   /return-next       ... from next; /return-close from close; /return-later from a callback of
 *                      the loop's
 *   /storm             forks a child that looks whether the descriptors that the application has
 *                      are what they were, and waits for it; 500 when they are not
 *   /metrics           forks children while a thread makes metrics; 500 when one of them hangs, or
 *                      gets a metric
 *   /fds               answers how many descriptors the worker has
 *
 * FORK_IN_INIT: a child of gcorn_on_worker_init returns; FORK_IN_LOAD: one of a constructor lives
 * until "go" exists, and its pid is in the file "child".
 */
#include "gcorn.h"

#include <dirent.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void live_until_go(void)
{
    const struct timespec pause = {.tv_nsec = 10000000};

    while (access("go", F_OK) != 0)
        nanosleep(&pause, NULL);
    _exit(0);
}

static void copy_body(struct gcorn_environ *env)
{
    char buf[65536];
    ssize_t n;
    int fd = open("body.part", O_WRONLY | O_CREAT | O_TRUNC, 0600);

    while ((n = gcorn_input_read(env, buf, sizeof(buf))) > 0)
        if (write(fd, buf, (size_t)n) != n)
            _exit(1);
    close(fd);
    rename("body.part", "body");
}

static pid_t orphan(struct gcorn_environ *env, const char *path)
{
    pid_t pid = fork();

    if (pid == 0) {
        if (strcmp(path, "/body") == 0)
            copy_body(env);
        live_until_go();
    }
    return pid;
}

/* ---- a storm: descriptors of the application's, each of which must stay what it is -------- */

static int open_some(ino_t *inode)
{
    struct stat st;
    int fds[2];

    if (pipe(fds) < 0)
        return -1;
    close(fds[1]);
    fstat(fds[0], &st);
    *inode = st.st_ino;
    return fds[0];
}

static bool storm(void)
{
    enum { COUNT = 8 };
    ino_t inodes[COUNT];
    int fds[COUNT], status = 1;

    for (int i = 0; i < COUNT; i++)
        fds[i] = open_some(&inodes[i]);
    pid_t pid = fork();
    if (pid == 0) {
        for (int i = 0; i < COUNT; i++) {
            struct stat st;

            if (fstat(fds[i], &st) < 0 || st.st_ino != inodes[i])
                _exit(2);
        }
        _exit(0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    for (int i = 0; i < COUNT; i++) {
        struct stat st;

        if (fds[i] < 0 || fstat(fds[i], &st) < 0 || st.st_ino != inodes[i])
            status = 1;
        close(fds[i]);
    }
    return status == 0;
}

/* ---- metrics ----------------------------------------------------------------------------- */

static atomic_bool makes_metrics;

static void *make_metrics(void *unused)
{
    (void)unused;
    while (makes_metrics)
        (void)gcorn_counter("made_total", "Made.");
    return NULL;
}

static bool child_has_no_metric(void)
{
    int status = 1;
    pid_t pid = fork();

    if (pid == 0) {
        alarm(5);
        _exit(gcorn_counter("made_total", "Made.") ? 1 : 0);
    }
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return status == 0;
}

static bool children_have_no_metrics(void)
{
    pthread_t thread;
    bool is_right = true;

    makes_metrics = true;
    if (pthread_create(&thread, NULL, make_metrics, NULL) != 0)
        return false;
    for (int i = 0; i < 100 && is_right; i++)
        is_right = child_has_no_metric();
    makes_metrics = false;
    pthread_join(thread, NULL);
    return is_right;
}

/* ---- returning --------------------------------------------------------------------------- */

static ssize_t next_once(struct gcorn_environ *env, void *state, const void **chunk)
{
    int *calls = state;

    (void)env;
    *chunk = "once\n";
    return (*calls)++ == 0 ? 5 : 0;
}

static ssize_t next_forks(struct gcorn_environ *env, void *state, const void **chunk)
{
    if (*(int *)state == 0)
        (void)!fork();
    return next_once(env, state, chunk);
}

static void close_forks(struct gcorn_environ *env, void *state)
{
    (void)env;
    (void)state;
    (void)!fork();
}

static void timer_forks(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
    (void)!fork();
}

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = -3; /* ".", ".." and the directory */

    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

GCORN_EXPORT struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start)
{
    static const struct gcorn_header headers[] = {{"Content-Type", "text/plain"}, {NULL, NULL}};
    static ev_timer timer;
    const char *path = gcorn_get(env, "PATH_INFO");
    int *calls = gcorn_alloc(env, sizeof(*calls));

    if (strcmp(path, "/storm") == 0) {
        gcorn_start(start, storm() ? "200 OK" : "500 A descriptor is lost", headers);
        return gcorn_body_text(env, "");
    }
    if (strcmp(path, "/metrics") == 0) {
        gcorn_start(start, children_have_no_metrics() ? "200 OK" : "500 Metrics", headers);
        return gcorn_body_text(env, "");
    }
    gcorn_start(start, "200 OK", headers);
    if (strcmp(path, "/orphan") == 0 || strcmp(path, "/body") == 0)
        return gcorn_body_text(env, gcorn_printf(env, "%d", (int)orphan(env, path)));
    if (strcmp(path, "/endless") == 0) {
        (void)orphan(env, path);
        return gcorn_body_iter(env, next_once, NULL, calls);
    }
    if (strcmp(path, "/return") == 0)
        (void)!fork();
    if (strcmp(path, "/return-next") == 0)
        return gcorn_body_iter(env, next_forks, NULL, calls);
    if (strcmp(path, "/return-close") == 0)
        return gcorn_body_iter(env, next_once, close_forks, calls);
    if (strcmp(path, "/return-later") == 0) {
        ev_timer_init(&timer, timer_forks, 0.01, 0);
        ev_timer_start(gcorn_loop(), &timer);
    }
    if (strcmp(path, "/fds") == 0)
        return gcorn_body_text(env, gcorn_printf(env, "%d", count_fds()));
    return gcorn_body_text(env, "once\n");
}

#ifdef FORK_IN_INIT
GCORN_EXPORT int gcorn_on_worker_init(void)
{
    (void)!fork();
    return 0;
}
#endif

#ifdef FORK_IN_LOAD
static void __attribute__((constructor)) fork_in_load(void)
{
    pid_t pid = fork();
    FILE *file;

    if (pid == 0)
        live_until_go();
    file = fopen("child.part", "w");
    fprintf(file, "%d", (int)pid);
    fclose(file);
    rename("child.part", "child");
}
#endif
