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
    struct explanation *next; /* in the queue for a helper */
};

static void log_lines(const struct explanation *e, const char *text)
{
    int lines = 0;

    while (*text != '\0' && lines++ < LINES_MAX) {
        int len = (int)strcspn(text, "\n");

        if (len > 0)
            log_request(e->level, NULL, "Worker (pid:%d) | %.*s", (int)e->pid, len, text);
        text += len;
        text += *text == '\n';
    }
    if (*text != '\0')
        log_request(e->level, NULL, "Worker (pid:%d) | ... (gcornctl dump shows all)", (int)e->pid);
}

static void give_up(const struct explanation *e, int error)
{
    log_request(e->level, NULL, "Worker (pid:%d): its stacks cannot be taken: %s", (int)e->pid,
                strerror(error));
}

static void on_text(void *data, const char *text, size_t len, int status);

/* Those that waited because too many helpers ran. */
static void start_queued(struct master *m)
{
    struct explanation *e;

    while ((e = m->explain_queue)) {
        struct worker_proc *w = proc_find(m, e->pid);

        if (w && explain_start(m, w, TIME_S, on_text, e) == 0) {
            m->explain_queue = e->next;
            continue;
        }
        if (w && errno == EBUSY)
            return;
        m->explain_queue = e->next;
        if (w) {
            give_up(e, errno);
            if (e->then)
                e->then(m, w);
        }
        free(e);
    }
}

static void on_text(void *data, const char *text, size_t len, int status)
{
    struct explanation *e = data;
    struct master *m = e->master;
    struct worker_proc *w = proc_find(m, e->pid);

    (void)len;
    log_lines(e, text);
    if (status != 0)
        log_request(e->level, NULL, "Worker (pid:%d) | (the rest is missing)", (int)e->pid);
    if (w && e->then)
        e->then(m, w);
    free(e);
    start_queued(m);
}

int explain_begin(struct master *m, struct worker_proc *w, enum log_level level,
                  void (*then)(struct master *m, struct worker_proc *w))
{
    struct explanation *e = xcalloc(1, sizeof(*e)), **end = &m->explain_queue;

    *e = (struct explanation){.master = m, .pid = w->pid, .level = level, .then = then};
    if (explain_start(m, w, TIME_S, on_text, e) == 0)
        return 0;
    if (errno != EBUSY) {
        give_up(e, errno);
        free(e);
        return -1;
    }
    while (*end)
        end = &(*end)->next;
    *end = e;
    return 0;
}

void explain_release(struct master *m)
{
    while (m->explain_queue) {
        struct explanation *e = m->explain_queue;

        m->explain_queue = e->next;
        free(e);
    }
}
