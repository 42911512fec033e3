/* SPDX-License-Identifier: MIT
 *
 * See commands.h. The handler of SIGTERM only wakes the loop; when the master has died it also sets
 * an alarm, because the worker may hang in a call and no master can kill it.
 */
#include "worker/commands.h"

#include <assert.h>
#include <errno.h>
#include <ev.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "system/process/signals.h"
#include "worker/accept/accept.h"
#include "worker/access_log_writer.h"
#include "worker/call/wake.h"
#include "worker/conn/conn.h"
#include "worker/loop/clock.h"
#include "worker/loop/state.h"
#include "worker/loop/upward.h"
#include "worker/notify_master.h"
#include "worker/worker.h"

enum {
    DRAIN_AGAIN_MS = 100,  /* between two searches for connections that have become idle */
    QUIT_MS = 2000,        /* the master waits that long (retire.c) */
    CALLS_EARLY_MS = 1000, /* at most, of graceful_timeout */
    ORPHAN_IDLE_MS =
        1000, /* idle connections of a worker without a master stay at most this long */
};

/* ---- finishing --------------------------------------------------------------------------- */

static void on_drain(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    for (size_t i = 0; i < w->table_used; i++) {
        if (w->conns[i].state != CONN_FREE)
            (void)conn_close_if_idle(&w->conns[i]);
    }
}

/* Half of graceful_timeout is over. Connections that only linger are closed, so that the worker is not
 * killed for them while it still serves others. */
static void on_linger_over(struct ev_loop *loop, struct ev_timer *timer, int revents)
{
    struct worker *w = timer->data;
    struct timer *lingers;

    (void)loop;
    (void)revents;
    worker_look_at_clock(w);
    while ((lingers = timers_first(&w->timers, TIMER_LINGER)) ||
           (lingers = timers_first(&w->timers, TIMER_LINGER_WHOLE)))
        conn_drop((struct conn *)(void *)lingers);
}

/* When calls that push are told to end: a little before the master kills the worker. */
static uint64_t calls_end_ms(const struct worker *w)
{
    uint64_t early_ms = w->config->graceful_timeout_ms / 8;

    return w->leave_by_ms - (early_ms < CALLS_EARLY_MS ? early_ms : CALLS_EARLY_MS);
}

/* Drains: accepts no more, answers what is there with Connection: close. Idle connections may still
 * send a request for idle_ms; a later command can make that shorter, never longer. take_queue: also
 * serves the connections in the listen backlog, because no other worker will. */
static void drain(struct worker *w, uint32_t idle_ms, bool take_queue)
{
    assert(!w->draining || w->answers_close);
    worker_look_at_clock(w);
    if (!w->draining) {
        w->leave_by_ms = now_ms() + w->config->graceful_timeout_ms;
        w->drain_over_ms = calls_end_ms(w);
        w->draining = w->answers_close = true;
        w->slot->state = SLOT_DRAINING;
        accept_end(w, take_queue);
        /* a reload is done when the master has seen this state; its tick sees it if this is lost */
        notify_alive(w);
        wake_all(w); /* so that streams end */
        ev_timer_set(&w->linger_over, w->config->graceful_timeout_ms / 2000.0,
                     DRAIN_AGAIN_MS / 1000.0);
        ev_timer_start(w->loop, &w->linger_over);
    }
    if (!ev_is_active(&w->drain) || ev_timer_remaining(w->loop, &w->drain) > idle_ms / 1000.0) {
        ev_timer_stop(w->loop, &w->drain);
        ev_timer_set(&w->drain, idle_ms / 1000.0, DRAIN_AGAIN_MS / 1000.0);
        ev_timer_start(w->loop, &w->drain);
    }
    if (worker_is_drained(w))
        ev_break(w->loop, EVBREAK_ALL);
}

/* ---- from the master --------------------------------------------------------------------- */

/* Makes the old log's descriptor refer to the log that the master has reopened. */
static void replace_log(const char *which, int new_fd, int fd)
{
    if (new_fd < 0)
        return;
    if (fd < 0 || dup3(new_fd, fd, O_CLOEXEC) < 0)
        log_error("Worker (pid:%d): cannot reopen the %s log; it writes to the old one",
                  (int)getpid(), which);
    (void)close(new_fd); /* a second number of the same file */
}

static void reopen_logs(struct worker *w, const struct down_message *m)
{
    if (m->fds_lost)
        log_warnx(
            "Worker (pid:%d): cannot receive a reopened log: too many open files; it writes to "
            "the old one",
            (int)w->pid);
    access_log_writer_write(&w->access_log);
    replace_log("error", m->fds[0], log_fd());
    replace_log("access", m->fds[1], w->access_log.fd);
    access_log_writer_reopened(&w->access_log);
}

/* Not within a call, which may wait for its client (push.h) and would never return: it is told to
 * end. */
static void quit(struct worker *w)
{
    w->quit_is_due = !w->calls && w->serving && slot_call_runs(&w->slot->calls[0]);
    if (w->quit_is_due)
        return;
    w->leave_by_ms = now_ms() + QUIT_MS;
    worker_leave(w);
}

static void run_command(struct worker *w, const struct down_message *m)
{
    switch (m->type) {
    case DOWN_RETIRE: drain(w, m->ms, false); break;
    case DOWN_STOP: drain(w, m->ms, true); break;
    case DOWN_QUIT: quit(w); break;
    case DOWN_REOPEN: reopen_logs(w, m); break;
    case DOWN_CLOSE: w->answers_close = true; break;
    case DOWN_GO: break; /* for crash.c alone */
    }
}

