/* SPDX-License-Identifier: MIT
 *
 * See logs.h.
 */
#include "master/generation/logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/syslog.h"
#include "base/util.h"
#include "master/generation/generation.h"
#include "system/file/safe_open.h"
#include "system/file/writable.h"

static int refuse_log(const char *setting, const char *path, struct error *err)
{
    return error_set(err, EXIT_FAILED, "%s: cannot open %s: %s", setting, path,
                     safe_open_reason(errno));
}

static int check_log(const char *setting, const char *path, const struct privileges *workers,
                     struct error *err)
{
    bool is_ours = !path || log_standard_fd(path, STDERR_FILENO) >= 0;

    return is_ours || writable_append(path, workers) == 0 ? 0 : refuse_log(setting, path, err);
}

int logs_check(const struct config *config, const struct privileges *workers, struct error *err)
{
    return check_log("errorlog", config->errorlog, workers, err) < 0 ||
                   check_log("accesslog", config->accesslog, workers, err) < 0
               ? -1
               : 0;
}

static int open_log_file(const char *path, const struct privileges *workers)
{
    int fd = safe_open(path, LOG_FILE_FLAGS, 0644, workers);

    if (fd >= 0)
        log_file_opened(fd);
    return fd;
}

static int open_log(const struct generation *g, const char *setting, const char *path, int std_fd,
                    int *fd, struct error *err)
{
    int standard = log_standard_fd(path, std_fd);

    *fd = standard >= 0 ? log_standard_dup(standard) : open_log_file(path, &g->privileges);
    return *fd < 0 ? refuse_log(setting, path, err) : 0;
}

/* A syslog daemon that does not run is no error: it may start later. */
static int open_syslog(struct generation *g, struct error *err)
{
    const struct config *cfg = &g->config;
    const char *prefix = cfg->syslog_prefix ? cfg->syslog_prefix : cfg->proc_name;
    char app[SYSLOG_APP_MAX + 1];

    (void)snprintf(app, sizeof(app), "gcorn%s%s", prefix ? "." : "", prefix ? prefix : "");
    g->syslog.format = (enum syslog_format)cfg->syslog_format;
    g->syslog.facility = cfg->syslog_facility;
    return syslog_open(&g->syslog, cfg->syslog_addr, app, err);
}

int logs_open(struct generation *g, struct error *err)
{
    if (open_log(g, "errorlog", g->config.errorlog, STDERR_FILENO, &g->error_fd, err) < 0)
        return -1;
    if (g->config.accesslog &&
        open_log(g, "accesslog", g->config.accesslog, STDOUT_FILENO, &g->access_fd, err) < 0)
        return -1;
    return g->config.syslog ? open_syslog(g, err) : 0;
}

void logs_use(struct generation *g)
{
    log_set_fd(g->error_fd);
    log_set_level((enum log_level)g->config.loglevel);
    log_set_format((enum log_format)g->config.error_log_format);
    log_set_syslog(g->syslog.fd >= 0 ? &g->syslog : NULL);
}

void logs_tend(struct generation *g)
{
    syslog_reconnect(&g->syslog);
}

/* What it is about to close. */
static void stop_using(const struct generation *g)
{
    if (log_fd() == g->error_fd)
        log_set_fd(STDERR_FILENO);
    if (log_syslog() == &g->syslog)
        log_set_syslog(NULL);
}

void logs_close(struct generation *g)
{
    stop_using(g);
    fd_close(&g->error_fd);
    fd_close(&g->access_fd);
    syslog_close(&g->syslog);
}

int logs_fd_to_send(const char *path, int fd)
{
    return path && log_standard_fd(path, STDERR_FILENO) < 0 ? fd : -1;
}

static int reopen_log(const struct generation *g, const char *path, int fd, struct error *err)
{
    if (logs_fd_to_send(path, fd) < 0)
        return 0;
    int opened = open_log_file(path, &g->privileges);
    int result = opened < 0 ? -1 : dup3(opened, fd, O_CLOEXEC);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "cannot reopen %s: %s", path, safe_open_reason(errno));
    fd_close(&opened);
    return result < 0 ? -1 : 0;
}

int logs_reopen(struct generation *g, struct error *err)
{
    if (generation_enter(g) < 0)
        return error_set(err, EXIT_FAILED, "cannot change to the directory of generation %u: %s",
                         g->id, strerror(errno));
    int error_result = reopen_log(g, g->config.errorlog, g->error_fd, err);
    int access_result = reopen_log(g, g->config.accesslog, g->access_fd, err);

    return error_result < 0 || access_result < 0 ? -1 : 0;
}
