/* SPDX-License-Identifier: MIT
 *
 * See spawn.h. Signals are blocked around the fork: a signal that reaches the child before it has
 * its own handlers must neither run the master's handler nor be lost.
 */
#include "master/workers/spawn.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "master/generation/listeners.h"
#include "master/generation/logs.h"
#include "master/telemetry/admin.h"
#include "master/telemetry/stats.h"
#include "master/postmortem/output.h"
#include "master/upgrade/socket_activation.h"
#include "master/preload/template.h"
#include "system/messages/message_bus.h"
#include "system/messages/named_memory.h"
#include "system/process/daemon.h"
#include "system/process/process.h"
#include "system/process/signals.h"
#include "worker/call/app.h"
#include "worker/worker.h"

enum { KEEPS_MAX = IMAGE_PARTS_MAX + 16 }; /* besides the listeners */

/* Descriptors of one kind of child; -1: it has none. */
struct ends {
    int output_fd; /* its application prints to it */
    int orders_fd; /* a template's */
};

/* The descriptors of the master that a child keeps. */
struct gift {
    int *fds; /* owned; -1: none */
    size_t count, room;
};

static void give(struct gift *gift, int fd)
{
    assert(gift->count < gift->room);
    gift->fds[gift->count++] = fd;
}

static struct gift make_gift(const struct worker_args *args, const struct generation *g,
                             const struct ends *ends)
{
    struct gift gift = {.room = KEEPS_MAX + args->listener_count};

    gift.fds = xcalloc(gift.room, sizeof(*gift.fds));
    give(&gift, log_fd());
    give(&gift, g->error_fd);
    give(&gift, args->access_fd);
    give(&gift, g->syslog.fd);
    give(&gift, g->dir_fd);
    give(&gift, g->image.copies.fd);
    give(&gift, args->channel.up_write);
    give(&gift, args->channel.down_worker);
    give(&gift, ends->output_fd);
    give(&gift, ends->orders_fd);
    give(&gift, args->bus->fd);
    give(&gift, args->bus->wake_fd);
    give(&gift, args->shared_memory->fd);
    for (size_t i = 0; i < g->image.count; i++)
        give(&gift, g->image.parts[i].fd);
    for (size_t i = 0; i < args->listener_count; i++)
        give(&gift, args->listeners[i]->fd);
    return gift;
}

/* Closes the descriptors of the master, of other workers and of other generations. A socket of
 * another generation, held open here, would keep an address in use that no process serves; a pipe
 * of another worker would hide the end of that worker, or of the master. */
static void keep_only(struct gift *gift, const struct spawner *s)
{
    socket_activation_forget(s->activation);
    ev_loop_destroy(s->loop);
    daemon_forget();
    process_close_all_but(gift->fds, gift->count, true);
    free(gift->fds);
}

/* From here on a stray write of the application cannot change another worker's slot. */
static void guard_siblings(const struct spawner *s, const struct slot *own)
{
    if (scoreboard_guard(s->scoreboard, own) < 0)
        fatal("cannot make the slots of other workers read-only: %s", strerror(errno));
}

/* In the child, first of all: replaces the master's settings by those of generation g. */
static void enter(const struct spawner *s, struct worker_args *args, struct generation *g,
                  const struct ends *ends)
{
    int entered = generation_enter(g);
    bool is_admin = args->number == plan_admin_number(s->plan);

    logs_use(g);
    log_after_fork();
    if (entered < 0)
        fatal("cannot change to the directory of generation %u: %s", g->id, strerror(errno));
    if (is_admin) {
        admin_prepare(args, g->admin_listener, s->stats, s->scoreboard);
        message_bus_release(args->bus);
        named_memory_release(args->shared_memory);
    } else {
        stats_free(s->stats);
        message_bus_unmap(args->bus);
    }
    if (args->scoreboard) /* else it is the admin process */
        guard_siblings(s, ends->orders_fd >= 0 ? NULL : args->slot);
    if (is_admin)
        args->access_fd = -1; /* it writes none */
    struct gift gift = make_gift(args, g, ends);
    keep_only(&gift, s);
    if (ends->output_fd >= 0 && output_redirect(ends->output_fd) < 0)
        fatal("capture_output: %s", strerror(errno));
    /* lines printed before a crash must not be lost in a buffer */
    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* on failure unchanged */
}

