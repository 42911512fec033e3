/* SPDX-License-Identifier: MIT
 *
 * See ptrace.h. What /proc tells is read before a thread is held: afterwards it would only say
 * that it is being traced. A thread that is about to take a signal stops for that instead of for
 * our interrupt; it is given the signal when it is let go.
 */
#include "system/trace/ptrace.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/strbuf.h"
#include "base/util.h"
#include "system/process/procfs.h"

enum {
    ROUNDS_MAX = 8, /* of looking for threads that were started while others were stopped */
    STOP_POLL_NS = 100000,
    TURN_MS = 400, /* to wait for another tracer */
};

/* ---- /proc ------------------------------------------------------------------------------- */

/* A small file of /proc as a string, without the newline at its end. 0, or -1 with errno. */
static int read_file(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    text[0] = '\0';
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, text, size - 1);
    fd_close(&fd);
    if (n < 0)
        return -1;
    text[n] = '\0';
    if (n > 0 && text[n - 1] == '\n')
        text[n - 1] = '\0';
    return 0;
}

static int read_of_thread(pid_t pid, pid_t tid, const char *file, char *text, size_t size)
{
    char path[64];

    (void)snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", (int)pid, (int)tid, file);
    return read_file(path, text, size);
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

/* "running", "-1 sp pc", or "number arguments sp pc". */
static void read_syscall(struct thread *t, pid_t pid)
{
    char text[256];

    if (read_of_thread(pid, t->tid, "syscall", text, sizeof(text)) < 0)
        return;
    t->syscall = SYSCALL_NONE;
    if (sscanf(text, "%" SCNd64 " %" SCNx64, &t->syscall, &t->syscall_arg) < 1)
        t->syscall = SYSCALL_NONE;
}

/* Of a held one; the last word of the same file, on every architecture. */
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
    *t = (struct thread){.tid = tid, .state = '?', .syscall = SYSCALL_UNKNOWN};
    read_stat(t, pid);
    read_syscall(t, pid);
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
        /* One that never stopped, deep in the kernel, cannot be let go of; our end does it. */
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

/* Those that a hung thread is found in; NULL for others. */
static const char *syscall_name(int64_t number)
{
    static const struct {
        int64_t number;
        const char *name;
    } names[] = {
        {SYS_read, "read"},
        {SYS_write, "write"},
        {SYS_readv, "readv"},
        {SYS_writev, "writev"},
        {SYS_pread64, "pread64"},
        {SYS_pwrite64, "pwrite64"},
        {SYS_recvfrom, "recvfrom"},
        {SYS_sendto, "sendto"},
        {SYS_recvmsg, "recvmsg"},
        {SYS_sendmsg, "sendmsg"},
        {SYS_connect, "connect"},
        {SYS_accept, "accept"},
        {SYS_accept4, "accept4"},
        {SYS_ppoll, "ppoll"},
        {SYS_pselect6, "pselect6"},
        {SYS_epoll_pwait, "epoll_pwait"},
        {SYS_futex, "futex"},
        {SYS_nanosleep, "nanosleep"},
        {SYS_wait4, "wait4"},
        {SYS_clock_nanosleep, "clock_nanosleep"},
        {SYS_waitid, "waitid"},
        {SYS_flock, "flock"},
        {SYS_fcntl, "fcntl"},
        {SYS_fsync, "fsync"},
        {SYS_openat, "openat"},
        {SYS_rt_sigsuspend, "rt_sigsuspend"},
        {SYS_semop, "semop"},
        {SYS_rt_sigtimedwait, "rt_sigtimedwait"},
        {SYS_ioctl, "ioctl"},
        {SYS_restart_syscall, "restart_syscall"},
#ifdef SYS_poll /* newer architectures have only the p-variants */
        {SYS_poll, "poll"},
        {SYS_select, "select"},
        {SYS_epoll_wait, "epoll_wait"},
        {SYS_pause, "pause"},
        {SYS_open, "open"},
#endif
    };

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (names[i].number == number)
            return names[i].name;
    }
    return NULL;
}

/* Those of the above whose first argument is a descriptor. */
static bool takes_descriptor(int64_t number)
{
    static const int64_t numbers[] = {
        SYS_read,     SYS_write,  SYS_readv,   SYS_writev,  SYS_pread64, SYS_pwrite64,
        SYS_recvfrom, SYS_sendto, SYS_recvmsg, SYS_sendmsg, SYS_connect, SYS_accept,
        SYS_accept4,  SYS_flock,  SYS_fcntl,   SYS_fsync,   SYS_ioctl};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        if (numbers[i] == number)
            return true;
    }
    return false;
}

/* " of descriptor 7 (socket:[1234])": what a hung read waits for. */
static void add_descriptor(struct strbuf *out, pid_t pid, uint64_t fd)
{
    char path[64], link[256];

    strbuf_addf(out, " of descriptor %" PRIu64, fd);
    (void)snprintf(path, sizeof(path), "/proc/%d/fd/%" PRIu64, (int)pid, fd);
    ssize_t n = readlink(path, link, sizeof(link) - 1);
    if (n > 0)
        strbuf_addf(out, " (%.*s)", (int)n, link);
}

static void add_syscall(struct strbuf *out, const struct thread *t, pid_t pid)
{
    const char *name = syscall_name(t->syscall);

    if (t->syscall < 0)
        return;
    if (name)
        strbuf_addf(out, ", system call %s", name);
    else
        strbuf_addf(out, ", system call %" PRId64, t->syscall);
    if (takes_descriptor(t->syscall))
        add_descriptor(out, pid, t->syscall_arg);
}

void thread_describe(const struct thread *t, pid_t pid, struct strbuf *out)
{
    strbuf_addstr(out, state_name(t->state));
    if (t->wchan[0])
        strbuf_addf(out, " in %s", t->wchan);
    add_syscall(out, t, pid);
    strbuf_addf(out, "; user %" PRIu64 " ms, system %" PRIu64 " ms", t->user_ms, t->system_ms);
}

/* The pid of who traces it; 0: nobody. */
static int tracer_of(pid_t pid)
{
    char path[64], text[4096];
    int tracer = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (read_file(path, text, sizeof(text)) < 0)
        return 0;
    const char *line = strstr(text, "\nTracerPid:");
    if (line)
        (void)sscanf(line, " TracerPid: %d", &tracer);
    return tracer;
}

void threads_explain_refusal(pid_t pid, int error, struct strbuf *out)
{
    char path[64], name[32], scope[16];
    int tracer = tracer_of(pid);

    strbuf_addf(out, "it cannot be traced: %s", strerror(error));
    if (tracer > 0 && tracer != (int)getpid()) {
        (void)snprintf(path, sizeof(path), "/proc/%d/comm", tracer);
        (void)read_file(path, name, sizeof(name));
        strbuf_addf(out, "; process %d (%s) traces it already", tracer, name);
        return;
    }
    if (error != EPERM)
        return;
    if (read_file("/proc/sys/kernel/yama/ptrace_scope", scope, sizeof(scope)) == 0 &&
        atoi(scope) > 1)
        strbuf_addf(out, "; kernel.yama.ptrace_scope is %s", scope);
    else if (geteuid() == 0)
        strbuf_addstr(out, "; its user is another one, and this root has no CAP_SYS_PTRACE, or a "
                           "seccomp filter forbids it");
    else
        strbuf_addstr(out, "; it has another user or made itself undumpable, or a seccomp filter "
                           "forbids it");
}
