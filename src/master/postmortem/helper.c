/* SPDX-License-Identifier: MIT
 *
 * See helper.h. The child is a copy of the master that never returns into the master's code. It
 * closes the master's descriptors: a listening socket or the end of a worker's channel, held open
 * here, would outlive its owner.
 */
#include "master/postmortem/helper.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "system/process/limits.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "system/process/title.h"

/* ---- the child --------------------------------------------------------------------------- */

/* The signal handler's data. The text's memory does not move: all of it is allocated at the
 * beginning. */
static struct {
    struct strbuf text;
    int fd;
} own;

static void close_others(const struct helper_job *job)
{
    int keep[HELPER_KEEPS_MAX + 2] = {log_fd(), own.fd};

    assert(job->keep_count <= HELPER_KEEPS_MAX);
    memcpy(keep + 2, job->keeps, job->keep_count * sizeof(*keep));
    process_close_all_but(keep, job->keep_count + 2, false);
}

/* The job's time is over, or it has crashed: writes the text so far, and dies of the signal. */
static void on_end(int number)
{
    (void)write_all(own.fd, own.text.data, own.text.len); /* loops over write(2) */
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

static void catch_ends(void)
{
    static const int numbers[] = {SIGALRM, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    const struct sigaction action = {.sa_handler = on_end, .sa_flags = SA_NODEFER};

    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL); /* cannot fail: the numbers are valid */
}

static void __attribute__((noreturn))
run_child(const struct helper_job *job, int fd, pid_t master_pid)
{
    own.fd = fd;
    (void)strbuf_grow(&own.text, HELPER_TEXT_MAX);
    own.text.data[0] = '\0';
    title_set("gcorn: helper");
    close_others(job);
    catch_ends();
    (void)limits_set_memory(HELPER_MEMORY_MAX); /* fails without /proc, as the job does */
    (void)alarm(job->time_s);
    process_die_with_parent(master_pid, SIGKILL);
    job->work(job->arg, &own.text);
    _exit(write_all(fd, own.text.data, own.text.len) < 0); /* the master is gone */
}

/* ---- the master -------------------------------------------------------------------------- */

enum { READS_AT_END = 32 }; /* more than a pipe holds */

void helpers_init(struct helpers *h, struct ev_loop *loop)
{
    *h = (struct helpers){.loop = loop};
    for (size_t i = 0; i < HELPERS_MAX; i++)
        h->list[i].fd = -1;
}

static void stop_reading(struct ev_loop *loop, struct helper *one)
{
    if (one->fd < 0)
        return;
    ev_io_stop(loop, &one->io);
    fd_close(&one->fd);
}

/* Reads once. False: nothing more can be read now, or the pipe has ended. */
static bool read_some(struct ev_loop *loop, struct helper *one)
{
    char bytes[65536];
    ssize_t n = one->fd >= 0 ? read(one->fd, bytes, sizeof(bytes)) : 0;

    if (n < 0 && errno == EINTR)
        return true;
    if (n < 0 && errno == EAGAIN)
        return false;
    if (n <= 0) {
        stop_reading(loop, one);
        return false;
    }
    assert(one->text.len <= HELPER_TEXT_MAX);
    size_t room = HELPER_TEXT_MAX - one->text.len; /* a job out of control may write for ever */
    strbuf_add(&one->text, bytes, (size_t)n < room ? (size_t)n : room);
    return true;
}

static void on_text(struct ev_loop *loop, struct ev_io *io, int revents)
{
    (void)revents;
    (void)read_some(loop, io->data);
}

/* The helper runs as the workers' user, and a process of that user may have stopped it (SIGSTOP):
 * the master kills it, so that whatever waits for its text goes on. */
static void on_overdue(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    const struct helper *one = timer->data;

    (void)loop;
    (void)revents;
    assert(one->pid > 0);
    (void)kill(one->pid, SIGKILL); /* not reaped yet, so the pid is still the helper's */
}

static struct helper *find(struct helpers *h, pid_t pid)
{
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        if (h->list[i].pid == pid)
            return &h->list[i];
    }
    return NULL;
}

int helper_start(struct helpers *h, const struct helper_job *job)
{
    struct helper *one = find(h, 0);
    pid_t master_pid = getpid();
    sigset_t old;
    int ends[2];

    if (!one) {
        errno = EBUSY;
        return -1;
    }
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -1;
    (void)fd_set_nonblock(ends[0]); /* cannot fail: it was opened just now */
    signals_block(&old);
    pid_t pid = fork();
    if (pid == 0) {
        signals_reset();
        run_child(job, ends[1], master_pid);
    }
    int fork_errno = errno;
    signals_restore(&old);
    fd_close(&ends[1]);
    if (pid < 0) {
        fd_close(&ends[0]);
        errno = fork_errno;
        return -1;
    }
    *one = (struct helper){.pid = pid, .fd = ends[0], .done = job->done, .data = job->data};
    ev_io_init(&one->io, on_text, one->fd, EV_READ);
    ev_timer_init(&one->overdue, on_overdue, job->time_s + HELPER_GRACE_S, 0);
    one->io.data = one->overdue.data = one;
    ev_io_start(h->loop, &one->io);
    ev_timer_start(h->loop, &one->overdue);
    return 0;
}

bool helpers_reaped(struct helpers *h, pid_t pid, int status)
{
    struct helper *one = find(h, pid);

    if (!one)
        return false;
    for (int i = 0; i < READS_AT_END && read_some(h->loop, one); i++) /* a pipe's worth */
        continue;
    stop_reading(h->loop, one);
    ev_timer_stop(h->loop, &one->overdue);
    struct helper ended = *one;
    *one = (struct helper){.fd = -1}; /* free: the callback may start another */
    size_t len = ended.text.len;
    char *text = strbuf_detach(&ended.text);
    ended.done(ended.data, text, len, status);
    free(text);
    return true;
}

bool helpers_have(const struct helpers *h, pid_t pid)
{
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        if (h->list[i].pid == pid)
            return true;
    }
    return false;
}

bool helpers_busy(const struct helpers *h)
{
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        if (h->list[i].pid != 0)
            return true;
    }
    return false;
}

void helpers_close(struct helpers *h)
{
    for (size_t i = 0; i < HELPERS_MAX; i++) {
        struct helper *one = &h->list[i];

        if (one->pid > 0)
            (void)kill(one->pid, SIGKILL); /* not reaped yet, so the pid is still the helper's */
        stop_reading(h->loop, one);
        ev_timer_stop(h->loop, &one->overdue);
        strbuf_release(&one->text);
        *one = (struct helper){.fd = -1};
    }
}
