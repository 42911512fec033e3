/* SPDX-License-Identifier: MIT
 *
 * See procs.h. A worker's slot in the scoreboard is read as untrusted input; its pid is its own
 * until it is reaped, so a signal cannot meet a stranger.
 */
#include "master/procs.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/preload/preload.h"
#include "master/telemetry/stats_update.h"
#include "master/boots.h"
#include "master/crashes.h"
#include "master/postmortem/stack_log.h"
#include "master/postmortem/output.h"
#include "master/reload.h"
#include "master/postmortem/report.h"
#include "master/spawn.h"
#include "master/state.h"
#include "system/process/daemon.h"
#include "system/process/procfs.h"

enum {
    KILL_GRACE_MS = 2000, /* from SIGABRT to SIGKILL */
    STACKS_MS = 3000,     /* for the stacks of a hung worker to be taken */
    TRACED_MS = 1000,     /* so often the master looks whether a debugger still holds a worker */
    REAP_MAX = 64,        /* children that are reaped in a pass of the loop */
};

/* What the log calls it. */
static const char *name_of(const struct master *m, const struct worker_proc *w)
{
    return plan_is_admin(&m->plan, w) ? "Admin process" : "Worker";
}

bool proc_order(const struct worker_proc *w, enum down_type type, uint64_t idle_ms)
{
    const struct down_message order = {.type = type, .ms = (uint32_t)idle_ms, .fds = {-1, -1}};

    /* EPIPE: it is dead already, and SIGCHLD says so. EAGAIN: it is stuck, and its deadline ends
     * it. */
    return channel_send_down(w->channel.down_master, &order) == 0;
}

void proc_forget(struct master *m, struct worker_proc *w)
{
    ev_io_stop(m->loop, &w->up);
    output_end(w->output);
    w->output = NULL;
    spawn_forget(w);
}

static void kill_proc(struct master *m, struct worker_proc *w, int signal_number,
                      uint64_t deadline_ms)
{
    if (w->phase == PROC_EMPTY)
        return;
    if (w->template) { /* it has no pid to kill */
        proc_forget(m, w);
        return;
    }
    assert(w->pid > 0);
    (void)kill(w->pid, signal_number); /* it is not reaped yet, so the pid is its own */
    w->phase = PROC_KILLING;
    w->deadline_ms = deadline_ms;
}

struct worker_proc *proc_find(struct master *m, pid_t pid)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase != PROC_EMPTY && m->plan.procs[i].pid == pid)
            return &m->plan.procs[i];
    }
    return NULL;
}

/* Its handler answers its clients, and ends it. */
static void abort_worker(struct master *m, struct worker_proc *w)
{
    if (w->phase != PROC_KILLING || w->aborted)
        return;
    w->aborted = true;
    kill_proc(m, w, SIGABRT, now_ms() + KILL_GRACE_MS);
    (void)kill(w->pid, SIGCONT); /* somebody may have stopped it: it can see to its clients yet */
}

/* How many calls it can run at once: by its settings, whatever its slot says. */
static unsigned calls_of(const struct worker_proc *w)
{
    unsigned threads = config_threads(&w->settings->config);

    return threads > 0 ? threads : 1;
}

/* Who leaves as it was told to gives no sign of life any more, and has its deadline for that. */
static struct signs signs_of(const struct master *m, const struct worker_proc *w,
                             const struct slot_call *call)
{
    const struct config *cfg = &w->settings->config;
    uint64_t loop_ms = atomic_load(&master_slot(m, w)->loop_ms);
    bool is_over = loop_ms == SLOT_LOOP_OVER;

    return (struct signs){
        .call_started_ms = slot_call_started_ms(call),
        .call_until_ms = atomic_load(&call->until_ms),
        .loop_is_apart = config_threads(cfg) > 0 && !plan_is_admin(&m->plan, w),
        .loop_ms = is_over ? 0 : loop_ms,
        .judged_from_ms = m->judged_from_ms,
        .timeout_ms = cfg->timeout_ms,
        .heartbeat_ms = is_over && w->phase != PROC_READY ? 0 : cfg->heartbeat_ms,
    };
}

