/* SPDX-License-Identifier: MIT
 *
 * See ptrace.h. What /proc tells is read before a thread is held: afterwards it would only say
 * that it is being traced. A thread that is about to take a signal stops for that instead of for
 * our interrupt; PTRACE_DETACH delivers the signal.
 */
#include "system/trace/ptrace.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/small_file.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "system/process/procfs.h"

enum {
    ROUNDS_MAX = 8, /* of looking for threads that were started while others were stopped */
    STOP_POLL_NS = 100000,
    TURN_MS = 400, /* to wait for another tracer */
};

/* ---- /proc ------------------------------------------------------------------------------- */

static int read_of_thread(pid_t pid, pid_t tid, const char *file, char *text, size_t size)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
    return small_file_start(path, text, size) < 0 ? -1 : 0;
}

static uint64_t ticks_to_ms(unsigned long long ticks)
{
    long per_second = sysconf(_SC_CLK_TCK);

    return per_second > 0 ? (uint64_t)(ticks * 1000 / (unsigned long long)per_second) : 0;
}

static void read_stat(struct thread *t, pid_t pid)
{
    unsigned long long user, system;
    char text[512], state;

    if (read_of_thread(pid, t->tid, "stat", text, sizeof(text)) < 0)
        return;
    const char *name = strchr(text, '('), *end = strrchr(text, ')'); /* the name may hold both */
    if (!name || !end || end < name)
        return;
    (void)snprintf(t->name, sizeof(t->name), "%.*s", (int)(end - name - 1), name + 1);
    if (sscanf(end + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu", &state, &user,
               &system) != 3)
        return;
    t->state = state;
    t->user_ms = ticks_to_ms(user);
    t->system_ms = ticks_to_ms(system);
}

/* Of a held one: the last word of the file, on every architecture. */
static void read_pc(struct thread *t, pid_t pid)
{
    char text[256];

    if (read_of_thread(pid, t->tid, "syscall", text, sizeof(text)) < 0)
        return;
    const char *last = strrchr(text, ' ');
    t->pc = last ? strtoull(last + 1, NULL, 16) : 0;
}

static void look_at(struct thread *t, pid_t pid, pid_t tid)
{
    *t = (struct thread){.tid = tid, .state = '?'};
    read_stat(t, pid);
    if (read_of_thread(pid, tid, "wchan", t->wchan, sizeof(t->wchan)) < 0 ||
        strcmp(t->wchan, "0") == 0)
        t->wchan[0] = '\0';
}

static bool is_known(const struct threads *t, pid_t tid)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->list[i].tid == tid)
            return true;
    }
    return false;
}

/* Adds the threads that are not in the list yet. How many, or -1 with errno. */
static int add_new(struct threads *t)
{
    char path[64];
    struct dirent *entry;
    int added = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/task", (int)t->pid);
    DIR *dir = opendir(path);
    if (!dir)
        return -1;
    t->unseen = 0;
    while ((entry = readdir(dir))) {
        pid_t tid = (pid_t)atoi(entry->d_name);

        if (tid <= 0 || is_known(t, tid))
            continue;
        if (t->count == THREADS_MAX) {
            t->unseen++;
            continue;
        }
        look_at(&t->list[t->count++], t->pid, tid);
        added++;
    }
    (void)closedir(dir);
    return added;
}

int threads_look(struct threads *t, pid_t pid)
{
    *t = (struct threads){.pid = pid, .list = xcalloc(THREADS_MAX, sizeof(*t->list))};
    if (add_new(t) >= 0)
        return 0;
    int saved_errno = errno;
    threads_release(t);
    errno = saved_errno == EACCES ? EACCES : ESRCH;
    return -1;
}

/* ---- holding ----------------------------------------------------------------------------- */

/* Another helper is through in a moment; a debugger is not. */
static int seize_in_turn(pid_t tid, uint64_t until_ms)
{
    const struct timespec pause = {.tv_nsec = STOP_POLL_NS};

    while (ptrace(PTRACE_SEIZE, tid, NULL, NULL) < 0) {
        int error = errno;

        if (error != EPERM || now_ms() >= until_ms || procfs_tracer(tid) == 0)
            return error;
        (void)nanosleep(&pause, NULL);
    }
    return 0;
}

static void seize(struct thread *t, uint64_t until_ms)
{
    if (t->state == 'Z' || t->state == 'X') { /* the kernel would call it forbidden */
        t->hold = THREAD_GONE;
        return;
    }
    t->error = seize_in_turn(t->tid, until_ms);
    if (t->error != 0) {
        t->hold = t->error == ESRCH ? THREAD_GONE : THREAD_REFUSED;
        return;
    }
    t->hold = THREAD_SEIZED;
    (void)ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL); /* fails when it ends just now */
}

