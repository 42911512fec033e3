/* SPDX-License-Identifier: MIT
 *
 * See proc.h.
 */
#include "master/proc/proc.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/util.h"
#include "master/generation/generation.h"

void procs_init(struct procs *procs, struct plan *plan, struct scoreboard *scoreboard)
{
    *procs = (struct procs){.plan = plan, .scoreboard = scoreboard};
    procs->list = xcalloc(plan->proc_count, sizeof(*procs->list));
    for (unsigned i = 0; i < plan->proc_count; i++)
        procs->list[i].w = &plan->procs[i];
}

void procs_release(struct procs *procs)
{
    free(procs->list);
    procs->list = NULL;
}

struct proc *procs_find(const struct procs *procs, pid_t pid)
{
    struct proc *p;

    assert(pid > 0); /* those that are pending have 0 */
    for_each_proc (p, procs) {
        if (p->w->pid == pid)
            return p;
    }
    return NULL;
}

struct slot *proc_slot(const struct procs *procs, const struct proc *p)
{
    return scoreboard_slot(procs->scoreboard, (unsigned)(p - procs->list));
}

const char *proc_name(const struct procs *procs, const struct proc *p)
{
    return plan_is_admin(procs->plan, p->w) ? "Admin process" : "Worker";
}

unsigned proc_calls(const struct proc *p)
{
    unsigned threads = config_threads(&p->settings->config);

    return threads > 0 ? threads + 1 : 1;
}

void proc_fill(struct proc *p, const struct worker_proc *w, struct generation *settings,
               const struct channel *channel, struct output *output)
{
    assert(p->w->phase == PROC_EMPTY && !p->settings);
    assert((w->pid == 0) == phase_is_pending(w->phase));
    *p->w = *w;
    *p = (struct proc){
        .w = p->w, .settings = generation_ref(settings), .channel = *channel, .output = output};
}

/* The first one counts. */
static void note_text(char **noted, const char *text)
{
    if (!*noted)
        *noted = xstrdup(text);
}

static void note(struct proc *p, const struct up_message *message)
{
    switch (message->type) {
    case UP_READY:
        p->noted.is_ready = true;
        p->takes_late_signal = strcmp(message->text, UP_TAKES_LATE_SIGNAL) == 0;
        break;
    case UP_HEARTBEAT: p->w->heard_ms = now_ms(); break;
    case UP_BOOTFAIL: note_text(&p->noted.boot_failure, message->text); break;
    case UP_RECYCLE: note_text(&p->noted.wish, message->text); break;
    case UP_DYING: p->noted.is_dying = true; break;
    case UP_CRASHED: p->noted.is_answered = true; break;
    }
}

/* Returns 0, or -1: it has closed its end, or sent a message that it must not. */
static int read_messages(struct proc *p, int most)
{
    struct up_message message;
    int got = 0;

    while (!p->speech.is_over && most-- > 0 &&
           (got = channel_recv_up(p->channel.up_read, &message)) > 0) {
        if (!speech_count(&p->speech, now_ms()))
            p->noted.misdeed = "it floods its status pipe with messages";
        else if (!speech_take(&p->speech, message.type))
            p->noted.misdeed = "a message on its status pipe does not fit what it said before";
        else
            note(p, &message);
        if (p->noted.misdeed)
            return -1;
    }
    if (got < 0 && errno == EPROTO)
        p->noted.misdeed = "malformed message on its status pipe";
    return got < 0 ? -1 : 0;
}

/* A process that has closed its end has ended (SIGCHLD follows), or sends nothing more. */
void proc_read(struct procs *procs, struct proc *p, int most)
{
    if (phase_is_pending(p->w->phase))
        return;
    procs->has_news = true;
    if (read_messages(p, most) == 0)
        return;
    ev_io_stop(procs->loop, &p->up);
    if (p->noted.misdeed)
        p->speech.is_over = true;
}

static void on_up(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct proc *p = (struct proc *)(void *)((char *)io - offsetof(struct proc, up));

    (void)loop;
    (void)revents;
    proc_read(io->data, p, SPEECH_PASS_MAX);
}

void proc_watch(struct procs *procs, struct proc *p)
{
    assert(p->w->pid > 0);
    ev_io_init(&p->up, on_up, p->channel.up_read, EV_READ);
    p->up.data = procs;
    ev_io_start(procs->loop, &p->up);
}

bool proc_order(const struct proc *p, enum down_type type, uint64_t idle_ms)
{
    const struct down_message order = {.type = type, .ms = (uint32_t)idle_ms, .fds = {-1, -1}};

    /* EPIPE: it has ended, SIGCHLD follows. EAGAIN: it does not read, and its deadline ends it. */
    return channel_send_down(p->channel.down_master, &order) == 0;
}

void proc_clear(struct procs *procs, struct proc *p)
{
    assert(p->w->phase != PROC_EMPTY && p->settings && !p->output);
    ev_io_stop(procs->loop, &p->up);
    channel_close(&p->channel);
    generation_unref(p->settings, true);
    free(p->noted.boot_failure);
    free(p->noted.wish);
    *p->w = (struct worker_proc){.phase = PROC_EMPTY};
    *p = (struct proc){.w = p->w};
}
