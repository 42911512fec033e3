/* SPDX-License-Identifier: MIT
 *
 * master_case - a master in the test's process: its tables, its loop and one generation, without
 * listening sockets. Its workers are children that do nothing; what they say, the test writes into
 * their status pipes.
 */
#ifndef GCORN_TESTS_UNIT_MASTER_CASE_H
#define GCORN_TESTS_UNIT_MASTER_CASE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "master/requests.h"
#include "master/state.h"
#include "settings/config.h"
#include "system/ipc/channel.h"
#include "system/process/loop.h"

enum { PLACES = 16, GRACE_MS = 30000, BOOT_MS = 20000 };

static struct master m;
static struct generation current, candidate;
static struct backoff backoffs[PLACES + 1];
static struct worker_proc places[PLACES];
static const struct start start;
static int log_file = -1;

/* What the log says since the last call; borrowed until the next one. */
static inline const char *logged(void)
{
    static char text[16384];
    ssize_t n = pread(log_file, text, sizeof(text) - 1, 0);

    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(ftruncate(log_file, 0), 0);
    assert_int_equal(lseek(log_file, 0, SEEK_SET), 0);
    return text;
}

static inline void make_generation(struct generation *g, unsigned id)
{
    *g = (struct generation){.id = id, .refs = 1000, .dir_fd = -1, .error_fd = -1, .access_fd = -1};
    g->syslog.fd = -1;
    g->next = g->prev = g;
    config_init(&g->config);
    g->config.graceful_timeout_ms = GRACE_MS;
    g->config.boot_timeout_ms = BOOT_MS;
}

/* Serves generation 1 with two workers wanted; has been serving. */
static inline int master_setup(void **state)
{
    struct error err;

    (void)state;
    memset(&m, 0, sizeof(m));
    memset(backoffs, 0, sizeof(backoffs));
    memset(places, 0, sizeof(places));
    make_generation(&current, 1);
    make_generation(&candidate, 2);
    m.start = &start;
    m.current = &current;
    m.stop_at_ms = NO_DEADLINE;
    m.has_served = true;
    m.successor.is_promoted = true;
    m.next_control.fd = m.upgrade.fd = m.prepare.fd = -1;
    m.next_pidfile.fd = m.pidfile.fd = -1;
    m.scoreboard = scoreboard_new(PLACES, &err);
    m.stats = stats_new(PLACES, &err);
    m.loop = loop_new(&err);
    assert_true(m.scoreboard && m.stats && m.loop);
    m.plan = (struct plan){
        .procs = places, .proc_count = PLACES, .workers = 2, .generation = 1, .backoffs = backoffs};
    procs_init(&m.procs, &m.plan, m.scoreboard);
    m.procs.loop = m.loop;
    control_init(&m.control, m.loop, &requests_control_ops, &m);
    helpers_init(&m.helpers, m.loop);
    for (size_t i = 0; i < HELPERS_MAX; i++)
        m.helpers.list[i].pid = 1; /* all are busy: stacks are waited for */
    m.stack_logs = (struct stack_logs){.helpers = &m.helpers, .procs = &m.procs};
    log_file = memfd_create("log", MFD_CLOEXEC);
    log_set_fd(log_file);
    return 0;
}

static inline int master_teardown(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        pid_t pid = places[i].pid;

        if (places[i].phase != PROC_EMPTY) {
            fd_close(&m.procs.list[i].channel.up_write);
            proc_clear(&m.procs, &m.procs.list[i]);
        }
        if (pid > 0 && kill(pid, SIGKILL) == 0)
            (void)waitpid(pid, NULL, 0);
    }
    stack_logs_release(&m.stack_logs);
    free(m.candidate_failure);
    free(m.roll_failure);
    procs_release(&m.procs);
    ev_loop_destroy(m.loop);
    scoreboard_free(m.scoreboard);
    stats_free(m.stats);
    config_release(&current.config);
    config_release(&candidate.config);
    log_set_fd(STDERR_FILENO);
    (void)close(log_file);
    return 0;
}

static inline pid_t sleeping_child(void)
{
    (void)signal(SIGHUP, SIG_DFL); /* nohup ignores it */
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a test that fails leaves nothing */
        for (;;)
            pause();
    }
    return pid;
}

/* A worker in the place of its number, of generation g, in this phase and with a child of its own;
 * its order comes to channel.down_worker, and what it says goes to channel.up_write. */
static inline struct proc *add_worker(unsigned place, struct generation *g, enum proc_phase phase)
{
    struct proc *p = &m.procs.list[place];
    bool was_ready = phase >= PROC_READY && phase != PROC_KILLED;
    struct worker_proc w = {.phase = phase,
                            .pid = phase_is_pending(phase) ? 0 : sleeping_child(),
                            .number = place % 8,
                            .generation = g->id,
                            .started_ms = now_ms(),
                            .heard_ms = now_ms(),
                            .ready_ms = was_ready ? now_ms() : 0};
    struct channel channel;

    assert_int_equal(channel_open(&channel), 0);
    w.deadline_ms = phase == PROC_READY || phase == PROC_KILLED ? NO_DEADLINE : now_ms() + 5000;
    (void)scoreboard_claim(m.scoreboard, place);
    proc_fill(p, &w, g, &channel, NULL);
    return p;
}

static inline void tries_a_candidate(void)
{
    m.candidate = &candidate;
    plan_try_generation(&m.plan, 2);
}

/* The order that it was sent last; 0: none. */
static inline int last_order(struct proc *p, uint32_t *ms)
{
    struct down_message order;
    int type = 0;

    while (channel_recv_down(p->channel.down_worker, &order) > 0) {
        type = order.type;
        if (ms)
            *ms = order.ms;
    }
    return type;
}

/* The signal that its child dies of. */
static inline int ended_by(struct proc *p)
{
    int status;

    assert_int_equal(waitpid(p->w->pid, &status, 0), p->w->pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

#endif
