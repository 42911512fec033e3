/* SPDX-License-Identifier: MIT
 *
 * See preload.h. A template has no state to save, so the master ends it by SIGKILL; its pid cannot
 * be reused until it is reaped.
 */
#include "master/workers/preload.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "master/workers/boots.h"
#include "master/postmortem/stack_log.h"
#include "master/postmortem/output.h"
#include "master/workers/procs.h"
#include "master/postmortem/report.h"
#include "master/state.h"
#include "master/preload/template.h"
#include "system/process/process.h"
#include "system/process/procfs.h"

enum { STACKS_MS = 3000 }; /* to take the stacks of a template that hangs */

static bool is_pending(const struct proc *p, const struct template *t)
{
    return phase_is_pending(p->w->phase) && p->template == t;
}

static struct proc *find_pending(struct master *m, const struct template *t, uint64_t serial)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (is_pending(p, t) && p->serial == serial)
            return p;
    }
    return NULL;
}

/* The message comes from a process that runs application code, which could name any pid: the master
 * must not send a signal to a foreign process or to another worker. */
static bool is_newborn(struct master *m, const struct template *t, pid_t pid)
{
    return process_is_child(pid) && pid != t->pid && !procs_find(&m->procs, pid);
}

/* The template has forked the pending worker p. */
static void take_worker(struct master *m, struct template *t, struct proc *p, pid_t pid)
{
    assert(is_pending(p, t) && p->w->pid == 0);
    t->has_forked = true;
    (void)procfs_private_memory(t->pid, &p->inherited_size); /* 0 if it has ended */
    p->noted.pid = pid;
    procs_act_on(m, p, now_ms());
}

static void doubt(struct template *t, pid_t pid)
{
    if (!t->was_doubted)
        log_warnx(
            "Template (pid:%d): process %d says that it is a worker, but is not one; ignoring "
            "this message and all others like it (logged once)",
            (int)t->pid, (int)pid);
    t->was_doubted = true;
}

static void take_news_of_one(struct master *m, struct template *t, const struct template_news *news)
{
    struct proc *p = find_pending(m, t, news->serial);

    if (news->why[0] != '\0') {
        if (p) { /* its fork failed, as fork in the master can */
            procs_forget(m, p);
            boots_not_started(m, news->why);
        }
    } else if (!is_newborn(m, t, news->pid)) {
        doubt(t, news->pid);
    } else if (!p) { /* the master has given this worker up */
        (void)kill(news->pid, SIGKILL);
    } else {
        take_worker(m, t, p, news->pid);
    }
}

static void fail_pending(struct master *m, const struct template *t, bool was_killed,
                         const char *why)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (is_pending(p, t))
            procs_pending_failed(m, p, was_killed, why);
    }
}

/* Messages are not trusted: code of the application can write to the template's socket. The pending
 * workers fail when the template is reaped. */
static void kill_misbehaving(struct template *t, const char *misdeed)
{
    log_critical("Template (pid:%d): it %s; killing it", (int)t->pid, misdeed);
    t->speech.is_over = true;
    t->misdeed = misdeed;
    assert(t->pid > 0);
    (void)kill(t->pid, SIGKILL);
}

static unsigned count_pending(const struct master *m, const struct template *t)
{
    const struct proc *p;
    unsigned count = 0;

    for_each_proc (p, &m->procs)
        count += is_pending(p, t);
    return count;
}

static const char *step_of(const struct template *t)
{
    return t->has_forked ? ""
                         : ", while it loaded the application (in a constructor or gcorn_on_load)";
}

static void report_crash_once(struct master *m, struct generation *g,
                              const struct template_fault *fault)
{
    struct template *t = g->template;

    if (t->has_crashed)
        return;
    t->has_crashed = true;
    output_take(t->output);
    report_template_crash(t, fault, step_of(t));
    stack_log_begin_template(&m->stack_logs, g, LOG_LEVEL_ERROR);
}

static void take(struct master *m, struct generation *g, const struct template_news *news)
{
    struct template *t = g->template;

    if (news->is_crash) {
        report_crash_once(m, g, &news->fault);
    } else if (news->serial != 0) {
        take_news_of_one(m, t, news);
    } else if (!t->has_failed) {
        t->has_failed = true;
        fail_pending(m, t, false, news->why);
    }
}

static void set_deadlines(struct master *m, const struct template *t, uint64_t deadline_ms)
{
    struct proc *p;

    for_each_proc (p, &m->procs) {
        if (is_pending(p, t))
            p->w->deadline_ms = deadline_ms;
    }
}