/* Has it stopped, or ended? Does not wait. */
static void take_stop(struct thread *t, pid_t pid)
{
    int status;
    pid_t got = waitpid(t->tid, &status, __WALL | WNOHANG);

    if (got == 0 || (got < 0 && errno == EINTR))
        return;
    if (got < 0 || !WIFSTOPPED(status)) {
        t->hold = THREAD_GONE;
        return;
    }
    t->hold = THREAD_HELD;
    t->signal = status >> 16 == 0 ? WSTOPSIG(status) : 0; /* else the stop is an event's */
    read_pc(t, pid);
}

static void await_stops(struct threads *t, uint64_t deadline_ms)
{
    const struct timespec pause = {.tv_nsec = STOP_POLL_NS};
    size_t missing;

    do {
        missing = 0;
        for (size_t i = 0; i < t->count; i++) {
            if (t->list[i].hold == THREAD_SEIZED)
                take_stop(&t->list[i], t->pid);
            missing += t->list[i].hold == THREAD_SEIZED;
        }
        if (missing > 0)
            (void)nanosleep(&pause, NULL);
    } while (missing > 0 && now_ms() < deadline_ms);
}

size_t threads_hold(struct threads *t, uint64_t deadline_ms)
{
    size_t held = 0, done = 0;

    t->began_ms = now_ms();
    for (unsigned round = 0; round < ROUNDS_MAX && done < t->count; round++) {
        for (; done < t->count; done++)
            seize(&t->list[done], t->began_ms + TURN_MS);
        await_stops(t, deadline_ms);
        (void)add_new(t); /* the process may be gone */
    }
    for (size_t i = 0; i < t->count; i++)
        held += t->list[i].hold == THREAD_HELD;
    return held;
}

void threads_let_go(struct threads *t)
{
    for (size_t i = 0; i < t->count; i++) {
        struct thread *one = &t->list[i];

        if (one->hold == THREAD_SEIZED)
            take_stop(one, t->pid);
        if (one->hold == THREAD_HELD)
            (void)ptrace(PTRACE_DETACH, one->tid, NULL, (void *)(intptr_t)one->signal);
        /* A thread that never stopped, deep in the kernel, cannot be detached; the end of this
         * process detaches it. */
        if (one->hold == THREAD_HELD || one->hold == THREAD_SEIZED)
            one->hold = THREAD_FREE;
    }
    t->held_ms = now_ms() - t->began_ms;
}

void threads_release(struct threads *t)
{
    threads_let_go(t);
    free(t->list);
    *t = (struct threads){0};
}

/* ---- in words ---------------------------------------------------------------------------- */

static const char *state_name(char state)
{
    switch (state) {
    case 'R': return "running";
    case 'S': return "sleeping";
    case 'D': return "waiting uninterruptibly";
    case 'T': return "stopped";
    case 't': return "stopped by a tracer";
    case 'Z': return "ended, not reaped";
    case 'X': return "dead";
    case 'I': return "idle";
    default: return "in an unknown state";
    }
}

void thread_describe(const struct thread *t, struct strbuf *out)
{
    strbuf_addstr(out, state_name(t->state));
    if (t->wchan[0])
        strbuf_addf(out, " in %s", t->wchan);
    strbuf_addf(out, "; user %" PRIu64 " ms, system %" PRIu64 " ms", t->user_ms, t->system_ms);
}

void threads_explain_refusal(pid_t pid, int error, struct strbuf *out)
{
    char path[64], name[32], scope[16];
    pid_t tracer = procfs_tracer(pid);

    strbuf_addf(out, "it cannot be traced: %s", strerror(error));
    if (tracer > 0 && tracer != getpid()) {
        (void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)tracer);
        (void)small_file_start(path, name, sizeof(name)); /* failed: "" */
        name[strcspn(name, "\n")] = '\0';
        strbuf_addf(out, "; process %d (%s) traces it already", (int)tracer, name);
        return;
    }
    if (error != EPERM)
        return;
    if (small_file_start("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope)) > 0 &&
        atoi(scope) > 1)
        strbuf_addf(out, "; kernel.yama.ptrace_scope is %d", atoi(scope));
    else if (geteuid() == 0)
        strbuf_addstr(out, "; its user is another one, and this root has no CAP_SYS_PTRACE, or a "
                           "seccomp filter forbids it");
    else
        strbuf_addstr(out, "; it has another user or made itself undumpable, or a seccomp filter "
                           "forbids it");
}