/* Of a worker with a hung call: does it have threads that can still finish what others wait for?
 * When none hangs any more, it ends by itself. */
static bool has_more_to_finish(const struct master *m, const struct worker_proc *w)
{
    const struct slot *s = master_slot(m, w);
    unsigned hung = 0, running = 0, count = calls_of(w);

    for (unsigned i = 0; i < count; i++) {
        const struct signs signs = signs_of(m, w, &s->calls[i]);
        enum verdict verdict = plan_judge(w, &signs, now_ms());

        if (verdict == VERDICT_SILENT)
            return false;
        hung += verdict == VERDICT_CALL_TOO_LONG;
        running += signs.call_started_ms != 0;
    }
    uint64_t in_flight = slot_in_flight(&s->counts), waiting = slot_get_number(&s->waiting);
    return hung == 0 || (hung < count && (running > hung || in_flight > hung + waiting));
}

/* When its stacks are taken, for they are gone with it, and nothing is left to wait for. */
static void abort_when_done(struct master *m, struct worker_proc *w)
{
    if (w->explained && (!w->spared || m->quick || !has_more_to_finish(m, w)))
        abort_worker(m, w);
}

static void explained(struct master *m, struct worker_proc *w)
{
    w->explained = true;
    abort_when_done(m, w);
}

/* What its other threads run is finished first, within the time that any worker has for that;
 * whoever comes anew is its replacement's. */
static void condemn(struct master *m, struct worker_proc *w, const struct slot_call *call,
                    enum verdict verdict, uint64_t now)
{
    uint64_t started_ms = slot_call_started_ms(call);

    report_condemned(w, call, verdict, now > started_ms ? now - started_ms : 0);
    w->timed_out = true;
    w->end = verdict == VERDICT_CALL_TOO_LONG ? END_TIMEOUT : END_SILENT;
    w->phase = PROC_KILLING;
    w->deadline_ms = now + STACKS_MS;
    w->spared = verdict == VERDICT_CALL_TOO_LONG && has_more_to_finish(m, w);
    if (w->spared) {
        uint64_t grace = w->settings->config.graceful_timeout_ms;

        w->deadline_ms = now + (grace > STACKS_MS ? grace : STACKS_MS);
        w->told_to_drain = proc_order(w, DOWN_RETIRE, 0);
    }
    stack_log_begin(m, w, call, LOG_LEVEL_CRITICAL, explained);
}

/* A worker in a debugger's hands is late for a reason. */
static bool is_traced(struct master *m, struct worker_proc *w)
{
    pid_t tracer = procfs_tracer(w->pid);

    if (tracer == 0 || helpers_have(&m->helpers, tracer))
        return tracer != 0;
    if (!w->traced)
        log_warnx("Worker (pid:%d) would be killed, but pid %d traces it (a debugger?): left alone",
                  (int)w->pid, (int)tracer);
    w->traced = true;
    return true;
}

/* slow_request: what is it doing? Once for each call; those that began earlier are late earlier. */
static void tell_slow(struct master *m, struct worker_proc *w, uint64_t now)
{
    const struct slot *s = master_slot(m, w);
    uint64_t limit = w->settings->config.slow_request_ms, told_ms = w->slow_ms;
    const struct slot_call *slow = NULL;

    for (unsigned i = 0; i < calls_of(w) && limit > 0; i++) {
        uint64_t since = slot_call_started_ms(&s->calls[i]);

        if (since == 0 || now < since || now - since < limit || since <= w->slow_ms)
            continue;
        report_slow(w, &s->calls[i], now - since);
        slow = told_ms == w->slow_ms ? &s->calls[i] : NULL; /* the stacks are about all of them */
        told_ms = since > told_ms ? since : told_ms;
    }
    if (told_ms == w->slow_ms)
        return;
    w->slow_ms = told_ms;
    stack_log_begin(m, w, slow, LOG_LEVEL_WARNING, NULL);
}

