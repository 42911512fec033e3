/* SPDX-License-Identifier: MIT
 *
 * See advice.h. The thresholds are low on purpose: needless warnings make operators ignore the
 * useful ones.
 */
#include "master/check/advice.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strbuf.h"
#include "master/proc/plan.h"
#include "settings/config.h"
#include "settings/setting.h"
#include "settings/text.h"

enum {
    SPARE_DESCRIPTORS = 64,      /* of a worker, besides its connections */
    DESCRIPTORS_PER_PLACE = 3,   /* of the master: two ends of a channel, one of the output */
    SPARE_PROCESSES = 4,         /* the master, a replacement, and processes of an operator */
    WORKERS_PER_CPU = 4,         /* more workers compete for the CPUs when they compute */
    BALANCER_IDLE_MS = 60000,    /* AWS's ALB, nginx's upstream keepalive_timeout */
    WORKER_MEMORY_MIN = 8 << 20, /* bytes: for a small application and one request */
};

void advice_add(struct strbuf *out, const struct config *c, const char *key, const char *fmt, ...)
{
    const struct config_origin *origin = config_origin(c, setting_find(key));
    va_list ap;

    if (origin->source != SOURCE_DEFAULT) {
        text_add_plain(out, origin->text, SIZE_MAX);
        strbuf_addstr(out, ": ");
    }
    strbuf_addf(out, "%s: ", key);
    va_start(ap, fmt);
    strbuf_vaddf(out, fmt, ap);
    va_end(ap);
    strbuf_addch(out, '\n');
}

/* A value as it is written in the settings file; the caller frees it. */
static char *duration(uint64_t ms)
{
    struct strbuf text = {0};

    text_add_duration(&text, ms);
    return strbuf_detach(&text);
}

static char *size(uint64_t bytes)
{
    struct strbuf text = {0};

    text_add_size(&text, bytes);
    return strbuf_detach(&text);
}

/* ---- descriptors ------------------------------------------------------------------------- */

struct descriptors advice_descriptors(const struct config *c, unsigned places,
                                      size_t listener_count)
{
    return (struct descriptors){
        .worker = (uint64_t)c->worker_connections + SPARE_DESCRIPTORS,
        .master = (uint64_t)places * DESCRIPTORS_PER_PLACE + listener_count + SPARE_DESCRIPTORS,
    };
}

const char *advice_add_shortage(const struct config *c, const struct descriptors *need,
                                uint64_t limit, struct strbuf *out)
{
    if (limit >= need->worker && limit >= need->master)
        return NULL;
    bool worker = limit < need->worker;
    strbuf_addf(out,
                "open files are limited to %llu, %stoo few for %s = %d: raise the hard limit "
                "(ulimit -n, LimitNOFILE=)",
                (unsigned long long)limit, worker ? "" : "perhaps ",
                worker ? "worker_connections" : "workers",
                worker ? c->worker_connections : c->workers);
    return worker ? "worker_connections" : "workers";
}

/* ---- settings ---------------------------------------------------------------------------- */

static void on_keepalive(const struct config *c, struct strbuf *out)
{
    if (c->keepalive_ms == 0 || c->keepalive_ms > BALANCER_IDLE_MS) /* 0 is a choice: no reuse */
        return;
    char *text = duration(c->keepalive_ms);
    advice_add(out, c, "keepalive",
               "%s is not longer than the 60s for which load balancers commonly keep idle "
               "connections, and the server's time must be the longer one, or they now and then "
               "answer 502: set 75s, or 0 to close after each answer",
               text);
    free(text);
}

/* Warns at the place of the setting that was set, of the two. */
static void on_graceful_timeout(const struct config *c, struct strbuf *out)
{
    bool is_set = config_origin(c, setting_find("graceful_timeout"))->source != SOURCE_DEFAULT;

    /* timeout 0: calls have no limit; graceful_timeout 0: chosen, a stop waits for no request */
    if (c->graceful_timeout_ms == 0 || c->graceful_timeout_ms >= c->timeout_ms)
        return;
    char *graceful = duration(c->graceful_timeout_ms), *timeout = duration(c->timeout_ms);
    advice_add(out, c, is_set ? "graceful_timeout" : "timeout",
               "a graceful_timeout of %s is shorter than a timeout of %s: calls that are allowed "
               "to last that long are cut off by a stop or reload; set graceful_timeout to %s",
               graceful, timeout, timeout);
    free(graceful);
    free(timeout);
}

/* Warns at the place of the setting that was set, of the two. */
static void on_upload_max(const struct config *c, struct strbuf *out)
{
    bool is_set = config_origin(c, setting_find("tmp_upload_max"))->source != SOURCE_DEFAULT;

    if (c->tmp_upload_max == 0 ||
        (c->limit_request_body > 0 && c->limit_request_body <= c->tmp_upload_max))
        return;
    char *max = size(c->tmp_upload_max);
    advice_add(out, c, is_set ? "tmp_upload_max" : "limit_request_body",
               "limit_request_body allows bodies longer than %s, which is all that a worker keeps "
               "at a time (tmp_upload_max): they are answered 507; raise tmp_upload_max, or set it "
               "to 0",
               max);
    free(max);
}