/* When the stacks are taken: a template that crashed continues and dies of its signal; the pending
 * workers of one that hangs are given up. */
static void act_on_stacks(struct master *m, struct template *t)
{
    if (!t->has_stacks)
        return;
    t->has_stacks = false;
    if (t->has_crashed)
        (void)kill(t->pid, SIGCONT);
    else if (t->is_late)
        set_deadlines(m, t, 0);
}

/* Reads at most one message for each pending worker, and SPEECH_PASS_MAX more, in a pass. */
static void read_news(struct master *m, struct generation *g)
{
    struct template *t = g->template;
    unsigned left = count_pending(m, t) + SPEECH_PASS_MAX;
    struct template_news news;
    int got = 0;

    while (!t->speech.is_over && left-- > 0 && (got = template_recv(t, &news)) > 0) {
        if (speech_count(&t->speech, now_ms()))
            take(m, g, &news);
        else
            kill_misbehaving(t, "flooded its socket with messages");
    }
    if (!t->speech.is_over && got < 0 && errno == EPROTO)
        kill_misbehaving(t, "sent a malformed message");
    if (got < 0 || t->speech.is_over)
        ev_io_stop(m->loop, &t->io); /* the template ends; SIGCHLD follows */
}

void preload_read(struct master *m)
{
    struct generation *g;

    for_each_generation (g, m->current) {
        if (!g->template)
            continue;
        assert(g == m->current || g == m->candidate); /* other generations start no workers */
        read_news(m, g);
        act_on_stacks(m, g->template);
    }
}

/* The next pass of the master reads the message. */
static void on_news(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;

    (void)loop;
    (void)revents;
    m->is_due = true;
}

void preload_watch(struct master *m, struct generation *g)
{
    struct template *t = g->template;

    ev_io_init(&t->io, on_news, t->fd, EV_READ);
    t->io.data = m;
    ev_io_start(m->loop, &t->io);
    if (t->output)
        output_watch(t->output, m->loop, t->pid);
}

/* Frees the template of g, which has ended or has been sent SIGKILL. */
static void drop(struct master *m, struct generation *g)
{
    struct template *t = g->template;
    struct proc *p;

    g->template = NULL;
    for_each_proc (p, &m->procs) {
        if (is_pending(p, t))
            procs_forget(m, p);
    }
    ev_io_stop(m->loop, &t->io);
    output_end(t->output);
    fd_close(&t->fd);
    free(t);
}

bool preload_reaped(struct master *m, pid_t pid, int status)
{
    struct generation *g = m->current;
    char why[200], end[WAIT_STATUS_TEXT_SIZE];

    while (!g->template || g->template->pid != pid) {
        g = g->next;
        if (g == m->current)
            return false;
    }
    struct template *t = g->template;
    if (t->misdeed)
        (void)snprintf(why, sizeof(why), "the template process %s", t->misdeed);
    else
        (void)snprintf(why, sizeof(why), "the template process %s%s", wait_status_text(status, end),
                       step_of(t));
    bool is_foreign = !t->has_failed && !t->misdeed;
    if (is_foreign && !m->plan.stopping)
        log_errorx("Template (pid:%d): %s", (int)pid, why);
    fail_pending(m, t, is_foreign && boots_is_kill(status), why);
    drop(m, g);
    m->spawn_not_before_ms = 0; /* retry now: an order may have failed because of this end */
    return true;
}

bool preload_log_late(struct master *m, struct generation *g, uint64_t now)
{
    struct template *t = g->template;

    if (!t || t->is_late || t->has_crashed)
        return false;
    log_errorx("Template (pid:%d) is not ready within boot_timeout%s", (int)t->pid, step_of(t));
    t->is_late = true;
    set_deadlines(m, t, now + STACKS_MS);
    stack_log_begin_template(&m->stack_logs, g, LOG_LEVEL_ERROR);
    return true;
}

void preload_end(struct master *m, struct generation *g)
{
    if (!g || !g->template)
        return;
    assert(g->template->pid > 0);
    (void)kill(g->template->pid, SIGKILL);
    drop(m, g);
}

void preload_stop(struct master *m)
{
    struct generation *g = m->current;

    do {
        if (g->template && count_pending(m, g->template) == 0)
            preload_end(m, g);
        g = g->next;
    } while (g != m->current);
}
