/* SPDX-License-Identifier: MIT
 *
 * See upgrade.h.
 */
#include "master/upgrade/upgrade.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "master/generation/generation.h"
#include "master/generation/start.h"
#include "system/ipc/handover.h"
#include "system/messages/message_bus.h"
#include "system/messages/named_memory.h"
#include "system/process/signals.h"

enum {
    SPARE_MS = 2000, /* added to boot_timeout: to load the settings and open their files */
    END_MS = 2000,   /* from SIGTERM to SIGKILL */
};

/* ---- what the successor inherits --------------------------------------------------------- */

static int describe_sockets(const struct upgrade_order *order, struct handover *h)
{
    const struct generation *g = order->current;

    for (size_t i = 0; i < g->listener_count; i++) {
        if (handover_add_socket(h, g->listeners[i], HANDOVER_WORKERS) < 0)
            return -1;
    }
    if (g->admin_listener && handover_add_socket(h, g->admin_listener, HANDOVER_ADMIN) < 0)
        return -1;
    return handover_add_socket(h, order->control, HANDOVER_CONTROL);
}

/* Returns 0, or -1 with errno. The caller releases *h by handover_drop in either case. */
static int describe(const struct upgrade_order *order, struct handover *h, int report_fd)
{
    handover_init(h);
    h->report_fd = report_fd;
    h->generation = order->last_generation;
    h->bus_fd = order->bus->fd;
    h->wake_fd = order->bus->wake_fd;
    h->memory_fd = order->shared_memory->fd;
    return describe_sockets(order, h);
}

/* A service manager set this variable to the pid of the old master; it is meant for the service, so
 * the new master gets it with its own pid. */
static void readdress(const char *name)
{
    char pid[16];

    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    if (getenv(name) && setenv(name, pid, 1) < 0)
        abort(); /* out of memory, as in xmalloc */
}

/* Executes the program. Returns only on failure, with errno. */
static void execute(const struct start *start, const struct handover *h, int record_fd)
{
    if (handover_pass(h, record_fd) < 0 || start_enter(start) < 0)
        return;
    handover_set_variable(record_fd);
    (void)umask(start->umask);
    (void)execve(start->program, start->argv, environ);
}

/* ---- the end of an attempt --------------------------------------------------------------- */

static void forget_program(struct upgrade *u)
{
    ev_io_stop(u->loop, &u->io);
    ev_timer_stop(u->loop, &u->timer);
    fd_close(&u->fd);
    u->pid = 0;
    u->phase = UPGRADE_NONE;
    u->serves = u->is_overdue = false;
}

static void set_timer(struct upgrade *u, uint64_t after_ms)
{
    ev_timer_stop(u->loop, &u->timer);
    ev_now_update(u->loop);
    ev_timer_set(&u->timer, (double)after_ms / 1000, 0);
    ev_timer_start(u->loop, &u->timer);
}

void upgrade_give_up(struct upgrade *u, const char *why)
{
    assert(u->phase == UPGRADE_BOOTING && u->pid > 0);
    if (u->why[0] == '\0')
        (void)snprintf(u->why, sizeof(u->why), "%s", why);
    u->phase = UPGRADE_FAILED;
    (void)kill(u->pid, SIGTERM); /* not reaped yet, so the pid is still the program's */
    set_timer(u, END_MS);
}

/* ---- messages of the new program --------------------------------------------------------- */

