/* SPDX-License-Identifier: MIT
 *
 * See stack_log.h.
 */
#include "master/postmortem/stack_log.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "master/postmortem/helper.h"
#include "master/generation/generation.h"
#include "master/postmortem/report.h"
#include "master/proc/proc.h"
#include "master/preload/template.h"
#include "system/trace/stacks.h"

enum {
    TIME_S = 5,      /* for a helper; it takes some milliseconds */
    LINES_MAX = 300, /* of one explanation, in the log */
};

_Static_assert((int)IMAGE_PARTS_MAX <= (int)HELPER_KEEPS_MAX, "the helper reads the image's parts");

static void take_stacks(const void *arg, struct strbuf *out)
{
    (void)stacks_write(arg, out); /* the text says what failed */
}

/* Starts a helper for a process of g's application. */
static int start(struct stack_logs *logs, pid_t pid, const struct generation *g, unsigned time_s,
                 helper_done *done, void *data)
{
    const struct stacks_target target = {
        .pid = pid, .image = &g->image, .privileges = &g->privileges, .text_max = HELPER_TEXT_MAX};
    struct helper_job job = {
        .work = take_stacks, .arg = &target, .time_s = time_s, .done = done, .data = data};

    for (size_t i = 0; i < g->image.count; i++)
        job.keeps[job.keep_count++] = g->image.parts[i].fd;
    return helper_start(logs->helpers, &job);
}

int stack_log_start_helper(struct stack_logs *logs, const struct proc *p, unsigned time_s,
                           helper_done *done, void *data)
{
    return start(logs, p->w->pid, p->settings, time_s, done, data);
}

/* Of a worker, or of its generation's template. */
struct stack_log {
    struct stack_logs *all;
    pid_t pid;
    struct generation *settings; /* a template's; NULL: it is a worker's */
    enum log_level level;
    uint64_t serial; /* unique, so that a process that waits for one does not take another for it */
    bool is_started, has_id;
    char id[SLOT_GIVEN_ID_SIZE]; /* of the request that was running */
    struct stack_log *next;      /* of all, the oldest first */
};

static const char *id_of(const struct stack_log *e)
{
    return e->has_id ? e->id : NULL;
}

static const char *name_of(const struct stack_log *e)
{
    return e->settings ? "Template" : "Worker";
}

static void log_lines(const struct stack_log *e, const char *text)
{
    int lines = 0;

    while (*text != '\0' && lines++ < LINES_MAX) {
        int len = (int)strcspn(text, "\n");

        if (len > 0)
            log_about(e->level, id_of(e), "%s (pid:%d) | %.*s", name_of(e), (int)e->pid, len, text);
        text += len;
        text += *text == '\n';
    }
    if (*text != '\0')
        log_about(e->level, id_of(e), "%s (pid:%d) | ... (gcornctl dump shows all)", name_of(e),
                  (int)e->pid);
}

static void give_up(const struct stack_log *e, int error)
{
    log_about(e->level, id_of(e), "%s (pid:%d): its stacks cannot be taken: %s", name_of(e),
              (int)e->pid, strerror(error));
}

static struct template *template_of(const struct stack_log *e)
{
    struct template *t = e->settings ? e->settings->template : NULL;

    return t && t->pid == e->pid ? t : NULL;
}

/* The generation of the process, while the process exists; else NULL. */
static const struct generation *owner(const struct stack_log *e)
{
    const struct proc *p = e->settings ? NULL : procs_find(e->all->procs, e->pid);

    if (e->settings)
        return template_of(e) ? e->settings : NULL;
    return p ? p->settings : NULL;
}

/* Notes for the next pass of the master that the stacks are taken, or given up. */
static void note_end(const struct stack_log *e)
{
    struct template *t = template_of(e);
    struct proc *p = e->settings ? NULL : procs_find(e->all->procs, e->pid);

    e->all->procs->has_news = true;
    if (t)
        t->has_stacks = true;
    if (p && p->stack_log == e->serial)
        p->noted.has_stacks = true;
}

static void on_text(void *data, const char *text, size_t len, int status);

static void forget(struct stack_log *e)
{
    struct stack_log **link = &e->all->first;

    for (; *link != e; link = &(*link)->next)
        assert(*link);
    *link = e->next;
    generation_unref(e->settings, true);
    free(e);
}

/* Starts the helper. False: too many helpers run, so it waits. If the helper cannot be started for
 * another reason, or the process has ended meanwhile, the entry is logged as failed and removed. */
static bool try_start(struct stack_log *e)
{
    const struct generation *g = owner(e);

    assert(!e->is_started && e->pid > 0);
    if (g && start(e->all, e->pid, g, TIME_S, on_text, e) == 0) {
        e->is_started = true;
        return true;
    }
    if (g && errno == EBUSY)
        return false;
    give_up(e, g ? errno : ESRCH);
    note_end(e);
    forget(e);
    return true;
}

/* The first entry that waits because too many helpers ran. */
static struct stack_log *first_waiting(const struct stack_logs *logs)
{
    struct stack_log *e = logs->first;

    while (e && e->is_started)
        e = e->next;
    return e;
}

static void on_text(void *data, const char *text, size_t len, int status)
{
    struct stack_log *e = data, *waiting;
    struct stack_logs *logs = e->all;

    assert(e->is_started);
    (void)len;
    log_lines(e, text);
    if (status != 0)
        log_about(e->level, id_of(e), "%s (pid:%d) | (the rest is missing)", name_of(e),
                  (int)e->pid);
    note_end(e);
    forget(e);
    while ((waiting = first_waiting(logs)) && try_start(waiting))
        continue;
}

static void begin(const struct stack_log *what)
{
    struct stack_log *e = xcalloc(1, sizeof(*e)), **end = &what->all->first;

    *e = *what;
    while (*end)
        end = &(*end)->next;
    *end = e;
    (void)try_start(e); /* else it waits */
}

static struct stack_log of_worker(struct stack_logs *logs, const struct proc *p,
                                  const struct slot_call *call, enum log_level level)
{
    struct stack_log e = {
        .all = logs, .pid = p->w->pid, .level = level, .serial = ++logs->last_serial};

    e.has_id = report_request_id(call, e.id) != NULL;
    return e;
}

void stack_log_begin(struct stack_logs *logs, const struct proc *p, const struct slot_call *call,
                     enum log_level level)
{
    const struct stack_log e = of_worker(logs, p, call, level);

    begin(&e);
}

void stack_log_await(struct stack_logs *logs, struct proc *p, const struct slot_call *call,
                     enum log_level level)
{
    const struct stack_log e = of_worker(logs, p, call, level);

    p->stack_log = e.serial;
    p->noted.has_stacks = false;
    begin(&e);
}

void stack_log_begin_template(struct stack_logs *logs, struct generation *g, enum log_level level)
{
    const struct stack_log e = {
        .all = logs, .pid = g->template->pid, .settings = generation_ref(g), .level = level};

    begin(&e);
}

void stack_logs_release(struct stack_logs *logs)
{
    for (struct stack_log *e = logs->first, *next; e; e = next) {
        next = e->next;
        forget(e);
    }
}
