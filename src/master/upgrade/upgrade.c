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
#include "master/generation/listeners.h"
#include "master/workers/procs.h"
#include "master/workers/retire.h"
#include "master/reload.h"
#include "master/state.h"
#include "system/ipc/handover.h"
#include "system/process/signals.h"

enum {
    SPARE_MS = 2000, /* added to boot_timeout: to load the settings and open their files */
    END_MS = 2000,   /* from SIGTERM to SIGKILL */
};

/* ---- what the successor inherits --------------------------------------------------------- */

static int describe_sockets(const struct master *m, struct handover *h)
{
    const struct generation *g = m->current;

    for (size_t i = 0; i < g->listener_count; i++) {
        if (handover_add_socket(h, g->listeners[i], HANDOVER_WORKERS) < 0)
            return -1;
    }
    if (g->admin_listener && handover_add_socket(h, g->admin_listener, HANDOVER_ADMIN) < 0)
        return -1;
    return handover_add_socket(h, &m->control.listener, HANDOVER_CONTROL);
}

/* Returns 0, or -1 with errno. The caller releases *h by handover_drop in either case. */
static int describe(struct master *m, struct handover *h, int report_fd)
{
    handover_init(h);
    h->report_fd = report_fd;
    h->generation = m->last_generation;
    return describe_sockets(m, h);
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
static void execute(const struct master *m, const struct handover *h, int record_fd)
{
    if (handover_pass(h, record_fd) < 0 || start_enter(m->start) < 0)
        return;
    handover_set_variable(record_fd);
    (void)umask(m->start->umask);
    (void)execve(m->start->program, m->start->argv, environ);
}

/* ---- the end of an attempt --------------------------------------------------------------- */

static void forget_program(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    ev_io_stop(m->loop, &u->io);
    ev_timer_stop(m->loop, &u->timer);
    fd_close(&u->fd);
    u->pid = 0;
    u->phase = UPGRADE_NONE;
    u->serves = u->is_overdue = false;
}

static void failed(struct master *m, const char *why)
{
    log_errorx("Upgrade failed: %s. This master goes on unchanged", why);
    control_upgrade_failed(&m->control, why);
}

static void set_timer(struct master *m, uint64_t after_ms)
{
    struct upgrade *u = &m->upgrade;

    ev_timer_stop(m->loop, &u->timer);
    ev_now_update(m->loop);
    ev_timer_set(&u->timer, (double)after_ms / 1000, 0);
    ev_timer_start(m->loop, &u->timer);
}

/* Ends the new program, which is not wanted any more. upgrade_reaped logs the failure. */
static void end_program(struct master *m, const char *why)
{
    struct upgrade *u = &m->upgrade;

    assert(u->phase == UPGRADE_BOOTING && u->pid > 0);
    if (u->why[0] == '\0')
        (void)snprintf(u->why, sizeof(u->why), "%s", why);
    u->phase = UPGRADE_FAILED;
    (void)kill(u->pid, SIGTERM); /* not reaped yet, so the pid is still the program's */
    set_timer(m, END_MS);
}

/* ---- messages of the new program --------------------------------------------------------- */

static void successor_serves(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    ev_timer_stop(m->loop, &u->timer);
    log_info("Upgrade: the new master (pid:%d) serves as well as this one", (int)u->pid);
    u->phase = UPGRADE_BESIDE;
    listeners_lend(m->current, true);
    if (!u->hands_over)
        return;
    if (m->reload_requested) {
        (void)kill(u->pid, SIGHUP); /* not reaped yet, so the pid is still the program's */
        control_reload_failed(&m->control, 0, UINT64_MAX,
                              "passed on to the new master: its log, and gcornctl status, tell "
                              "how it ended");
    }
    master_note_stop(m, STOP_AT_ONCE, EXIT_STOPPED);
}

/* True: the new master has closed its end of the socket, so it has ended. */
static bool has_left(const struct upgrade *u)
{
    char next;

    return recv(u->fd, &next, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

/* Reads one message of the new program and notes it. */
static void read_word(struct master *m)
{
    struct upgrade *u = &m->upgrade;
    char packet[1 + UPGRADE_TEXT_MAX];
    ssize_t n = recv(u->fd, packet, sizeof(packet), MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) /* it has ended (SIGCHLD follows), or cannot report any more */
        ev_io_stop(m->loop, &u->io);
    else if (packet[0] == UPGRADE_SERVES)
        u->serves = m->is_due = true;
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
    struct master *m = timer->data;

    (void)loop;
    (void)revents;
    m->upgrade.is_overdue = m->is_due = true;
}

static void act_on_word(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    if (u->serves && u->phase == UPGRADE_BOOTING && !has_left(u))
        successor_serves(m);
    u->serves = false;
}

static void is_late(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->is_overdue = false;
    if (u->phase == UPGRADE_BOOTING)
        end_program(m, "the new program did not say within boot_timeout that it serves");
    else if (u->phase == UPGRADE_FAILED)
        (void)kill(u->pid, SIGKILL); /* not reaped yet, so the pid is still the program's */
}

void upgrade_act(struct master *m)
{
    if (m->upgrade.is_overdue && m->upgrade.phase == UPGRADE_BOOTING)
        read_word(m); /* timers run before sockets: its report may be waiting */
    act_on_word(m);
    if (m->upgrade.is_overdue)
        is_late(m);
}

static void describe_status(int status, char *text, size_t size)
{
    char end[WAIT_STATUS_TEXT_SIZE];

    (void)snprintf(text, size, "the new program %s before it served",
                   wait_status_text(status, end));
}

/* This master serves alone again. */
static void resume(struct master *m)
{
    listeners_lend(m->current, false);
    control_upgrade_failed(&m->control, "the new master ended while this one was stopping");
    if (m->plan.stopping)
        return;
    log_warnx("Upgrade rolled back: the new master (pid:%d) has ended; this one serves alone again",
              (int)m->upgrade.pid);
    (void)upgrade_resume(m);
}

bool upgrade_reaped(struct master *m, pid_t pid, int status)
{
    struct upgrade *u = &m->upgrade;

    if (u->pid == 0 || pid != u->pid)
        return false;
    if (u->phase == UPGRADE_BOOTING || u->phase == UPGRADE_BESIDE) /* a message may be unread */
        read_word(m);
    act_on_word(m);
    if (u->phase == UPGRADE_BESIDE) {
        resume(m);
    } else if (!master_is_stopping(m)) {
        if (u->why[0] == '\0')
            describe_status(status, u->why, sizeof(u->why));
        failed(m, u->why);
    }
    forget_program(m);
    return true;
}

/* ---- beginning --------------------------------------------------------------------------- */

static int run_pre_exec(const struct master *m, struct error *err)
{
    /* never freed: the process ends soon */
    char *program = xasprintf("GCORN_HOOK_PROGRAM=%s", m->start->program);
    const char *const facts[] = {program, NULL};

    return hooks_run_and_wait(&m->hooks, "pre_exec", config_of(m)->pre_exec, facts, err);
}

/* In the child: reports why the program was not executed, and exits. */
static void __attribute__((noreturn)) refuse_to_run(const struct handover *h, const char *why)
{
    char packet[1 + UPGRADE_TEXT_MAX];
    int len = snprintf(packet, sizeof(packet), "%c%s", UPGRADE_FAILS, why);

    (void)send(h->report_fd, packet, (size_t)len, MSG_NOSIGNAL); /* else the exit status says it */
    _exit(EXIT_FAILED);
}

static void __attribute__((noreturn))
run_child(const struct master *m, const struct handover *h, int record_fd)
{
    struct error err;

    if (m->start->activation.count > 0)
        readdress("LISTEN_PID");
    if (systemd_watchdog_ms(&m->systemd) > 0)
        readdress("WATCHDOG_PID");
    signals_reset(); /* a signal that comes too early ends the child; the upgrade then fails */
    if (run_pre_exec(m, &err) == 0) {
        execute(m, h, record_fd);
        (void)error_set(&err, EXIT_FAILED, "cannot execute %s: %s", m->start->program,
                        strerror(errno));
    }
    refuse_to_run(h, err.text);
}

/* fds: the master's end, the child's end. Returns 0, or -1 with errno. */
static int start_program(struct master *m, const int fds[2])
{
    struct upgrade *u = &m->upgrade;
    struct handover h;
    sigset_t old;
    pid_t pid = -1;

    int described = describe(m, &h, fds[1]);
    int record_fd = described < 0 ? -1 : handover_write(&h);
    if (record_fd >= 0) {
        (void)fflush(NULL); /* what stdio holds would be written twice */
        signals_block(&old);
        pid = fork();
        if (pid == 0)
            run_child(m, &h, record_fd);
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

static int check_allowed(const struct master *m, struct error *err)
{
    if (getpid() == 1)
        return error_set(err, EXIT_FAILED,
                         "this master is process 1 of a container, which would "
                         "end with it: replace the container instead");
    if (master_is_stopping(m))
        return error_set(err, EXIT_FAILED, "the server is stopping");
    if (reload_is_trying(m) || m->rolling)
        return error_set(err, EXIT_FAILED, "a reload is under way");
    if (m->upgrade.phase != UPGRADE_NONE)
        return error_set(err, EXIT_FAILED, "an upgrade is under way already");
    if (!m->successor.is_promoted)
        return error_set(err, EXIT_FAILED, "the old master (pid:%d) has not ended yet",
                         (int)m->successor.from.pid);
    return 0;
}

int upgrade_begin(struct master *m, bool hands_over, struct error *err)
{
    struct upgrade *u = &m->upgrade;
    int fds[2];

    if (check_allowed(m, err) < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return error_set(err, EXIT_FAILED, "socketpair: %s", strerror(errno));
    assert(u->pid == 0 && u->fd < 0);
    int result = start_program(m, fds);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "cannot start %s: %s", m->start->program,
                        strerror(errno));
    fd_close(&fds[1]);
    if (result < 0) {
        fd_close(&fds[0]);
        return -1;
    }
    log_info("Upgrade: %s is started, pid %d", m->start->program, (int)u->pid);
    u->phase = UPGRADE_BOOTING;
    u->hands_over = hands_over;
    u->why[0] = '\0';
    u->fd = fds[0];
    ev_io_set(&u->io, u->fd, EV_READ);
    ev_io_start(m->loop, &u->io);
    set_timer(m, config_of(m)->boot_timeout_ms + SPARE_MS);
    return 0;
}

/* ---- leaving ----------------------------------------------------------------------------- */

void upgrade_tell(struct master *m)
{
    if (m->plan.stopping && upgrade_has_successor(m) &&
        !procs_may_accept(m, m->last_generation + 1))
        control_upgrade_done(&m->control, m->upgrade.pid);
}

bool upgrade_has_successor(const struct master *m)
{
    return m->upgrade.phase == UPGRADE_BESIDE;
}

bool upgrade_holds_up_reload(const struct master *m)
{
    return m->upgrade.phase == UPGRADE_BOOTING;
}

bool upgrade_is_pending(const struct master *m)
{
    return m->upgrade.phase == UPGRADE_BOOTING || m->upgrade.phase == UPGRADE_FAILED;
}

/* Both masters' admin processes accept on one socket; this one's would answer that the server
 * stops. */
static void retire_admin(struct master *m)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (plan_is_admin(&m->plan, p->w) && phase_may_retire(p->w->phase))
            proc_retire(m, p);
    }
}

void upgrade_cancel(struct master *m)
{
    if (upgrade_has_successor(m))
        return;
    if (m->upgrade.phase == UPGRADE_BOOTING)
        end_program(m, "the server is stopping");
    control_upgrade_failed(&m->control, "the server is stopping");
}

void upgrade_leave(struct master *m)
{
    static const char word = UPGRADE_TAKE_OVER;

    upgrade_cancel(m);
    if (!upgrade_has_successor(m))
        return;
    log_info("Upgrade: the new master (pid:%d) takes over; this one stops", (int)m->upgrade.pid);
    retire_admin(m);
    control_lend(&m->control);
    pidfile_close(&m->pidfile);
    systemd_hand_over(&m->systemd, m->upgrade.pid);
    /* if this fails, the new master takes over when this process has ended */
    (void)send(m->upgrade.fd, &word, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

void upgrade_retire_workers(struct master *m)
{
    if (!upgrade_has_successor(m) && !config_of(m)->daemon)
        return; /* the size of a terminal has changed */
    log_info("Workers are retiring, the master stays: HUP starts them again, QUIT ends the master");
    m->plan.workers = 0;
    m->plan.has_admin = false;
}

bool upgrade_resume(struct master *m)
{
    if (m->plan.workers > 0)
        return false;
    m->plan.workers = (unsigned)config_of(m)->workers;
    m->plan.has_admin = m->current->admin_listener != NULL;
    log_info("Workers are started again: %u, of the same generation %u", m->plan.workers,
             m->current->id);
    return true;
}

/* ---- life -------------------------------------------------------------------------------- */

void upgrade_init(struct master *m)
{
    struct upgrade *u = &m->upgrade;

    u->fd = -1;
    ev_init(&u->io, on_word);
    ev_init(&u->timer, on_timer);
    u->io.data = u->timer.data = m;
}

void upgrade_close(struct master *m)
{
    fd_close(&m->upgrade.fd);
}