/* True: the new master has closed its end of the socket, so it has ended. */
static bool has_left(const struct upgrade *u)
{
    char next;

    return recv(u->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Reads one message of the new program and notes it. */
static void read_word(struct upgrade *u)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    ssize_t n = recv(u->fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) /* it has ended (SIGCHLD follows), or cannot report any more */
        ev_io_stop(u->loop, &u->io);
    else if (packet[0] == UPGRADE_SERVES)
        u->serves = u->has_news = true;
    else if (packet[0] == UPGRADE_FAILS && u->why[0] == '\0')
        (void)snprintf(u->why, sizeof(u->why), "%.*s", (int)n - 1, packet + 1);
}

static void on_word(struct ev_loop *loop, struct ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    read_word(io->data);
}

static void on_timer(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct upgrade *u = timer->data;

    (void)loop;
    (void)revents;
    u->is_overdue = u->has_news = true;
}

/* True: the new master has begun to serve. */
static bool act_on_word(struct upgrade *u)
{
    bool begins = u->serves && u->phase == UPGRADE_BOOTING && !has_left(u);

    u->serves = false;
    if (!begins)
        return false;
    ev_timer_stop(u->loop, &u->timer);
    log_info("Upgrade: the new master (pid:%d) serves as well as this one", (int)u->pid);
    u->phase = UPGRADE_BESIDE;
    return true;
}

static void is_late(struct upgrade *u)
{
    u->is_overdue = false;
    assert(u->pid > 0 || u->phase == UPGRADE_NONE);
    if (u->phase == UPGRADE_BOOTING)
        upgrade_give_up(u, "the new program did not say within boot_timeout that it serves");
    else if (u->phase == UPGRADE_FAILED)
        (void)kill(u->pid, SIGKILL); /* not reaped yet, so the pid is still the program's */
}

bool upgrade_act(struct upgrade *u)
{
    if (u->is_overdue && u->phase == UPGRADE_BOOTING)
        read_word(u); /* timers run before sockets: its report may be waiting */
    bool begins = act_on_word(u);
    if (u->is_overdue)
        is_late(u);
    return begins;
}

static void describe_status(int status, char *text, size_t size)
{
    char end[WAIT_STATUS_TEXT_SIZE];

    (void)snprintf(text, size, "the new program %s before it served",
                   wait_status_text(status, end));
}

enum upgrade_phase upgrade_reaped(struct upgrade *u, int status)
{
    assert(u->phase != UPGRADE_NONE && u->pid > 0);
    if (u->phase != UPGRADE_FAILED) /* a message may be unread */
        read_word(u);
    (void)act_on_word(u);
    enum upgrade_phase phase = u->phase;
    if (u->why[0] == '\0')
        describe_status(status, u->why, sizeof(u->why));
    forget_program(u);
    return phase;
}

/* ---- beginning --------------------------------------------------------------------------- */

/* In the child: reports why the program was not executed, and exits. */
static void __attribute__((noreturn)) refuse_to_run(const struct handover *h, const char *why)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    int len = snprintf(packet, sizeof(packet), "%c%s", UPGRADE_FAILS, why);

    (void)send(h->report_fd, packet, (size_t)len, MSG_NOSIGNAL); /* else the exit status says it */
    _exit(EXIT_FAILED);
}

static void __attribute__((noreturn))
run_child(const struct upgrade_order *order, const struct handover *h, int record_fd)
{
    struct error err;

    if (order->start->activation.count > 0)
        readdress("LISTEN_PID");
    if (order->has_watchdog)
        readdress("WATCHDOG_PID");
    signals_reset(); /* a signal that comes too early ends the child; the upgrade then fails */
    if (order->before(order->arg, &err) == 0) {
        execute(order->start, h, record_fd);
        (void)error_set(&err, EXIT_FAILED, "cannot execute %s: %s", order->start->program,
                        strerror(errno));
    }
    refuse_to_run(h, err.text);
}

/* fds: the master's end, the child's end. Returns 0, or -1 with errno. */
static int start_program(struct upgrade *u, const struct upgrade_order *order, const int fds[2])
{
    struct handover h;
    sigset_t old;
    pid_t pid = -1;

    int described = describe(order, &h, fds[1]);
    int record_fd = described < 0 ? -1 : handover_write(&h);
    if (record_fd >= 0) {
        (void)fflush(NULL); /* what stdio holds would be written twice */
        signals_block(&old);
        pid = fork();
        if (pid == 0)
            run_child(order, &h, record_fd);
        signals_restore(&old);
    }
    int saved_errno = errno;
    fd_close(&record_fd);
    handover_drop(&h);
    errno = saved_errno;
    if (pid > 0)
        u->pid = pid;
    return pid > 0 ? 0 : -1;
}

int upgrade_start(struct upgrade *u, const struct upgrade_order *order, struct error *err)
{
    int fds[2];

    assert(u->phase == UPGRADE_NONE && u->pid == 0 && u->fd < 0);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return error_set(err, EXIT_FAILED, "socketpair: %s", strerror(errno));
    int result = start_program(u, order, fds);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "cannot start %s: %s", order->start->program,
                        strerror(errno));
    fd_close(&fds[1]);
    if (result < 0) {
        fd_close(&fds[0]);
        return -1;
    }
    log_info("Upgrade: %s is started, pid %d", order->start->program, (int)u->pid);
    u->phase = UPGRADE_BOOTING;
    u->hands_over = order->hands_over;
    u->why[0] = '\0';
    u->fd = fds[0];
    ev_io_set(&u->io, u->fd, EV_READ);
    ev_io_start(u->loop, &u->io);
    set_timer(u, order->boot_timeout_ms + SPARE_MS);
    return 0;
}

void upgrade_say_take_over(const struct upgrade *u)
{
    static const char word = UPGRADE_TAKE_OVER;

    assert(u->phase == UPGRADE_BESIDE);
    (void)send(u->fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* ---- life -------------------------------------------------------------------------------- */

void upgrade_init(struct upgrade *u, struct ev_loop *loop)
{
    *u = (struct upgrade){.fd = -1, .loop = loop};
    ev_init(&u->io, on_word);
    ev_init(&u->timer, on_timer);
    u->io.data = u->timer.data = u;
}

void upgrade_close(struct upgrade *u)
{
    fd_close(&u->fd);
}