/* The call that is in the way, the oldest of them, and what is wrong with it. The clock is read
 * behind the signs: before them, one that has just asked for all the time there is would have asked
 * for more. */
static enum verdict judge(const struct master *m, const struct worker_proc *w,
                          const struct slot_call **call)
{
    const struct slot *s = master_slot(m, w);
    enum verdict worst = VERDICT_FINE;
    uint64_t oldest_ms = UINT64_MAX;

    for (unsigned i = 0; i < calls_of(w); i++) {
        const struct signs signs = signs_of(m, w, &s->calls[i]);
        enum verdict verdict = plan_judge(w, &signs, now_ms());

        if (verdict == VERDICT_FINE || (verdict == worst && signs.call_started_ms >= oldest_ms) ||
            (verdict == VERDICT_SILENT && worst == VERDICT_CALL_TOO_LONG))
            continue;
        worst = verdict;
        oldest_ms = signs.call_started_ms;
        *call = &s->calls[i];
    }
    return worst;
}

void procs_judge(struct master *m, uint64_t now)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];
        const struct slot_call *call = NULL;

        if (w->phase == PROC_KILLING && w->spared)
            abort_when_done(m, w);
        if ((w->phase != PROC_READY && w->phase != PROC_RETIRING) || w->template)
            continue; /* who is not born yet is not silent */
        enum verdict verdict = judge(m, w, &call);
        tell_slow(m, w, now);
        if (verdict != VERDICT_FINE && !is_traced(m, w))
            condemn(m, w, call, verdict, now);
    }
}

static void explained_late(struct master *m, struct worker_proc *w)
{
    (void)m;
    w->explained = true;
    if (w->phase == PROC_BOOTING)
        w->deadline_ms = 0;
}

/* A boot that hangs is explained as a call that does. True: that is under way, or a debugger holds
 * the worker. */
static bool is_explained_late(struct master *m, struct worker_proc *w, uint64_t now)
{
    char step[BOOT_STEP_SIZE];

    if (w->is_late)
        return false;
    if (is_traced(m, w)) {
        w->deadline_ms = now + TRACED_MS;
        return true;
    }
    report_boot_step(master_slot(m, w), step);
    log_errorx("%s (pid:%d) is not ready within boot_timeout%s", name_of(m, w), (int)w->pid, step);
    w->is_late = true;
    w->deadline_ms = now + STACKS_MS;
    stack_log_begin(m, w, NULL, LOG_LEVEL_ERROR, explained_late);
    return true;
}

static void fail_late_boot(struct master *m, struct worker_proc *w)
{
    char step[BOOT_STEP_SIZE], why[BOOT_STEP_SIZE + 64];

    report_boot_step(master_slot(m, w), step);
    (void)snprintf(why, sizeof(why), "it was not ready within boot_timeout%s", step);
    boots_failed(m, w, why);
}

void procs_kill_late(struct master *m, uint64_t now)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase == PROC_EMPTY || now < w->deadline_ms)
            continue;
        proc_hear(m, w); /* timers come before pipes: perhaps it has said that it is ready */
        if (now < w->deadline_ms)
            continue;
        if (w->timed_out && !w->aborted) {
            abort_worker(m, w); /* whoever takes its stacks has had long enough */
            continue;
        }
        if (w->template) {
            struct generation *g = w->settings;

            if (preload_log_late(m, g, now))
                continue;
            (void)generation_ref(g);
            proc_pending_failed(m, w, "it was not ready within boot_timeout");
            preload_end(m, g); /* the application is stuck in it */
            generation_unref(g, true);
            continue;
        }
        if (w->crashed && crash_goes_on(m, w, now))
            continue;
        if (w->phase == PROC_BOOTING && !w->crashed && is_explained_late(m, w, now))
            continue;
        if (w->phase == PROC_BOOTING)
            fail_late_boot(m, w);
        else if (w->phase == PROC_RETIRING && !m->quick)
            log_errorx("%s (pid:%d) did not finish within graceful_timeout: killed", name_of(m, w),
                       (int)w->pid);
        kill_proc(m, w, SIGKILL, NO_DEADLINE);
    }
}