/* No master will kill a worker that does not finish: an alarm does. */
static void stop_orphan(struct worker *w)
{
    ev_io_stop(w->loop, &w->commands);
    ev_timer_stop(w->loop, &w->heartbeat);
    (void)alarm((unsigned)(w->config->graceful_timeout_ms / 1000 + 1));
    drain(w,
          w->config->keepalive_drain_ms < ORPHAN_IDLE_MS ? (uint32_t)w->config->keepalive_drain_ms
                                                         : ORPHAN_IDLE_MS,
          true);
}

void commands_run(struct worker *w)
{
    struct down_message m;
    int got = 0;

    if (w->quit_is_due)
        quit(w);
    while (ev_is_active(&w->commands) &&
           (got = channel_recv_down(w->args->channel.down_worker, &m)) > 0)
        run_command(w, &m);
    if (got < 0) {
        log_info("Parent changed, shutting down (pid: %d)", (int)w->pid);
        stop_orphan(w);
    }
}

bool commands_check(struct worker *w)
{
    const struct channel *c = &w->args->channel;

    if (fd_is(c->down_worker, &w->down_mark) && fd_is(c->up_write, &w->up_mark))
        return true;
    if (ev_is_active(&w->commands)) {
        log_errorx("Worker (pid:%d): the application has closed its channel to the master, or has "
                   "replaced one of its descriptors (%d, %d); this worker ends and is replaced",
                   (int)w->pid, c->down_worker, c->up_write);
        stop_orphan(w);
    }
    return false;
}

static void on_command(struct ev_loop *loop, struct ev_io *io, int revents)
{
    (void)loop;
    (void)revents;
    commands_run(io->data);
}

/* ---- signals ----------------------------------------------------------------------------- */

static void do_nothing(int signal_number)
{
    (void)signal_number;
}

void commands_disregard(int signal_number)
{
    const struct sigaction action = {.sa_handler = do_nothing, .sa_flags = SA_RESTART};

    (void)sigaction(signal_number, &action, NULL); /* cannot fail: the numbers are valid */
}

/* The signals that a terminal or `pkill gcorn` sends to all processes: a worker gets its commands
 * through the channel. And those of a log: no reader, or longer than a file may be. */
static void disregard_masters(void)
{
    static const int masters[] = {SIGINT,  SIGQUIT, SIGHUP,   SIGUSR1, SIGUSR2,
                                  SIGTTIN, SIGTTOU, SIGWINCH, SIGPIPE, SIGXFSZ};

    for (size_t i = 0; i < ARRAY_LEN(masters); i++)
        commands_disregard(masters[i]);
}

/* A terminal's signal, or pkill's, may come at any moment of a boot. */
void commands_leave_signals_to_master(void)
{
    sigset_t mask;

    signals_block(&mask);
    signals_default();
    disregard_masters();
    (void)sigemptyset(&mask);
    signals_restore(&mask);
}

/* Is this the worker, rather than a child that the application has forked? Such a child dies. */
static bool is_own_process(int signal_number)
{
    const struct worker *w = worker_this();

    if (w && getpid() == w->pid)
        return true;
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
    return false;
}

/* The handler's work is done on the loop's thread, so between two of its steps. False there. */
static bool is_passed_on_to_loop(int signal_number, pid_t pid)
{
    if (gettid() == pid)
        return false;
    (void)syscall(SYS_tgkill, pid, pid, signal_number);
    return true;
}

/* A person sends it to this one worker; the kernel sends it when the master has died. Any thread may
 * get it. */
static void on_term(int signal_number)
{
    struct worker *w = worker_this();
    int saved_errno = errno;

    if (is_own_process(signal_number) && !is_passed_on_to_loop(signal_number, w->pid)) {
        if (getppid() != w->args->master_pid) {
            /* also when a call hangs: the address must be free for a new master */
            accept_close(w);
            (void)alarm((unsigned)(w->config->graceful_timeout_ms / 1000 + 1));
        }
        ev_async_send(w->loop, &w->told_to_stop);
    }
    errno = saved_errno;
}

void commands_catch_term(void)
{
    const struct sigaction action = {.sa_handler = on_term, .sa_flags = SA_RESTART};

    (void)sigaction(SIGTERM, &action, NULL);
}

/* A person wants this worker to go. The master starts its replacement first, so that no client is
 * refused. */
static void on_told_to_stop(struct ev_loop *loop, struct ev_async *async, int revents)
{
    struct worker *w = async->data;

    (void)loop;
    (void)revents;
    if (getppid() == w->args->master_pid && notify_leave(w, "SIGTERM"))
        return;
    drain(w, (uint32_t)w->config->keepalive_drain_ms, false);
}

/* ---- init -------------------------------------------------------------------------------- */

void commands_init(struct worker *w)
{
    fd_mark(w->args->channel.down_worker, &w->down_mark);
    fd_mark(w->args->channel.up_write, &w->up_mark);
    ev_io_init(&w->commands, on_command, w->args->channel.down_worker, EV_READ);
    ev_async_init(&w->told_to_stop, on_told_to_stop);
    ev_init(&w->drain, on_drain);
    ev_init(&w->linger_over, on_linger_over);
    w->commands.data = w->told_to_stop.data = w->drain.data = w->linger_over.data = w;
}

void commands_start(struct worker *w)
{
    ev_io_start(w->loop, &w->commands);
    ev_async_start(w->loop, &w->told_to_stop);
}
