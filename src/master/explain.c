/* SPDX-License-Identifier: MIT
 *
 * See explain.h.
 */
#include "master/explain.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/util.h"
#include "master/helper.h"
#include "master/procs.h"
#include "master/report.h"
#include "master/state.h"
#include "system/stacks.h"

enum {
    TIME_S = 5,      /* for a helper; it takes some milliseconds */
    LINES_MAX = 300, /* of one explanation, in the log */
};

_Static_assert((int)IMAGE_PARTS_MAX <= (int)HELPER_KEEPS_MAX, "the helper reads the image's parts");

static void take_stacks(const void *arg, struct strbuf *out)
{
    (void)stacks_write(arg, out); /* what goes wrong is in the text */
}

int explain_start(struct master *m, const struct worker_proc *w, unsigned time_s, helper_done *done,
                  void *data)
{
    const struct generation *g = w->settings;
    const struct stacks_target target = {.pid = w->pid,
                                         .image = &g->image,
                                         .privileges = &g->privileges,
                                         .text_max = HELPER_TEXT_MAX};
    struct helper_job job = {
        .work = take_stacks, .arg = &target, .time_s = time_s, .done = done, .data = data};

    for (size_t i = 0; i < g->image.count; i++)
        job.keeps[job.keep_count++] = g->image.parts[i].fd;
    return helper_start(&m->helpers, &job);
}

struct explanation {
    struct master *master;
    pid_t pid;
    enum log_level level;
    void (*then)(struct master *m, struct worker_proc *w);
    bool is_started, has_id;
    char id[SLOT_GIVEN_ID_SIZE]; /* of the request that is to blame */
    struct explanation *next;    /* of all, the oldest first */
};

static const char *id_of(const struct explanation *e)
{
    return e->has_id ? e->id : NULL;
}

static void log_lines(const struct explanation *e, const char *text)
{
    int lines = 0;

    while (*text != '\0' && lines++ < LINES_MAX) {
        int len = (int)strcspn(text, "\n");

        if (len > 0)
            log_about(e->level, id_of(e), "Worker (pid:%d) | %.*s", (int)e->pid, len, text);
        text += len;
        text += *text == '\n';
    }
    if (*text != '\0')
        log_about(e->level, id_of(e), "Worker (pid:%d) | ... (gcornctl dump shows all)",
                  (int)e->pid);
}

static void give_up(const struct explanation *e, int error)
{
    log_about(e->level, id_of(e), "Worker (pid:%d): its stacks cannot be taken: %s", (int)e->pid,
              strerror(error));
}

static void on_text(void *data, const char *text, size_t len, int status);

static void forget(struct explanation *e)
{
    struct explanation **link = &e->master->explanations;

    while (*link != e)
        link = &(*link)->next;
    *link = e->next;
    free(e);
}

/* Starts it. False: too many helpers run. When none can be started for another reason, or its
 * process has not waited for its turn, it is over. */
static bool try_start(struct explanation *e)
{
    struct master *m = e->master;
    struct worker_proc *w = proc_find(m, e->pid);

    if (w && explain_start(m, w, TIME_S, on_text, e) == 0) {
        e->is_started = true;
        return true;
    }
    if (w && errno == EBUSY)
        return false;
    give_up(e, w ? errno : ESRCH);
    if (w && e->then)
        e->then(m, w);
    forget(e);
    return true;
}

/* The next that waits because too many helpers ran. */
static struct explanation *first_waiting(const struct master *m)
{
    struct explanation *e = m->explanations;

    while (e && e->is_started)
        e = e->next;
    return e;
}

static void on_text(void *data, const char *text, size_t len, int status)
{
    struct explanation *e = data, *waiting;
    struct master *m = e->master;
    struct worker_proc *w = proc_find(m, e->pid);

    (void)len;
    log_lines(e, text);
    if (status != 0)
        log_about(e->level, id_of(e), "Worker (pid:%d) | (the rest is missing)", (int)e->pid);
    if (w && e->then)
        e->then(m, w);
    forget(e);
    while ((waiting = first_waiting(m)) && try_start(waiting))
        continue;
}

void explain_begin(struct master *m, struct worker_proc *w, const struct slot_call *call,
                   enum log_level level, void (*then)(struct master *m, struct worker_proc *w))
{
    struct explanation *e = xcalloc(1, sizeof(*e)), **end = &m->explanations;

    *e = (struct explanation){.master = m, .pid = w->pid, .level = level, .then = then};
    e->has_id = report_request_id(call, e->id) != NULL;
    while (*end)
        end = &(*end)->next;
    *end = e;
    (void)try_start(e); /* else it waits */
}

void explain_release(struct master *m)
{
    while (m->explanations)
        forget(m->explanations);
}