/* There is nothing to say about its death. */
static void kill_booting(struct master *m, struct worker_proc *w, enum worker_end end)
{
    w->failed_boot = true;
    w->end = end;
    kill_proc(m, w, SIGKILL, NO_DEADLINE);
}

void procs_hear_booting(struct master *m)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        if (m->plan.procs[i].phase == PROC_BOOTING)
            proc_hear(m, &m->plan.procs[i]);
    }
}

/* A worker that boots holds the sockets and accepts nothing: clients would wait at it, and be cut
 * off when its time is over. Where another serves what waits by now, or nothing waits, it is not
 * needed. */
void procs_kill_booting(struct master *m)
{
    bool is_served = !master_has_clients(m);

    for (unsigned i = 0; i < m->plan.proc_count; i++)
        is_served = is_served || (m->plan.procs[i].phase == PROC_READY &&
                                  !plan_is_admin(&m->plan, &m->plan.procs[i]));
    for (unsigned i = 0; i < m->plan.proc_count && is_served; i++) {
        if (m->plan.procs[i].phase == PROC_BOOTING)
            kill_booting(m, &m->plan.procs[i], END_WITH_SERVER);
    }
}

void procs_kill_canary(struct master *m)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];

        if (w->phase == PROC_BOOTING && w->generation == m->plan.candidate)
            kill_booting(m, w, END_RELOAD);
    }
}

static void recycle(const struct master *m, struct worker_proc *w, enum worker_end end,
                    const char *why)
{
    if (w->phase != PROC_READY || w->recycle)
        return;
    log_info("%s (pid:%d) is to be replaced: %s", name_of(m, w), (int)w->pid, why);
    w->recycle = true;
    w->end = end;
}

static void run_when_ready(struct master *m)
{
    char workers[64];
    const char *const facts[] = {workers, NULL};

    (void)snprintf(workers, sizeof(workers), "GCORN_HOOK_WORKERS=%u", m->plan.workers);
    hooks_run(&m->hooks, "when_ready", config_of(m)->when_ready, facts);
}

static void worker_ready(struct master *m, struct worker_proc *w)
{
    if (w->phase != PROC_BOOTING)
        return; /* told to retire meanwhile */
    w->phase = PROC_READY;
    w->ready_ms = w->heard_ms = now_ms();
    w->deadline_ms = NO_DEADLINE;
    if (plan_is_admin(&m->plan, w))
        return;
    w->settings->is_proven = true;
    if (!m->has_served)
        daemon_report(EXIT_STOPPED);
    if (!m->has_served)
        run_when_ready(m);
    m->has_served = true;
    if (m->stop_at_ms != NO_DEADLINE)
        (void)proc_order(w, DOWN_CLOSE, 0);
    boots_begin(m);
    if (w->generation == m->plan.candidate)
        reload_commit(m);
}

void proc_note_death(struct master *m, const struct worker_proc *w)
{
    uint64_t now = now_ms();

    if (w->phase != PROC_RETIRING && w->generation == m->plan.generation)
        plan_note_death(&m->plan.backoffs[w->number], w->ready_ms > 0 ? now - w->ready_ms + 1 : 0,
                        now);
}

void proc_pending_failed(struct master *m, struct worker_proc *w, const char *why)
{
    const struct template *t = w->template;

    if (w->phase == PROC_BOOTING)
        boots_failed(m, w, why);
    if (w->phase == PROC_EMPTY || w->template != t) /* a reload that fails ends its template */
        return;
    proc_note_death(m, w);
    proc_forget(m, w);
}

void proc_pending_killed(struct master *m, struct worker_proc *w, const char *why)
{
    const struct template *t = w->template;

    if (!m->plan.stopping)
        log_errorx("Worker %u failed to boot: %s", w->number, why);
    if (w->phase == PROC_BOOTING)
        boots_killed(m, w, why);
    if (w->phase != PROC_EMPTY && w->template == t)
        proc_forget(m, w);
}