/* The child becomes a worker, or the admin process, a worker with a built-in application. */
static void __attribute__((noreturn))
run_child(const struct spawner *s, struct worker_args *args, struct generation *g, int output_fd)
{
    const struct ends ends = {.output_fd = output_fd, .orders_fd = -1};

    enter(s, args, g, &ends);
    args->slot->pid = (int32_t)getpid();
    worker_run(args);
}

static void claim_slot(const struct spawner *s, unsigned place, unsigned number,
                       const struct generation *g)
{
    struct slot *slot = scoreboard_claim(s->scoreboard, place);

    slot->state = SLOT_BOOTING;
    slot->generation = g->id;
    slot->worker_number = number;
}

/* Fills in the arguments that all workers of g share. */
static struct worker_args common_args(const struct spawner *s, const struct generation *g)
{
    return (struct worker_args){
        .role = "worker",
        .config = &g->config,
        .privileges = &g->privileges,
        .image = &g->image,
        .symbol = g->symbol,
        .listeners = g->listeners,
        .listener_count = g->listener_count,
        .hints = scoreboard_hints(s->scoreboard),
        .scoreboard = s->scoreboard,
        .bus = s->bus,
        .shared_memory = s->shared_memory,
        .generation = g->id,
        .is_proven = g->is_proven,
        .access_fd = g->access_fd,
        .master_pid = getpid(),
    };
}

static void set_place(struct worker_args *args, const struct spawner *s, unsigned place,
                      unsigned number, bool is_canary)
{
    args->slot = scoreboard_slot(s->scoreboard, place);
    args->number = number;
    args->check_path = is_canary ? args->config->reload_check_path : NULL;
}

/* ---- by a template ----------------------------------------------------------------------- */

/* The template, and each worker that it forks. */
static void __attribute__((noreturn))
run_template(const struct spawner *s, struct worker_args args, struct generation *g, int orders_fd,
             int output_fd)
{
    struct template_order order;
    struct app app = {0};
    struct fd_mark mark;
    struct error err;

    const struct ends ends = {.output_fd = output_fd, .orders_fd = orders_fd};

    args.role = "template";
    enter(s, &args, g, &ends);
    if (worker_prepare(&args, &err) < 0)
        template_refuse(orders_fd, err.text);
    if (args.config->crash_handler)
        template_catch_crash(orders_fd);
    fd_mark(orders_fd, &mark);
    int loaded = worker_preload(&args, &app, &err);
    if (!fd_is(orders_fd, &mark)) /* the master cannot be told */
        fatal("Template (pid:%d): the application has closed descriptors of the server, or has put "
              "other files in their place",
              (int)getpid());
    if (loaded < 0)
        template_refuse(orders_fd, err.text);
    template_fork_worker(&app, orders_fd, &order, g->error_fd, g->access_fd);
    args.role = "worker";
    args.preloaded = &app;
    args.channel = order.channel;
    set_place(&args, s, order.place, order.number, order.is_canary);
    args.is_proven = order.is_proven;
    guard_siblings(s, args.slot);
    args.slot->pid = (int32_t)getpid();
    if (order.output_fd >= 0 && output_redirect(order.output_fd) < 0)
        fatal("capture_output: %s", strerror(errno));
    worker_run(&args);
}

