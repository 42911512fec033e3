/* SPDX-License-Identifier: MIT
 *
 * See report.h.
 */
#include "master/postmortem/report.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include "base/compat.h"
#include "base/log.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "base/wait_status.h"
#include "http/access_log.h"
#include "master/generation/generation.h"
#include "master/preload/template.h"
#include "system/host/oom.h"
#include "system/process/procfs.h"
#include "system/ipc/scoreboard.h"

/* A callback serves no request; nor does an entry that was never used. */
static bool serves_request(const struct slot_call *call)
{
    return *(const volatile uint64_t *)&call->request_id != 0;
}

/* Appends what the call runs, or ran last: "GET /a of 127.0.0.1, request 00c0ffee12345678",
 * "TIMER tick", or "no request". redact: without its query. */
static void add_request(struct strbuf *out, const struct slot_call *call, bool redact)
{
    char method[sizeof(call->method)], target[sizeof(call->target)], peer[sizeof(call->peer)];
    char id[SLOT_GIVEN_ID_SIZE];

    if (slot_get_text(call->method, sizeof(call->method), method, sizeof(method)) == 0) {
        strbuf_addstr(out, "no request");
        return;
    }
    (void)slot_get_text(call->target, sizeof(call->target), target, sizeof(target));
    if (!serves_request(call)) {
        strbuf_addf(out, "%s %s", method, target);
        return;
    }
    (void)slot_get_text(call->peer, sizeof(call->peer), peer, sizeof(peer));
    if (redact)
        target[strcspn(target, "?")] = '\0'; /* queries carry secrets */
    (void)slot_get_request_id(call, id, sizeof(id));
    strbuf_addf(out, "%s %s of %s, request %s", method, target, *peer ? peer : "a unix peer", id);
}

const char *report_request_id(const struct slot_call *call, char id[SLOT_GIVEN_ID_SIZE])
{
    if (!call || !serves_request(call))
        return NULL;
    (void)slot_get_request_id(call, id, SLOT_GIVEN_ID_SIZE);
    return id;
}