static void on_daemon_log(const struct config *c, const char *key, const char *path,
                          struct strbuf *out)
{
    if (path && log_standard_fd(path, STDERR_FILENO) >= 0)
        advice_add(out, c, key,
                   "a daemon has neither standard output nor standard error: lines are lost once "
                   "it serves; name a file%s",
                   strcmp(key, "errorlog") == 0 ? ", or use syslog" : "");
}

void advice_on_daemon(const struct config *c, struct strbuf *out)
{
    if (!c->daemon)
        return;
    if (!c->syslog)
        on_daemon_log(c, "errorlog", c->errorlog, out);
    on_daemon_log(c, "accesslog", c->accesslog, out);
}

void advice_on_settings(const struct config *c, struct strbuf *out)
{
    advice_on_daemon(c, out);
    on_keepalive(c, out);
    on_graceful_timeout(c, out);
    on_upload_max(c, out);
    if (c->max_requests_jitter > 0 && c->max_requests == 0)
        advice_add(out, c, "max_requests_jitter",
                   "has no effect without max_requests: set that too");
}

/* ---- limits of the host ------------------------------------------------------------------------ */

static void on_open_files(const struct config *c, uint64_t limit, struct strbuf *out)
{
    struct descriptors need =
        advice_descriptors(c, plan_places((unsigned)c->workers), c->bind.count);
    struct strbuf text = {0};
    const char *key = advice_add_shortage(c, &need, limit, &text);

    if (key)
        advice_add(out, c, key, "%s", text.data);
    strbuf_release(&text);
}

static void on_memory(const struct config *c, uint64_t limit, struct strbuf *out)
{
    uint64_t workers = (uint64_t)c->workers;

    if (limit == 0)
        return;
    char *whole = size(limit), *each = size(c->max_memory);
    if (limit / workers < WORKER_MEMORY_MIN)
        advice_add(out, c, "workers",
                   "the cgroup's memory limit of %s leaves each of %d less than 8MiB: lower "
                   "workers, or raise the limit (memory.max)",
                   whole, c->workers);
    if (c->max_memory > limit / workers)
        advice_add(out, c, "max_memory",
                   "%s for each of %d workers is more than the cgroup's memory limit of %s: the "
                   "kernel kills them before they are replaced; lower it, or workers",
                   each, c->workers, whole);
    free(whole);
    free(each);
}

static void on_processes(const struct config *c, uint64_t limit, struct strbuf *out)
{
    if (limit > 0 && limit < (uint64_t)c->workers + SPARE_PROCESSES)
        advice_add(out, c, "workers",
                   "%d, the master and a replacement are more than the %llu processes that the "
                   "cgroup allows: lower workers, or raise the limit (pids.max)",
                   c->workers, (unsigned long long)limit);
}

/* Only a number that an operator chose is warned of: auto gives fewer workers. */
static void on_cpus(const struct config *c, double cpus, struct strbuf *out)
{
    double most = 1024; /* as workers */
    unsigned whole = (unsigned)(cpus < most ? cpus : most);
    unsigned cores = cpus > whole ? whole + 1 : whole;

    if (cpus > 0 && (unsigned)c->workers > cores * WORKERS_PER_CPU)
        advice_add(out, c, "workers",
                   "%d are many for the cgroup's quota of %.4g CPUs: unless the application mostly "
                   "waits, they compete for the CPUs; auto would start %u",
                   c->workers, cpus, 2 * cores + 1);
}

void advice_on_host_limits(const struct config *c, const struct host_limits *s, struct strbuf *out)
{
    on_open_files(c, s->open_files, out);
    if (s->somaxconn > 0 && s->somaxconn < c->backlog)
        advice_add(out, c, "backlog",
                   "%d is cut by the kernel to net.core.somaxconn = %d: raise that (sysctl), or "
                   "lower backlog",
                   c->backlog, (int)s->somaxconn);
    on_memory(c, s->cgroup.memory_size, out);
    on_processes(c, s->cgroup.processes, out);
    on_cpus(c, s->cgroup.cpus, out);
}

/* ---- holders ----------------------------------------------------------------------------- */

static bool are_one(pid_t a, pid_t b)
{
    return a > 0 && a == b;
}

bool advice_pidfile_is_others(const struct holders *h)
{
    return h->pidfile && !h->address && !(h->control && are_one(h->pidfile_pid, h->control_pid));
}

bool advice_control_is_others(const struct holders *h)
{
    if (!h->control)
        return false;
    if (h->pidfile && h->pidfile_pid > 0 && h->control_pid > 0)
        return h->pidfile_pid != h->control_pid;
    return !h->address;
}
