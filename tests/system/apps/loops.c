/* SPDX-License-Identifier: MIT
 *
 * loops - timers, posts and threads, one way a path. What happens at the worker's ends is appended to
 * the file said, one line each.
 *
 *   /ticks           how often a timer of 10 ms has been called
 *   /wait?ms=N       answers "woken" when a timer wakes it; next posts what sets the timer
 *   /thread          answers "woken" when the thread has posted the wake
 *   /do?what=F&in=K  has the loop call F in a timer or post: crash_now, block_now (until the file go
 *                    is there)
 *   /fault           has the thread crash
 *   /until?ticks=N   answers "ticked" when there have been so many
 *   /stream          a line, then nothing until the worker drains and a post wakes it
 *   /again           posts a function that posts itself again, for ever
 *   /fork            what timers, posts and threads say in a forked child
 *
 * -DENDLESS: its thread does not end.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gcorn.h>

static _Atomic unsigned long ticks;
static _Atomic bool is_to_stop, is_to_crash;
static _Atomic uint64_t for_thread; /* a ticket that the thread wakes */
static struct gcorn_timer *ticker;

static void note(const char *line)
{
    int fd = open("said", O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);

    if (write(fd, line, strlen(line)) < 0)
        _exit(99);
    close(fd);
}

static void say(void *line)
{
    note(line);
}

static void *text(const char *line)
{
    return (void *)(uintptr_t)line;
}

/* ---- what the loop calls ----------------------------------------------------------------- */

static void tick(void *unused)
{
    (void)unused;
    ticks++;
}

static void wake(void *ticket)
{
    gcorn_wake((uint64_t)(uintptr_t)ticket);
}

struct alarm {
    uint64_t ticket, ms;
};

static void set_alarm(void *arg)
{
    struct alarm *a = arg;

    gcorn_timer_once(a->ms, wake, (void *)(uintptr_t)a->ticket);
    free(a);
}

GCORN_EXPORT void crash_now(void *nothing)
{
    *(volatile int *)nothing = 1;
}

GCORN_EXPORT void block_now(void *unused)
{
    (void)unused;
    note("blocks\n");
    while (access("go", F_OK) < 0)
        usleep(1000);
}

static void post_again(void *unused)
{
    if (gcorn_post(post_again, unused) < 0)
        note(errno == ESHUTDOWN ? "refused\n" : "refused?\n");
}

static void set_timer(void *fn)
{
    gcorn_call_fn *what;

    memcpy(&what, &fn, sizeof(what));
    gcorn_timer_once(1, what, NULL);
}

/* ---- the thread -------------------------------------------------------------------------- */

static void run(void *unused)
{
    (void)unused;
#ifdef ENDLESS
    for (;;)
        usleep(1000);
#endif
    while (!is_to_stop) {
        uint64_t ticket = atomic_exchange(&for_thread, 0);

        if (is_to_crash)
            crash_now(NULL);
        if (ticket != 0 && gcorn_post(wake, (void *)(uintptr_t)ticket) < 0)
            note("thread: post failed\n");
        usleep(1000);
    }
    note(gcorn_post(say, text("last post\n")) == 0 ? "thread ends\n" : "thread: refused\n");
}

static void stop(void *unused)
{
    (void)unused;
    note("stop\n");
    is_to_stop = true;
}

/* ---- the worker's ends -------------------------------------------------------------------- */

__attribute__((constructor)) static void load(void)
{
    char line[80];
    int post = gcorn_post(say, text("post of the constructor\n")) == 0 ? 0 : errno;
    int timer = gcorn_timer_once(1, tick, NULL) ? 0 : errno;
    int thread = post == 0 ? 0 : gcorn_thread_start("early", run, stop, NULL) == 0 ? 0 : errno;

    snprintf(line, sizeof(line), "constructor %d %d %d\n", post, timer, thread);
    note(line);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    ticker = gcorn_timer_every(10, tick, NULL);
    if (!ticker || gcorn_post(say, text("post of init\n")) < 0)
        return -1;
    note("init\n");
    return gcorn_thread_start("loops", run, stop, NULL);
}

GCORN_EXPORT void gcorn_on_worker_exit(void)
{
    note(gcorn_post(say, text("too late\n")) < 0 && errno == ESHUTDOWN ? "exit\n" : "exit?\n");
}

/* ---- requests ---------------------------------------------------------------------------- */

static unsigned long number(struct gcorn_environ *env, const char *name)
{
    const char *value = gcorn_query(env, name);

    return value ? strtoul(value, NULL, 10) : 0;
}

