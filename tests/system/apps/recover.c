/* SPDX-License-Identifier: MIT
 *
 * recover - an application with a handler of SIGSEGV of its own, as a managed runtime has one,
 * which goes on after a fault:
 *
 *   /call     in a call, which then answers
 *   /timer    in a callback of the worker's loop, some milliseconds after the call
 *   /thread   in a thread of the application
 *   /stays    in a handler that never returns
 *   /count    how many calls this process has had, and its pid
 *
 * -DALONE: it relies on its own handler, and counts the faults it has recovered from.
 */
#include <ev.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <gcorn.h>

static __thread sigjmp_buf back;
static __thread volatile sig_atomic_t stays;
static volatile uintptr_t nowhere = 64;
static unsigned calls, recovered;

static void on_segv(int number)
{
    (void)number;
    while (stays)
        pause();
    siglongjmp(back, 1);
}

GCORN_EXPORT int gcorn_on_worker_init(void)
{
    const struct sigaction action = {.sa_handler = on_segv, .sa_flags = SA_NODEFER};

    return sigaction(SIGSEGV, &action, NULL);
}

static void fault(void)
{
    if (sigsetjmp(back, 1) == 0)
        *(volatile int *)nowhere = 1;
    recovered++;
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    (void)loop;
    (void)timer;
    (void)revents;
    fault();
}

static void fault_in_timer(void)
{
    static struct ev_timer timer;

    ev_timer_init(&timer, on_timer, 0.02, 0);
    ev_timer_start(gcorn_loop(), &timer);
}

static void *fault_in_thread(void *unused)
{
    fault();
    return unused;
}

GCORN_EXPORT
struct gcorn_body *handler(struct gcorn_environ *env, struct gcorn_start_response *start_response)
{
    const char *path = gcorn_get(env, "PATH_INFO");
    pthread_t thread;

    calls++;
    if (strcmp(path, "/call") == 0) {
        fault();
    } else if (strcmp(path, "/timer") == 0) {
        fault_in_timer();
    } else if (strcmp(path, "/stays") == 0) {
        stays = 1;
        fault();
    } else if (strcmp(path, "/thread") == 0 &&
               pthread_create(&thread, NULL, fault_in_thread, NULL) == 0) {
        pthread_join(thread, NULL);
    }
    gcorn_start(start_response, "200 OK", NULL);
    return gcorn_body_text(env, gcorn_printf(env, "%u %u %d", calls, recovered, (int)getpid()));
}
