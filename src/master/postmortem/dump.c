/* SPDX-License-Identifier: MIT
 *
 * See dump.h. A worker that has ended by the time its turn comes is left out of the answer.
 */
#include "master/postmortem/dump.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/json.h"
#include "base/log.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "master/postmortem/stack_log.h"
#include "master/postmortem/helper.h"
#include "master/proc/proc.h"

enum { TIME_S = 10 }; /* for one worker; it takes some milliseconds */

static void add_text(struct dump_request *r, const struct worker_proc *w, const char *text,
                     size_t len)
{
    strbuf_addf(&r->members, "%s{\"number\": %u, \"pid\": %d, \"generation\": %u, \"text\": ",
                r->members.len > 0 ? ", " : "\"dumps\": [", w->number, (int)w->pid, w->generation);
    json_add_bytes(&r->members, text, len);
    strbuf_addch(&r->members, '}');
}

static void on_text(void *data, const char *text, size_t len, int status);

static int start_next(struct dump_request *r, const struct proc *p)
{
    return stack_log_start_helper(r->all->stack_logs, p, TIME_S, on_text, r);
}

static void finish(struct dump_request *r)
{
    struct strbuf members = r->members;
    struct dumps *all = r->all;
    uint64_t number = r->number;

    assert(r->next == r->count && number != 0);
    free(r->pids);
    *r = (struct dump_request){0}; /* free before its client is answered */
    strbuf_addstr(&members, members.len > 0 ? "]" : "\"dumps\": []");
    all->done(all->arg, number, members.data, members.len);
    strbuf_release(&members);
}

/* Starts with the next worker that is still there. */
static void go_on(struct dump_request *r)
{
    while (r->next < r->count) {
        const struct proc *p = procs_find(r->all->stack_logs->procs, r->pids[r->next]);
        char why[128];

        if (p && start_next(r, p) == 0)
            return;
        if (p) {
            (void)snprintf(why, sizeof(why), "no helper can be started: %s\n", strerror(errno));
            add_text(r, p->w, why, strlen(why));
        }
        r->next++;
    }
    finish(r);
}

/* Adds how a helper ended, when its text is incomplete. */
static void add_end(struct strbuf *text, int status)
{
    char end[WAIT_STATUS_TEXT_SIZE];

    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        strbuf_addf(text, "\n(this took longer than %d s: the rest is missing)\n", TIME_S);
    else if (WIFSIGNALED(status))
        strbuf_addf(text, "\n(the rest is missing: the process that reads the stacks %s)\n",
                    wait_status_text(status, end));
}

static void on_text(void *data, const char *text, size_t len, int status)
{
    struct dump_request *r = data;
    const struct proc *p = procs_find(r->all->stack_logs->procs, r->pids[r->next]);
    struct strbuf whole = {0};

    assert(r->number != 0 && r->next < r->count);
    strbuf_add(&whole, text, len);
    add_end(&whole, status);
    if (p)
        add_text(r, p->w, whole.data, whole.len);
    strbuf_release(&whole);
    r->next++;
    go_on(r);
}

static struct dump_request *find_free(struct dumps *dumps)
{
    for (size_t i = 0; i < DUMPS_MAX; i++) {
        if (dumps->list[i].number == 0)
            return &dumps->list[i];
    }
    return NULL;
}

/* Chooses the worker with this pid, or with 0 all workers. */
static void choose(struct dump_request *r, pid_t pid)
{
    const struct plan *plan = r->all->stack_logs->procs->plan;

    r->pids = xcalloc(plan->proc_count, sizeof(*r->pids));
    for (unsigned i = 0; i < plan->proc_count; i++) {
        const struct worker_proc *w = &plan->procs[i];

        if (w->phase != PROC_EMPTY && w->pid > 0 &&
            (pid == 0 ? !plan_is_admin(plan, w) : w->pid == pid))
            r->pids[r->count++] = w->pid;
    }
}

uint64_t dump_begin(struct dumps *dumps, pid_t pid, const char **why)
{
    struct dump_request *r = find_free(dumps);

    if (!r) {
        *why = "too many dumps at once";
        return 0;
    }
    r->all = dumps;
    choose(r, pid);
    if (r->count == 0)
        *why = pid == 0 ? "there is no worker" : "no worker has this pid";
    else if (start_next(r, procs_find(dumps->stack_logs->procs, r->pids[0])) < 0)
        *why = errno == EBUSY ? "too many helpers at once" : "no helper can be started";
    else
        r->number = ++dumps->last;
    uint64_t number = r->number;
    if (number == 0) {
        free(r->pids);
        *r = (struct dump_request){0};
    } else {
        log_info("Control socket: dump");
    }
    return number;
}

void dumps_release(struct dumps *dumps)
{
    for (size_t i = 0; i < DUMPS_MAX; i++) {
        free(dumps->list[i].pids);
        strbuf_release(&dumps->list[i].members);
        dumps->list[i] = (struct dump_request){0};
    }
}
