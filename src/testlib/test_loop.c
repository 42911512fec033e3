/* SPDX-License-Identifier: MIT
 *
 * See test_loop.h.
 */
#include "testlib/test_loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/util.h"

enum { LAST_POSTS_MAX = 1000 }; /* posts that posts make when the threads have ended */

struct timer {
    struct timer *next;
    uintptr_t handle; /* never used again */
    gcorn_call_fn *fn;
    void *arg;
    uint64_t due_ms, every_ms; /* every_ms 0: once */
};

struct post {
    struct post *next;
    gcorn_call_fn *fn;
    void *arg;
};

struct thread {
    struct thread *next;
    pthread_t handle;
    gcorn_call_fn *run, *stop;
    void *arg;
    _Atomic bool has_ended;
};

static struct {
    pthread_t owner;
    void (*wake)(void);
    struct timer *timers; /* in the order of their times; of the same time, as they were set */
    uintptr_t last_handle;
    pthread_mutex_t lock;     /* of the rest */
    struct post *first, *end; /* of the posts */
    struct thread *threads;
} self = {.lock = PTHREAD_MUTEX_INITIALIZER};

void test_loop_init(void (*wake)(void))
{
    self.owner = pthread_self();
    self.wake = wake;
}

/* ---- timers ------------------------------------------------------------------------------ */

static void insert(struct timer *t)
{
    struct timer **at = &self.timers;

    while (*at && (*at)->due_ms <= t->due_ms)
        at = &(*at)->next;
    t->next = *at;
    *at = t;
}

static uint64_t sum(uint64_t a, uint64_t b)
{
    return a + b < a ? UINT64_MAX - 1 : a + b;
}

struct gcorn_timer *test_timer_start(uint64_t ms, bool repeats, gcorn_call_fn *fn, void *arg)
{
    if (!pthread_equal(self.owner, pthread_self())) {
        errno = EPERM;
        return NULL;
    }
    struct timer *t = xmalloc(sizeof(*t));
    *t = (struct timer){.handle = ++self.last_handle,
                        .fn = fn,
                        .arg = arg,
                        .due_ms = sum(gcorn_now(), ms),
                        .every_ms = repeats ? ms : 0};
    insert(t);
    return (struct gcorn_timer *)t->handle; /* NOLINT(performance-no-int-to-ptr) */
}

/* Where the list holds the timer; NULL: it is over. */
static struct timer **find(uintptr_t handle)
{
    for (struct timer **at = &self.timers; *at; at = &(*at)->next) {
        if ((*at)->handle == handle)
            return at;
    }
    return NULL;
}

void test_timer_stop(struct gcorn_timer *timer)
{
    struct timer **at = find((uintptr_t)timer), *t = at ? *at : NULL;

    if (!t)
        return;
    *at = t->next;
    free(t);
}

void test_stop_timers(void)
{
    for (struct timer *t; (t = self.timers); free(t))
        self.timers = t->next;
}

uint64_t test_timer_next_ms(void)
{
    return self.timers ? self.timers->due_ms : UINT64_MAX;
}

/* at: where the list holds it. */
static void run_timer(struct timer **at)
{
    struct timer *t = *at;
    const struct timer what = *t;

    *at = t->next;
    if (t->every_ms > 0) { /* its next time stands before the call, which may stop it */
        t->due_ms = sum(t->due_ms, t->every_ms);
        insert(t);
    } else {
        free(t);
    }
    what.fn(what.arg);
}

/* Those that a call sets wait, as a timer of 0 ms may set itself again for ever. */
bool test_run_timers(void)
{
    uintptr_t last = self.last_handle;
    bool any = false;

    for (;;) {
        struct timer **at = &self.timers;

        while (*at && (*at)->handle > last)
            at = &(*at)->next;
        if (!*at || (*at)->due_ms > gcorn_now())
            return any;
        run_timer(at);
        any = true;
    }
}

/* ---- posts ------------------------------------------------------------------------------- */

int test_post(gcorn_call_fn *fn, void *arg)
{
    struct post *post = xmalloc(sizeof(*post));

    *post = (struct post){.fn = fn, .arg = arg};
    (void)pthread_mutex_lock(&self.lock);
    if (self.first)
        self.end->next = post;
    else
        self.first = post;
    self.end = post;
    (void)pthread_mutex_unlock(&self.lock);
    if (self.wake)
        self.wake();
    return 0;
}

/* Those that a call posts wait, as a post may post itself again for ever. */
bool test_run_posts(void)
{
    (void)pthread_mutex_lock(&self.lock);
    struct post *post = self.first;
    self.first = NULL;
    (void)pthread_mutex_unlock(&self.lock);
    bool any = post != NULL;
    while (post) {
        const struct post what = *post;

        free(post);
        post = what.next;
        what.fn(what.arg);
    }
    return any;
}

/* ---- threads ----------------------------------------------------------------------------- */

static void *run_thread(void *arg)
{
    struct thread *t = arg;

    t->run(t->arg);
    atomic_store(&t->has_ended, true);
    return NULL;
}

int test_thread_start(const char *name, gcorn_call_fn *run, gcorn_call_fn *stop, void *arg)
{
    struct thread *t = xcalloc(1, sizeof(*t));
    sigset_t all, before;

    (void)name;
    *t = (struct thread){.run = run, .stop = stop, .arg = arg};
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&t->handle, NULL, run_thread, t);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        free(t);
        errno = error;
        return -1;
    }
    (void)pthread_mutex_lock(&self.lock);
    t->next = self.threads;
    self.threads = t;
    (void)pthread_mutex_unlock(&self.lock);
    return 0;
}

static struct thread *take_thread(void)
{
    (void)pthread_mutex_lock(&self.lock);
    struct thread *t = self.threads;
    if (t)
        self.threads = t->next;
    (void)pthread_mutex_unlock(&self.lock);
    return t;
}

void test_stop_threads(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};

    for (struct thread *t; (t = take_thread());) {
        if (t->stop && !atomic_load(&t->has_ended))
            t->stop(t->arg);
        while (!atomic_load(&t->has_ended)) {
            (void)test_run_posts(); /* it may wait for one */
            (void)nanosleep(&moment, NULL);
        }
        (void)pthread_join(t->handle, NULL);
        free(t);
    }
    for (int i = 0; i < LAST_POSTS_MAX && test_run_posts(); i++)
        continue;
}