void report_hung(const struct proc *p, const struct slot_call *call, enum health health,
                 uint64_t ms)
{
    bool is_call = health == HEALTH_CALL_TOO_LONG;
    struct strbuf what = {0};
    char id[SLOT_GIVEN_ID_SIZE];

    add_request(&what, call, p->settings->config.crash_redact);
    log_about(LOG_LEVEL_CRITICAL, report_request_id(call, id), "%s (pid:%d)%s%llu.%llu s%s%s",
              is_call ? "WORKER TIMEOUT" : "WORKER UNRESPONSIVE", (int)p->w->pid,
              is_call ? " after " : ": its event loop has not run for ",
              (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100,
              is_call ? " in " : "; last request: ", what.data);
    strbuf_release(&what);
}

void report_late(const struct proc *p, const struct slot_call *call, uint64_t ms)
{
    struct strbuf what = {0};
    char id[SLOT_GIVEN_ID_SIZE];

    add_request(&what, call, p->settings->config.crash_redact);
    log_about(
        LOG_LEVEL_WARNING, report_request_id(call, id),
        "Late call: worker (pid:%d) has spent %llu.%llu s in %s; gcorn_on_call_late is called",
        (int)p->w->pid, (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100,
        what.data);
    strbuf_release(&what);
}

void report_slow(const struct proc *p, const struct slot_call *call, uint64_t ms)
{
    struct strbuf what = {0};
    char id[SLOT_GIVEN_ID_SIZE];

    add_request(&what, call, p->settings->config.crash_redact);
    log_about(LOG_LEVEL_WARNING, report_request_id(call, id),
              "Slow request: worker (pid:%d) has spent %llu.%llu s so far in %s", (int)p->w->pid,
              (unsigned long long)ms / 1000, (unsigned long long)ms % 1000 / 100, what.data);
    strbuf_release(&what);
}

/* ---- a crash ----------------------------------------------------------------------------- */

/* Appends the address of the fault, or which process sent the signal. */
static void add_fault(struct strbuf *out, const struct slot_crash *c, pid_t pid)
{
    unsigned long long address = c->address;

    if (c->code <= 0 && c->sender == pid)
        strbuf_addstr(out, " Raised by itself;");
    else if (c->code <= 0 && c->sender != 0)
        strbuf_addf(out, " Sent by pid %d;", c->sender);
    else if (c->signal == SIGSEGV && c->code == SEGV_MAPERR)
        strbuf_addf(out, " Nothing is mapped at address 0x%llx;", address);
    else if (c->signal == SIGSEGV && c->code == SEGV_ACCERR)
        strbuf_addf(out, " No access to address 0x%llx;", address);
    else if (c->signal == SIGSEGV && c->code == SI_KERNEL)
        strbuf_addstr(out, " At a non-canonical address;");
    else if (c->signal == SIGFPE && c->code == FPE_INTDIV)
        strbuf_addf(out, " Division by zero at 0x%llx;", address);
    else if (c->signal == SIGBUS || c->signal == SIGILL || c->signal == SIGFPE)
        strbuf_addf(out, " At address 0x%llx;", address);
}

static void add_client(struct strbuf *out, const struct slot_crash *c)
{
    switch (c->client) {
    case CRASH_CLIENT_ANSWERED:
        strbuf_addf(out, "; the client was answered %u", c->client_status);
        break;
    case CRASH_CLIENT_CUT: strbuf_addstr(out, "; its answer was cut short"); break;
    case CRASH_CLIENT_RESET:
        strbuf_addstr(out, "; its connection was reset during the answer");
        break;
    case CRASH_CLIENT_LOST:
        strbuf_addf(out, "; the client did not take its answer %u", c->client_status);
        break;
    default: break;
    }
    if (c->others_answered > 0)
        strbuf_addf(out, "; %u other connections were answered 503", c->others_answered);
    if (c->others_cut > 0)
        strbuf_addf(out, "; %u other answers were cut short", c->others_cut);
}

static void add_memory(struct strbuf *out, const struct proc *p)
{
    uint64_t size;

    if (procfs_private_memory(p->w->pid, &size) < 0)
        return;
    size -= p->inherited_size < size ? p->inherited_size : size;
    strbuf_addf(out, "; memory %llu.%llu MiB", (unsigned long long)size >> 20,
                (unsigned long long)(size >> 10) % 1024 * 10 / 1024);
}

static const struct slot_call *call_of(const struct slot *s, int32_t number)
{
    return number >= 0 && (unsigned)number < slot_entry_count(s) ? &s->calls[number] : NULL;
}

const struct slot_call *report_crashed_call(const struct slot *s)
{
    return call_of(s, *(const volatile int32_t *)&s->crash.call); /* once: checked, then used */
}

void report_boot_step(const struct slot *s, char step[BOOT_STEP_SIZE])
{
    const struct slot_call *call = &s->calls[0];
    char target[sizeof(call->target)];

    step[0] = '\0';
    switch (atomic_load(&s->boot_step)) {
    case BOOT_LOAD:
        (void)snprintf(step, BOOT_STEP_SIZE,
                       ", while its application was loaded (in a constructor?)");
        break;
    case BOOT_INIT: (void)snprintf(step, BOOT_STEP_SIZE, ", in gcorn_on_worker_init"); break;
    case BOOT_ON_LOAD: (void)snprintf(step, BOOT_STEP_SIZE, ", in gcorn_on_load"); break;
    case BOOT_FORK: (void)snprintf(step, BOOT_STEP_SIZE, ", in gcorn_on_fork"); break;
    case BOOT_THREADS: (void)snprintf(step, BOOT_STEP_SIZE, ", in gcorn_on_thread_start"); break;
    case BOOT_CHECK:
        (void)slot_get_text(call->target, sizeof(call->target), target, sizeof(target));
        target[strcspn(target, "?")] = '\0'; /* queries carry secrets */
        (void)snprintf(step, BOOT_STEP_SIZE, ", in the request of reload_check_path (GET %s)",
                       target);
        break;
    default: break;
    }
}

/* Appends the request that ran, for how long it had run, and its number within the worker. */
static void add_call(struct strbuf *out, const struct slot *s, const struct slot_crash *c,
                     bool redact)
{
    const struct slot_call *call = call_of(s, c->call);
    uint64_t since = call ? slot_call_started_ms(call) : 0;
    uint64_t ms = c->at_ms > since ? c->at_ms - since : 0;
    char step[BOOT_STEP_SIZE];

    report_boot_step(s, step);
    if (step[0] != '\0') {
        strbuf_addf(out, " Before it was ready%s", step);
        return;
    }
    if (!call) {
        strbuf_addstr(out, " In a thread that runs no request");
        return;
    }
    if (since == 0) {
        strbuf_addstr(out, " Between two calls; the last one was for ");
        add_request(out, call, redact);
        return;
    }
    strbuf_addf(out, " %llu.%03llu s into ", (unsigned long long)ms / 1000,
                (unsigned long long)ms % 1000);
    add_request(out, call, redact);
    if (serves_request(call))
        strbuf_addf(out, ", number %llu of this worker", (unsigned long long)c->answered + 1);
}

static const char *signal_name(int number)
{
    const char *name = number > 0 ? sigabbrev_np(number) : NULL;

    return name ? name : "?";
}

enum log_level report_crash_level(const struct proc *p)
{
    return p->w->phase == PROC_BOOT_CRASHED ? LOG_LEVEL_ERROR : LOG_LEVEL_CRITICAL;
}

static void add_thread(struct strbuf *out, const struct slot_crash *c)
{
    char name[sizeof(c->thread)];

    strbuf_addf(out, "; in thread %d", c->tid);
    if (slot_get_text(c->thread, sizeof(c->thread), name, sizeof(name)) > 0)
        strbuf_addf(out, " (%s)", name);
}

void report_crash(const struct proc *p, const struct slot *s)
{
    struct slot_crash c = s->crash; /* a copy: read once */
    struct strbuf text = {0};
    char id[SLOT_GIVEN_ID_SIZE];

    if (c.signal == 0)
        strbuf_addf(&text, "Worker (pid:%d) exited with code %d: the application called exit().",
                    (int)p->w->pid, c.code & 0xff);
    else
        strbuf_addf(&text, "Worker (pid:%d) was sent SIG%s!", (int)p->w->pid,
                    signal_name(c.signal));
    add_fault(&text, &c, p->w->pid);
    add_call(&text, s, &c, p->settings->config.crash_redact);
    add_memory(&text, p);
    add_client(&text, &c);
    if (c.tid != p->w->pid)
        add_thread(&text, &c);
    log_about(report_crash_level(p), report_request_id(call_of(s, c.call), id), "%s", text.data);
    strbuf_release(&text);
}

void report_template_crash(const struct template *t, const struct template_fault *fault,
                           const char *step)
{
    const struct slot_crash c = {.signal = fault->signal,
                                 .code = fault->code,
                                 .sender = fault->sender,
                                 .address = fault->address};
    struct strbuf text = {0};

    strbuf_addf(&text, "Template (pid:%d) was sent SIG%s!", (int)t->pid, signal_name(c.signal));
    add_fault(&text, &c, t->pid);
    strbuf_addf(&text, "%s%s", step[0] != '\0' ? " Before it was ready" : " As it forks workers",
                step);
    log_errorx("%s", text.data);
    strbuf_release(&text);
}

/* Reports a SIGKILL that gcorn has not sent. True when the kernel was out of memory. */
static bool report_kill(const struct proc *p, const char *during, const char *id, struct oom *oom)
{
    char how[4200];

    enum oom_answer answer = oom_explains(oom, how, sizeof(how));
    switch (answer) {
    case OOM_YES:
        log_about(LOG_LEVEL_ERROR, id,
                  "Worker (pid:%d) was killed by the kernel%s: out of memory (%s)", (int)p->w->pid,
                  during, how);
        break;
    case OOM_NO:
        log_about(LOG_LEVEL_ERROR, id,
                  "Worker (pid:%d) was sent SIGKILL%s, not by gcorn; the kernel counts no "
                  "out-of-memory kill",
                  (int)p->w->pid, during);
        break;
    case OOM_UNKNOWN:
        log_about(
            LOG_LEVEL_ERROR, id,
            "Worker (pid:%d) was sent SIGKILL%s, not by gcorn; no cgroup counts out-of-memory "
            "kills",
            (int)p->w->pid, during);
        break;
    }
    return answer == OOM_YES;
}

/* Reports the end of a worker that hung, and whether its client was answered. */
static void report_hung_end(const struct proc *p, const struct slot *s)
{
    struct slot_crash c = s->crash;
    struct strbuf text = {0};
    char id[SLOT_GIVEN_ID_SIZE];

    if (c.client != CRASH_CLIENT_NONE)
        add_client(&text, &c);
    else if (slot_oldest_call(s)->answers && slot_call_runs(slot_oldest_call(s)))
        strbuf_addstr(&text, "; its client could not be answered");
    log_about(LOG_LEVEL_ERROR, report_request_id(slot_oldest_call(s), id),
              "Worker (pid:%d) was killed%s", (int)p->w->pid, text.data ? text.data : "");
    strbuf_release(&text);
}

bool report_death(const struct proc *p, const struct slot *s, int status, struct oom *oom)
{
    struct strbuf what = {0};
    char room[SLOT_GIVEN_ID_SIZE], end[WAIT_STATUS_TEXT_SIZE];
    const char *id = NULL; /* the text names all requests, the field only one */
    bool is_oom = false, timed_out = plan_timed_out(p->w);

    if (timed_out && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_STOPPED) {
        log_warnx("Worker (pid:%d) finished all its calls after the timeout, and ended",
                  (int)p->w->pid);
        return false;
    }
    if (timed_out) {
        report_hung_end(p, s);
        return false;
    }
    for (unsigned i = 0; i < slot_entry_count(s); i++) {
        if (!slot_call_runs(&s->calls[i]))
            continue;
        id = id ? id : report_request_id(&s->calls[i], room);
        strbuf_addstr(&what, what.len > 0 ? " and " : " while it ran ");
        add_request(&what, &s->calls[i], p->settings->config.crash_redact);
    }
    const char *during = what.data ? what.data : "";
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && p->w->phase != PROC_KILLED)
        is_oom = report_kill(p, during, id, oom);
    else if (status != 0 || p->w->phase == PROC_READY)
        log_about(LOG_LEVEL_ERROR, id, "Worker (pid:%d) %s%s", (int)p->w->pid,
                  wait_status_text(status, end), during);
    strbuf_release(&what);
    return is_oom;
}

/* ---- the last request -------------------------------------------------------------------- */

/* Fills in the status that the client was sent, 0 if none, and how the request ended. */
static void describe_end(const struct proc *p, const struct slot *s, struct access_request *q)
{
    bool spoke = atomic_load(&s->crash.stage) >= CRASH_ANSWERED;

    if (spoke && s->crash.client == CRASH_CLIENT_ANSWERED)
        q->status = (int)s->crash.client_status;
    q->ended = plan_timed_out(p->w) ? "timeout" : plan_crashed(p->w) ? "crash" : "killed";
}

static void write_line(const struct generation *g, const struct access_request *q,
                       const struct access_facts *facts)
{
    char line[ACCESS_LOG_LINE_MAX];
    struct error err;
    struct access_log *log = access_log_new(g->config.access_log_format, &err);

    if (!log)
        return; /* cannot happen: no worker boots with a bad format */
    size_t len = access_log_line_of(log, q, facts, line);
    if (log_write(g->access_fd, line, len) < 0)
        log_warn("access log: the line of the request that a worker died in is lost");
    access_log_free(log);
}

static void write_last_line(const struct proc *p, const struct slot *s,
                            const struct slot_call *call)
{
    char method[sizeof(call->method)], target[sizeof(call->target)], peer[sizeof(call->peer)];
    char id[SLOT_GIVEN_ID_SIZE];
    struct access_request q = {.method = method, .target = target, .peer = peer, .request_id = id};
    uint64_t since = slot_call_started_ms(call), now = now_ms();

    (void)slot_get_text(call->method, sizeof(call->method), method, sizeof(method));
    (void)slot_get_text(call->target, sizeof(call->target), target, sizeof(target));
    (void)slot_get_text(call->peer, sizeof(call->peer), peer, sizeof(peer));
    (void)slot_get_request_id(call, id, sizeof(id));
    describe_end(p, s, &q);
    const struct access_facts facts = {
        .wall_ms = wall_ms(),
        .duration_us = now > since ? (now - since) * 1000 : 0,
        .pid = (int)p->w->pid,
        .worker = p->w->number,
    };
    write_line(p->settings, &q, &facts);
}

void report_last_request(const struct proc *p, const struct slot *s)
{
    const struct config *cfg = &p->settings->config;
    char name[SLOT_FILE_NAME_SIZE];

    for (unsigned i = 0; i < slot_call_count(s) && p->settings->access_fd >= 0; i++) {
        if (s->calls[i].answers && slot_call_runs(&s->calls[i]))
            write_last_line(p, s, &s->calls[i]);
    }
    const struct slot_call *crashed = report_crashed_call(s);
    char id[SLOT_GIVEN_ID_SIZE];
    if (!s->crash.saved || !cfg->crash_dir || !crashed)
        return;
    slot_file_name(s, crashed, name);
    log_about(LOG_LEVEL_INFO, report_request_id(crashed, id),
              "Worker (pid:%d): %s: gcorn --replay %s/%s %s", (int)p->w->pid,
              s->crash.saved == SAVED_HEAD ? "the head of its request is kept, its body is not"
                                           : "its request is kept",
              cfg->crash_dir, name, cfg->wsgi_app);
}