int spawn_template(const struct spawner *s, struct generation *g)
{
    const struct worker_args args = common_args(s, g);
    struct output *output = NULL;
    int fds[2], output_fd = -1;
    sigset_t old;

    if (template_socket(fds) < 0)
        return -1;
    if (g->config.capture_output && !(output = output_new(&output_fd))) {
        fd_close(&fds[0]);
        fd_close(&fds[1]);
        return -1;
    }
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); /* cannot fail with a valid flag */
    (void)fflush(NULL);                              /* what stdio holds would be written twice */
    signals_block(&old);
    pid_t pid = fork();
    if (pid == 0) {
        run_template(s, args, g, fds[1], output_fd);
    }
    int fork_errno = errno;
    signals_restore(&old);
    fd_close(&fds[1]);
    fd_close(&output_fd);
    if (pid < 0) {
        fd_close(&fds[0]);
        output_end(output);
        errno = fork_errno;
        return -1;
    }
    g->template = xcalloc(1, sizeof(*g->template));
    *g->template = (struct template){.pid = pid, .fd = fds[0], .output = output};
    return 0;
}

/* 0, or -1 with errno. */
static int order_worker(const struct generation *g, const struct worker_args *args, unsigned place,
                        int output_fd)
{
    const struct template_order order = {
        .serial = ++g->template->last_serial,
        .place = place,
        .number = args->number,
        .is_canary = args->check_path != NULL,
        .is_proven = args->is_proven,
        .channel = args->channel,
        .output_fd = output_fd,
        .error_fd = logs_fd_to_send(g->config.errorlog, g->error_fd),
        .access_fd = logs_fd_to_send(g->config.accesslog, g->access_fd),
    };

    return template_send(g->template, &order);
}

/* ---- a worker ---------------------------------------------------------------------------- */

/* The pid; 0 when a template is to fork it; or -1 with errno. */
static pid_t start_worker(const struct spawner *s, struct worker_args *args, unsigned place,
                          struct generation *g, int output_fd)
{
    sigset_t old;

    if (g->template && args->number != plan_admin_number(s->plan))
        return order_worker(g, args, place, output_fd);
    (void)fflush(NULL); /* what stdio holds would be written twice */
    signals_block(&old);
    pid_t pid = fork();
    if (pid == 0) {
        channel_keep_worker_end(&args->channel);
        run_child(s, args, g, output_fd);
    }
    int fork_errno = errno;
    signals_restore(&old);
    errno = fork_errno;
    return pid;
}

int spawn_worker(const struct spawner *s, int place, unsigned number, struct generation *g)
{
    struct worker_args args = common_args(s, g);
    bool is_admin = number == plan_admin_number(s->plan);
    bool is_canary = g->id == s->plan->candidate || s->is_trial;
    struct output *output = NULL;
    int output_fd = -1;

    assert(place >= 0 && (unsigned)place < s->plan->proc_count);
    assert(s->plan->procs[place].phase == PROC_EMPTY);
    set_place(&args, s, (unsigned)place, number, is_canary);
    if (channel_open(&args.channel) < 0)
        return -1;
    if (g->config.capture_output && !is_admin && !(output = output_new(&output_fd))) {
        channel_close(&args.channel);
        return -1;
    }
    if (!is_admin) /* which has a slot of its own */
        claim_slot(s, (unsigned)place, number, g);
    pid_t pid = start_worker(s, &args, (unsigned)place, g, output_fd);
    int start_errno = errno;
    fd_close(&output_fd);
    if (pid < 0) {
        channel_close(&args.channel);
        output_end(output);
        errno = start_errno;
        return -1;
    }
    channel_keep_master_end(&args.channel);
    uint64_t now = now_ms();
    const struct worker_proc w = {.phase = pid == 0 ? PROC_PENDING : PROC_BOOTING,
                                  .pid = pid,
                                  .number = number,
                                  .generation = g->id,
                                  .started_ms = now,
                                  .heard_ms = now, /* it may be told to retire before READY */
                                  .deadline_ms = now + g->config.boot_timeout_ms};
    struct proc *p = &s->procs->list[place];
    proc_fill(p, &w, g, &args.channel, output);
    if (pid == 0) {
        p->template = g->template;
        p->serial = g->template->last_serial;
    }
    return 0;
}
