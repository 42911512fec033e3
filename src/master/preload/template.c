/* SPDX-License-Identifier: MIT
 *
 * See template.h. Descriptors always go in the same order; a mask says which are present. The
 * master takes a new worker's pid from the kernel (SO_PASSCRED), not from the message.
 */
#include "master/preload/template.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/util.h"
#include "master/postmortem/output.h"
#include "system/ipc/packet.h"
#include "worker/crash/crash.h"
#include "worker/call/forked.h"
#include "worker/worker.h"

enum {
    ORDER_FDS = 5,
    STACKS_S = 7, /* for the master to take the stacks */
};

#define SERIAL_CRASH UINT64_MAX /* the text is a struct template_fault */

struct order_wire {
    uint64_t serial;
    uint32_t place, number, is_canary, is_proven;
    uint32_t fd_mask;
};

struct news_wire {
    uint64_t serial;
    char why[UP_TEXT_MAX]; /* a packet may end before its end */
};

int template_socket(int fds[2])
{
    int on = 1;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
        return -1;
    if (setsockopt(fds[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) == 0 &&
        fd_set_nonblock(fds[0]) == 0)
        return 0;
    fd_close(&fds[0]);
    fd_close(&fds[1]);
    return -1;
}

/* ---- orders ------------------------------------------------------------------------------ */

/* Lists the members that hold descriptors, in the order in which they are sent. */
static void list_fds(struct template_order *o, int *places[ORDER_FDS])
{
    places[0] = &o->channel.up_write;
    places[1] = &o->channel.down_worker;
    places[2] = &o->output_fd;
    places[3] = &o->error_fd;
    places[4] = &o->access_fd;
}

int template_send(const struct template *t, const struct template_order *order)
{
    struct template_order o = *order;
    struct order_wire wire = {.serial = o.serial,
                              .place = o.place,
                              .number = o.number,
                              .is_canary = o.is_canary,
                              .is_proven = o.is_proven};
    int *places[ORDER_FDS], fds[ORDER_FDS];
    size_t count = 0;

    list_fds(&o, places);
    for (size_t i = 0; i < ORDER_FDS; i++) {
        if (*places[i] >= 0) {
            wire.fd_mask |= 1u << i;
            fds[count++] = *places[i];
        }
    }
    return packet_send(t->fd, &wire, sizeof(wire), fds, count);
}

int template_reopen_logs(const struct template *t, int error_fd, int access_fd)
{
    const struct template_order order = {
        .channel = {-1, -1, -1, -1}, .output_fd = -1, .error_fd = error_fd, .access_fd = access_fd};

    return template_send(t, &order);
}

static void refuse(int fd, uint64_t serial, const char *why)
{
    struct news_wire wire = {.serial = serial};
    size_t len = strnlen(why, sizeof(wire.why));

    memcpy(wire.why, why, len);
    /* if this fails, the deadline ends what waits for it */
    (void)packet_send(fd, &wire, offsetof(struct news_wire, why) + len, NULL, 0);
}

/* ---- a crash ----------------------------------------------------------------------------- */

/* The data of the signal handler. */
static struct {
    int fd;
    pid_t pid;
} self;

static void tell_crash(const siginfo_t *info)
{
    const struct template_fault fault = {
        .signal = info->si_signo,
        .code = info->si_code,
        .sender = info->si_code <= 0 ? info->si_pid : 0,
        .address = info->si_code > 0 && info->si_code != SI_KERNEL ? (uintptr_t)info->si_addr : 0};
    const struct timespec left = {.tv_sec = STACKS_S};
    uint64_t until_ms = now_ms() + STACKS_S * 1000;
    struct news_wire wire = {.serial = SERIAL_CRASH};
    sigset_t go;

    memcpy(wire.why, &fault, sizeof(fault));
    if (packet_send(self.fd, &wire, offsetof(struct news_wire, why) + sizeof(fault), NULL, 0) < 0)
        return;
    (void)sigemptyset(&go);
    (void)sigaddset(&go, SIGCONT);
    while (sigtimedwait(&go, NULL, &left) < 0 && errno == EINTR && now_ms() < until_ms)
        continue; /* all signals are blocked here: EINTR is from the helper's ptrace(2) */
}

/* Runs also in workers and in children of the application, which inherit the handler by fork. */
static void on_fatal(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (getpid() == self.pid)
        tell_crash(info);
    (void)signal(number, SIG_DFL);
    if (info->si_code <= 0) /* it was sent, so nothing raises it again */
        (void)raise(number);
}

void template_catch_crash(int fd)
{
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS, SIGTRAP, SIGABRT};
    struct sigaction action = {.sa_sigaction = on_fatal, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    self.fd = fd;
    self.pid = getpid();
    (void)sigfillset(&action.sa_mask);
    crash_init_thread();
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        (void)sigaction(numbers[i], &action, NULL); /* the numbers are valid */
}

/* ---- orders, carried out ------------------------------------------------------------------ */

/* Receives the next order. False when the master has ended. */
static bool take_order(int fd, struct template_order *o)
{
    struct order_wire wire;
    struct packet packet;
    int *places[ORDER_FDS];
    size_t used = 0;

    for (;;) {
        if (packet_recv(fd, &wire, sizeof(wire), &packet) <= 0)
            return false;
        if (!packet.fds_lost)
            break;
        packet_close_fds(&packet);
        refuse(fd, wire.serial, "the template process has too many open files");
    }
    *o = (struct template_order){.serial = wire.serial,
                                 .place = wire.place,
                                 .number = wire.number,
                                 .is_canary = wire.is_canary != 0,
                                 .is_proven = wire.is_proven != 0,
                                 .channel = {-1, -1, -1, -1},
                                 .output_fd = -1,
                                 .error_fd = -1,
                                 .access_fd = -1};
    list_fds(o, places);
    for (size_t i = 0; i < ORDER_FDS; i++) {
        if (wire.fd_mask & (1u << i) && used < packet.fd_count)
            *places[i] = packet.fds[used++];
    }
    return true;
}

static void close_order(struct template_order *o)
{
    int *places[ORDER_FDS];

    list_fds(o, places);
    for (size_t i = 0; i < ORDER_FDS; i++)
        fd_close(places[i]);
}

/* Replaces the log file that was rotated away, in the template and so in the workers that it forks
 * later. */
static void take_log(int *fd, int number)
{
    if (*fd >= 0 && number >= 0)
        (void)dup3(*fd, number, O_CLOEXEC); /* on failure the old file stays in use */
    fd_close(fd);
}

/* ---- forking a worker -------------------------------------------------------------------- */

/* In the grandchild: waits until the process in between has been reaped; from then on the
 * grandchild is the master's child. */
static void await_adoption(int gate[2])
{
    char nothing;

    fd_close(&gate[1]);
    while (read(gate[0], &nothing, 1) < 0 && errno == EINTR)
        continue;
    fd_close(&gate[0]);
}

enum fork_result { FORK_FAILED, FORK_BORNE, FORK_NEWBORN };

/* The application may ignore SIGCHLD, or reap any child in its handler: the default applies while
 * the template waits for the process in between. The new worker has the application's again. */
static enum fork_result fork_twice(const struct app *app)
{
    const struct sigaction dfl = {.sa_handler = SIG_DFL};
    struct sigaction before;
    int gate[2]; /* the template closes it when it has reaped the process in between */
    int status = EXIT_FAILED;

    if (pipe2(gate, O_CLOEXEC) < 0)
        return FORK_FAILED;
    worker_call_on_fork(app, GCORN_FORK_BEFORE);
    (void)sigaction(SIGCHLD, &dfl, &before); /* the number is valid */
    (void)fflush(NULL);                      /* what stdio holds would be written twice */
    forked_by_server(true);
    pid_t between = fork();
    if (between == 0) {
        pid_t born = fork();

        if (born != 0)
            _exit(born < 0 ? EXIT_FAILED : EXIT_STOPPED);
        forked_by_server(false);
        await_adoption(gate);
        (void)sigaction(SIGCHLD, &before, NULL);
        return FORK_NEWBORN;
    }
    forked_by_server(false);
    while (between > 0 && waitpid(between, &status, 0) < 0 && errno == EINTR)
        continue;
    (void)sigaction(SIGCHLD, &before, NULL);
    fd_close(&gate[0]);
    fd_close(&gate[1]); /* the new worker goes on */
    worker_call_on_fork(app, GCORN_FORK_PARENT);
    return status == 0 ? FORK_BORNE : FORK_FAILED;
}

static void announce(int fd, uint64_t serial)
{
    struct news_wire wire = {.serial = serial};

    if (packet_send(fd, &wire, sizeof(wire.serial), NULL, 0) < 0)
        _exit(EXIT_STOPPED); /* the master has closed the socket: it wants no more workers */
}

void template_fork_worker(const struct app *app, int fd, struct template_order *order,
                          int error_number, int access_number)
{
    while (take_order(fd, order)) {
        take_log(&order->error_fd, error_number);
        take_log(&order->access_fd, access_number);
        if (order->serial == 0)
            continue;
        enum fork_result result = fork_twice(app);

        if (result == FORK_NEWBORN) {
            announce(fd, order->serial);
            owned_close(&fd); /* the application may get the same number next */
            return;
        }
        if (result == FORK_FAILED)
            refuse(fd, order->serial, "the template process cannot fork");
        close_order(order);
    }
    _exit(EXIT_STOPPED);
}

void template_refuse(int fd, const char *why)
{
    refuse(fd, 0, why);
    _exit(EXIT_APP);
}

int template_recv(const struct template *t, struct template_news *news)
{
    struct news_wire wire;
    struct packet packet;
    int got = packet_recv(t->fd, &wire, sizeof(wire), &packet);

    /* When the template died with an unread order, the kernel reports ECONNRESET once, before the
     * packets that the template had sent. */
    if (got < 0 && errno == ECONNRESET)
        got = packet_recv(t->fd, &wire, sizeof(wire), &packet);
    if (got <= 0)
        return got;
    packet_close_fds(&packet); /* messages to the master carry none */
    size_t head = offsetof(struct news_wire, why);
    errno = EPROTO;
    if (packet.len < head || packet.is_cut || packet.sender <= 0)
        return -1;
    *news = (struct template_news){.serial = wire.serial, .pid = packet.sender};
    if (wire.serial == SERIAL_CRASH) {
        if (packet.sender != t->pid || packet.len != head + sizeof(news->fault))
            return -1;
        news->is_crash = true;
        memcpy(&news->fault, wire.why, sizeof(news->fault));
        return 1;
    }
    memcpy(news->why, wire.why, packet.len - head);
    return 1;
}
