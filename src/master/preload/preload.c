/* SPDX-License-Identifier: MIT
 *
 * See preload.h. A template holds nothing of value, so it is ended by SIGKILL; its pid is its own
 * until it is reaped.
 */
#include "master/preload/preload.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "master/boots.h"
#include "master/postmortem/stack_log.h"
#include "master/postmortem/output.h"
#include "master/procs.h"
#include "master/postmortem/report.h"
#include "master/state.h"
#include "master/preload/template.h"
#include "system/process/process.h"
#include "system/process/procfs.h"

enum { STACKS_MS = 3000 }; /* for the stacks of a hung template to be taken */

static bool is_pending(const struct worker_proc *w, const struct template *t)
{
    return w->phase != PROC_EMPTY && w->template == t;
}

static struct worker_proc *find_pending(struct master *m, const struct template *t, uint64_t serial)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (is_pending(w, t) && w->serial == serial)
            return w;
    }
    return NULL;
}

/* Application code runs where the news comes from, and might tell of any process: a signal must
 * meet neither a stranger nor another worker. */
static bool is_newborn(struct master *m, const struct template *t, pid_t pid)
{
    return process_is_child(pid) && pid != t->pid && !proc_find(m, pid);
}

static void hear_of_one(struct master *m, struct template *t, const struct template_news *news)
{
    struct worker_proc *w = find_pending(m, t, news->serial);

    if (news->why[0] != '\0') {
        if (w) { /* it can fork no more for now, as the master at times */
            proc_forget(m, w);
            boots_not_started(m, news->why);
        }
    } else if (!is_newborn(m, t, news->pid)) {
        if (!t->was_doubted)
            log_warnx("Template (pid:%d): pid %d says that it is a worker, and is not; ignoring it "
                      "and all that say so (logged once)",
                      (int)t->pid, (int)news->pid);
        t->was_doubted = true;
    } else if (!w) { /* given up meanwhile */
        (void)kill(news->pid, SIGKILL);
    } else {
        t->has_forked = true;
        w->template = NULL;
        w->pid = news->pid;
        (void)procfs_private_memory(t->pid, &w->inherited_size); /* failed: it is dead, and 0 */
        ev_io_start(m->loop, &w->up);
        if (w->output)
            output_watch(w->output, m->loop, w->pid);
    }
}

/* Each of its unborn; that one of them fails may end them all. */
static void none_boots(struct master *m, const struct template *t, const char *why,
                       void (*end)(struct master *m, struct worker_proc *w, const char *why))
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (is_pending(&m->plan.procs[i], t))
            end(m, &m->plan.procs[i], why);
    }
}

/* Its application's code holds its socket. Its unborn fail when it is reaped. */
static void kill_misbehaving(struct template *t, const char *misdeed)
{
    log_critical("Template (pid:%d): it %s; killing it", (int)t->pid, misdeed);
    t->speech.is_over = true;
    t->misdeed = misdeed;
    (void)kill(t->pid, SIGKILL);
}

static unsigned count_pending(const struct master *m, const struct template *t)
{
    unsigned count = 0;

    for (unsigned i = 0; i < m->plan.proc_count; i++)
        count += is_pending(&m->plan.procs[i], t);
    return count;
}

static const char *step_of(const struct template *t)
{
    return t->has_forked ? "" : ", while it loaded the application";
}

/* Its stacks are taken: the signal has its course. */
static void let_go(struct master *m, struct generation *g)
{
    (void)m;
    (void)kill(g->template->pid, SIGCONT);
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
    stack_log_begin_template(m, g, LOG_LEVEL_ERROR, let_go);
}

static void take(struct master *m, struct generation *g, const struct template_news *news)
{
    struct template *t = g->template;

    if (news->is_crash) {
        report_crash_once(m, g, &news->fault);
    } else if (news->serial != 0) {
        hear_of_one(m, t, news);
    } else if (!t->has_failed) {
        t->has_failed = true;
        none_boots(m, t, news->why, proc_pending_failed);
    }
}

/* A pass's worth: one for each that is to be born, and some more. */
static void hear(struct master *m, struct generation *g)
{
    unsigned left = g->template ? count_pending(m, g->template) + SPEECH_PASS_MAX : 0;
    struct template_news news;
    int got = 0;

    (void)generation_ref(g); /* what is heard may end a candidate */
    while (g->template && !g->template->speech.is_over && left-- > 0 &&
           (got = template_recv(g->template, &news)) > 0) {
        if (speech_count(&g->template->speech, now_ms())) {
            take(m, g, &news);
        } else {
            kill_misbehaving(g->template, "flooded its socket with messages");
            got = -1;
            break;
        }
    }
    if (g->template && !g->template->speech.is_over && got < 0 && errno == EPROTO)
        kill_misbehaving(g->template, "sent a malformed message");
    if (g->template && got < 0)
        ev_io_stop(m->loop, &g->template->io); /* its end will be reaped */
    generation_unref(g, true);
}

void preload_read(struct master *m)
{
    struct generation *g = m->current;

    do {
        struct generation *next = g->next;

        hear(m, g);
        g = next;
    } while (g != m->current);
}

static void on_news(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;

    (void)loop;
    (void)revents;
    preload_read(m);
    master_reconcile(m);
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

/* Lets go of a template that is dead, or as good as. */
static void drop(struct master *m, struct generation *g)
{
    struct template *t = g->template;

    g->template = NULL;
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (is_pending(&m->plan.procs[i], t))
            proc_forget(m, &m->plan.procs[i]);
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
    (void)generation_ref(g);
    none_boots(m, t, why,
               is_foreign && boots_is_kill(status) ? proc_pending_killed : proc_pending_failed);
    if (g->template == t)
        drop(m, g);
    generation_unref(g, true);
    m->spawn_not_before_ms = 0; /* an order may have failed for no other reason than this */
    return true;
}

static void set_deadlines(struct master *m, const struct template *t, uint64_t deadline_ms)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (is_pending(&m->plan.procs[i], t))
            m->plan.procs[i].deadline_ms = deadline_ms;
    }
}

static void explained_late(struct master *m, struct generation *g)
{
    set_deadlines(m, g->template, 0);
}

bool preload_log_late(struct master *m, struct generation *g, uint64_t now)
{
    struct template *t = g->template;

    if (!t || t->is_late || t->has_crashed)
        return false;
    log_errorx("Template (pid:%d) is not ready within boot_timeout%s", (int)t->pid, step_of(t));
    t->is_late = true;
    set_deadlines(m, t, now + STACKS_MS);
    stack_log_begin_template(m, g, LOG_LEVEL_ERROR, explained_late);
    return true;
}

void preload_end(struct master *m, struct generation *g)
{
    if (!g || !g->template)
        return;
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