struct wait {
    unsigned turn;
    bool by_thread;
    uint64_t ms;
};

/* Within next, where no wake is lost. */
static void begin_wait(struct gcorn_environ *env, const struct wait *w)
{
    struct alarm *a;

    if (w->by_thread) {
        for_thread = gcorn_ticket(env);
        return;
    }
    a = malloc(sizeof(*a));
    if (!a)
        abort();
    *a = (struct alarm){gcorn_ticket(env), w->ms};
    if (gcorn_post(set_alarm, a) < 0)
        abort();
}

/* Asked again, it is done. */
static ssize_t next_woken(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct wait *w = state;

    if (w->turn++ == 0) {
        begin_wait(env, w);
        return GCORN_AGAIN;
    }
    *chunk = "woken";
    return w->turn == 2 ? 5 : 0;
}

static struct gcorn_body *wait_body(struct gcorn_environ *env, bool by_thread)
{
    struct wait *w = gcorn_alloc(env, sizeof(*w));

    w->by_thread = by_thread;
    w->ms = number(env, "ms");
    return gcorn_body_iter(env, next_woken, NULL, w);
}

static struct gcorn_body *have_called(struct gcorn_environ *env)
{
    const char *what = gcorn_query(env, "what");
    gcorn_call_fn *fn = strcmp(what, "crash_now") == 0 ? crash_now : block_now;
    void *address;

    memcpy(&address, &fn, sizeof(address));
    if (strcmp(gcorn_query(env, "in"), "timer") == 0)
        gcorn_post(set_timer, address);
    else
        gcorn_post(fn, NULL);
    return gcorn_body_text(env, "soon");
}

/* Also where nothing wakes it: the check of a reload, and --replay. */
static ssize_t next_ticked(struct gcorn_environ *env, void *state, const void **chunk)
{
    unsigned *turn = state;

    if (ticks < number(env, "ticks")) {
        gcorn_wake_at(env, gcorn_now() + 5);
        return GCORN_AGAIN;
    }
    *chunk = "ticked";
    return (*turn)++ == 0 ? 6 : 0;
}

struct stream {
    uint64_t ticket;
    bool begun, posted;
};

static ssize_t next_line(struct gcorn_environ *env, void *state, const void **chunk)
{
    struct stream *s = state;

    (void)env;
    if (!s->begun) {
        s->begun = true;
        *chunk = "begun\n";
        return 6;
    }
    if (!gcorn_draining())
        return GCORN_AGAIN;
    if (s->posted)
        return 0;
    s->posted = true;
    gcorn_post(say, text("post of the drain\n"));
    gcorn_post(wake, (void *)(uintptr_t)s->ticket);
    return GCORN_AGAIN;
}

static struct gcorn_body *stream(struct gcorn_environ *env)
{
    struct stream *s = gcorn_alloc(env, sizeof(*s));

    s->ticket = gcorn_ticket(env);
    return gcorn_body_iter(env, next_line, NULL, s);
}

static struct gcorn_body *in_child(struct gcorn_environ *env)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        int right = gcorn_post(tick, NULL) < 0 && errno == ENOTSUP;
        right += !gcorn_timer_once(1, tick, NULL) && errno == ENOTSUP;
        right += gcorn_thread_start("no", run, stop, NULL) < 0 && errno == ENOTSUP;
        gcorn_timer_stop(ticker);
        _exit(right);
    }
    waitpid(pid, &status, 0);
    return gcorn_body_printf(env, "%d", WEXITSTATUS(status));
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");

    gcorn_start(start_response, "200 OK", NULL);
    if (strcmp(path, "/wait") == 0)
        return wait_body(env, false);
    if (strcmp(path, "/thread") == 0)
        return wait_body(env, true);
    if (strcmp(path, "/do") == 0)
        return have_called(env);
    if (strcmp(path, "/until") == 0)
        return gcorn_body_iter(env, next_ticked, NULL, gcorn_alloc(env, sizeof(unsigned)));
    if (strcmp(path, "/stream") == 0)
        return stream(env);
    is_to_crash = strcmp(path, "/fault") == 0;
    if (strcmp(path, "/again") == 0)
        return gcorn_body_text(env, gcorn_post(post_again, NULL) == 0 ? "posted\n" : "refused\n");
    if (strcmp(path, "/fork") == 0)
        return in_child(env);
    return gcorn_body_printf(env, "%lu", (unsigned long)ticks);
}