static enum worker_end why_asked_to_leave(const char *why)
{
    return strcmp(why, "SIGTERM") == 0        ? END_SIGTERM
           : strcmp(why, "max_requests") == 0 ? END_MAX_REQUESTS
                                              : END_CRASH;
}

/* What its application has broken, that of its replacement may break at once: as with a crash, that
 * is slowed down. */
static void asked_to_leave(struct master *m, struct worker_proc *w, const char *why)
{
    enum worker_end end = why_asked_to_leave(why);

    if (end == END_CRASH && w->phase == PROC_READY && !w->recycle)
        proc_note_death(m, w);
    recycle(m, w, end, why);
}

static void obey(struct master *m, struct worker_proc *w, const struct up_message *message)
{
    switch (message->type) {
    case UP_READY: worker_ready(m, w); break;
    case UP_HEARTBEAT: w->heard_ms = now_ms(); break;
    case UP_BOOTFAIL: boots_failed(m, w, message->text); break;
    case UP_RECYCLE: asked_to_leave(m, w, message->text); break;
    case UP_DYING: crash_begun(m, w); break;
    case UP_CRASHED: crash_answered(m, w); break;
    }
}

/* Takes what it has said, at most so many messages. 0, or -1: it is to be heard no more; why: it is
 * to be killed, NULL: it has closed its end. */
static int take_messages(struct master *m, struct worker_proc *w, int most, const char **why)
{
    struct up_message message;
    int got = 0;

    *why = NULL;
    while (!w->speech.is_over && most-- > 0 &&
           (got = channel_recv_up(w->channel.up_read, &message)) > 0) {
        if (!speech_count(&w->speech, now_ms()))
            *why = "it floods its status pipe with messages";
        else if (!speech_take(&w->speech, message.type))
            *why = "a message on its status pipe does not fit what it said before";
        if (*why)
            return -1;
        obey(m, w, &message);
    }
    if (got < 0 && errno == EPROTO)
        *why = "malformed message on its status pipe";
    return got < 0 ? -1 : 0;
}

/* One that closed its end is dead, and SIGCHLD says so, or is silent from now on. */
void proc_hear(struct master *m, struct worker_proc *w)
{
    const char *why;

    if (w->template)
        preload_read(m);
    if (w->phase == PROC_EMPTY || w->template || take_messages(m, w, SPEECH_PASS_MAX, &why) == 0)
        return;
    ev_io_stop(m->loop, &w->up);
    if (!why)
        return;
    w->speech.is_over = w->reported = true;
    if (w->phase == PROC_BOOTING)
        boots_failed(m, w, why);
    else
        log_critical("%s (pid:%d): %s; killing it", name_of(m, w), (int)w->pid, why);
    kill_proc(m, w, SIGKILL, NO_DEADLINE);
}

static void on_up(struct ev_loop *loop, struct ev_io *io, int revents)
{
    struct master *m = io->data;
    struct worker_proc *w =
        (struct worker_proc *)(void *)((char *)io - offsetof(struct worker_proc, up));

    (void)loop;
    (void)revents;
    proc_hear(m, w);
    master_reconcile(m);
}

/* Writes the access log lines that it left in its slot, once: nobody reads the slot before the next
 * worker has it empty. */
static void write_last_lines(const struct master *m, const struct worker_proc *w)
{
    struct slot *s = master_slot(m, w);
    int fd = w->settings->access_fd;
    char lines[SLOT_LOG_SIZE];
    size_t len = slot_get_log(s, lines, sizeof(lines));

    if (len == 0 || fd < 0)
        return;
    if (log_write(fd, lines, len) < 0)
        s->counts.log_lines_lost += log_count_lines(lines, len);
    atomic_store(&s->log_len, 0);
}

static void run_child_exit(struct master *m, const struct worker_proc *w, int status)
{
    char pid[64], number[64], end[64];
    const char *const facts[] = {pid, number, end, NULL};
    bool killed = WIFSIGNALED(status);

    (void)snprintf(pid, sizeof(pid), "GCORN_HOOK_WORKER_PID=%d", (int)w->pid);
    (void)snprintf(number, sizeof(number), "GCORN_HOOK_WORKER_SLOT=%u", w->number);
    (void)snprintf(end, sizeof(end), "GCORN_HOOK_WORKER_%s=%d", killed ? "SIGNAL" : "STATUS",
                   killed ? WTERMSIG(status) : WEXITSTATUS(status));
    hooks_run(&m->hooks, "child_exit", config_of(m)->child_exit, facts);
}

static void worker_died(struct master *m, struct worker_proc *w, int status)
{
    const char *ignored;

    (void)take_messages(m, w, SPEECH_LAST_MAX,
                        &ignored); /* its last words, its application's too */
    output_end(w->output);
    w->output = NULL;
    if (w->crashed)
        crash_report(m, w); /* it may not have come to say that it had answered */
    if (w->phase == PROC_BOOTING && !w->failed_boot) {
        boots_died(m, w, status);
    } else if (!w->crashed) {
        if (!w->failed_boot && !w->reported)
            w->is_oom = report_death(w, master_slot(m, w), status, &m->oom);
        proc_note_death(m, w);
    }
    write_last_lines(m, w);
    report_last_request(w, master_slot(m, w));
    ev_io_stop(m->loop, &w->up);
    stats_update_exited(m, w, status);
    if (!plan_is_admin(&m->plan, w))
        run_child_exit(m, w, status);
    spawn_forget(w);
}

/* A child that has ended, not reaped yet: its pid is still its own. 0: there is none. */
static pid_t next_dead(void)
{
    siginfo_t info = {.si_pid = 0};

    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 ? info.si_pid : 0;
}

/* Children that have ended; those that are neither worker nor helper (an orphan, when we are pid 1
 * or an application forks) are only reaped. */
void procs_reap(struct master *m)
{
    pid_t pid;
    int status;

    for (int reaped = 0; (pid = next_dead()) > 0; reaped++) {
        if (reaped == REAP_MAX) { /* the next pass goes on */
            ev_feed_signal(SIGCHLD);
            return;
        }
        preload_read(m); /* it may have been born and died since */
        if (waitpid(pid, &status, WNOHANG) != pid || preload_reaped(m, pid, status))
            continue;
        if (helpers_reaped(&m->helpers, pid, status) || hooks_reaped(&m->hooks, pid, status) ||
            prepare_reaped(&m->prepare, pid, status) || upgrade_reaped(m, pid, status))
            continue;
        for (unsigned i = 0; i < m->plan.proc_count; i++) {
            struct worker_proc *w = &m->plan.procs[i];

            if (w->phase != PROC_EMPTY && w->pid == pid) {
                worker_died(m, w, status);
                break;
            }
        }
    }
}

void proc_watch(struct master *m, struct worker_proc *w, int output_fd)
{
    ev_io_init(&w->up, on_up, w->channel.up_read, EV_READ);
    w->up.data = m;
    if (!w->template) /* else when it is born: before that it has nothing to say */
        ev_io_start(m->loop, &w->up);
    if (output_fd >= 0)
        w->output = output_adopt(output_fd);
    if (w->output && !w->template) /* else when it is born */
        output_watch(w->output, m->loop, w->pid);
}

/* Who has grown past max_memory is replaced like one that has served max_requests. What a template
 * has loaded is shared, and no fault of the worker's; the kernel only tells cheaply what is not
 * of a file. */
void procs_weigh(struct master *m)
{
    for (unsigned i = 0; i < m->plan.proc_count; i++) {
        struct worker_proc *w = &m->plan.procs[i];
        bool is_weighed = w->phase == PROC_READY && !plan_is_admin(&m->plan, w);
        uint64_t max = is_weighed ? w->settings->config.max_memory : 0, size;
        char why[80];

        if (max == 0 || w->recycle || procfs_private_memory(w->pid, &size) < 0 ||
            size <= max + w->inherited_size)
            continue;
        size -= w->inherited_size;
        (void)snprintf(why, sizeof(why), "max_memory (%llu MiB)", (unsigned long long)(size >> 20));
        recycle(m, w, END_MAX_MEMORY, why);
    }
}
