/* SPDX-License-Identifier: MIT
 *
 * See check.h. The checks run in the order of a start, so the first error is the one that a start
 * would end with; warnings follow. This file asks the system. advice.c decides what is worth a
 * warning; errors come from the functions that a start uses.
 */
#include "master/check/check.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/small_file.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/check/advice.h"
#include "master/check/trial.h"
#include "master/generation/logs.h"
#include "master/operator/control.h"
#include "master/generation/generation.h"
#include "settings/config.h"
#include "settings/environment.h"
#include "settings/setting.h"
#include "system/host/cgroup.h"
#include "system/code/copies.h"
#include "system/net/listener.h"
#include "system/file/pidfile.h"
#include "system/process/privileges.h"
#include "system/file/safe_open.h"

/* The findings so far. */
struct check {
    const struct config *config;
    struct privileges privileges;
    struct holders holders;
    struct strbuf in_use;   /* lines about addresses in use */
    struct strbuf warnings; /* lines */
};

/* ---- errors that would end a start ------------------------------------------------------- */

static bool is_gcorn_master(pid_t pid)
{
    static const char title[] = "gcorn: master ";
    char path[40], text[sizeof(title)];

    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
    (void)small_file_start(path, text, sizeof(text)); /* failed: "" */
    return pid > 0 && strcmp(text, title) == 0;
}

/* An address in use is never an error: the process that serves it may be the server to be reloaded,
 * and the kernel does not say which process has a TCP port. */
static int check_address(struct check *c, const char *key, const char *text, struct error *err)
{
    pid_t holder;

    switch (listener_probe(text, &holder, err)) {
    case LISTENER_FREE: break;
    case LISTENER_REFUSED: return -1;
    case LISTENER_IN_USE:
        c->holders.address = true;
        if (!is_gcorn_master(holder))
            advice_add(&c->in_use, c->config, key,
                       "%s; no error if that is the server to be reloaded", err->text);
        break;
    }
    return 0;
}

static int check_bind(struct check *c, struct error *err)
{
    const char *admin = c->config->admin_bind;

    for (size_t i = 0; i < c->config->bind.count; i++) {
        if (check_address(c, "bind", c->config->bind.items[i], err) < 0)
            return -1;
    }
    if (admin && check_address(c, "admin_bind", admin, err) < 0)
        return error_prefix(err, "admin_bind");
    return 0;
}

static int check_pidfile(struct check *c, struct error *held, struct error *err)
{
    struct holders *h = &c->holders;

    if (!c->config->pidfile)
        return 0;
    if (pidfile_probe(c->config->pidfile, &c->privileges, &h->pidfile, &h->pidfile_pid, err) < 0)
        return -1;
    if (h->pidfile)
        *held = *err;
    return 0;
}

/* The default control socket may fail: it only costs a warning. */
static int refuse_control(struct check *c, const struct error *err)
{
    if (config_origin(c->config, setting_find("control_socket"))->source != SOURCE_DEFAULT)
        return -1;
    strbuf_addf(&c->warnings, "%s: gcornctl cannot be used\n", err->text);
    return 0;
}

static int check_control(struct check *c, struct error *held, struct error *err)
{
    const char *path = c->config->control_socket;

    if (!path)
        return 0;
    switch (control_probe(path, &c->holders.control_pid, err)) {
    case LISTENER_FREE: return 0;
    case LISTENER_IN_USE:
        c->holders.control = true;
        *held = *err;
        return 0;
    case LISTENER_REFUSED: break;
    }
    return refuse_control(c, err);
}

/* All are probed first: only together they show whether another server holds the files. */
static int check_sockets_and_files(struct check *c, struct error *err)
{
    struct error pidfile_held, control_held;

    if (check_pidfile(c, &pidfile_held, err) < 0 || check_bind(c, err) < 0 ||
        check_control(c, &control_held, err) < 0)
        return -1;
    if (advice_pidfile_is_others(&c->holders)) {
        *err = pidfile_held;
        return -1;
    }
    if (!advice_control_is_others(&c->holders))
        return 0;
    *err = control_held;
    return refuse_control(c, err);
}

static int check_copy_dir(const struct config *config, struct error *err)
{
    const struct copies_home home = {.dir = config->app_copy_dir, .owner = getpid()};
    struct copies copies;

    if (!config->app_copy_dir)
        return 0;
    if (copies_open(&copies, &home, err) < 0)
        return -1;
    copies_close(&copies);
    return 0;
}

static int check_errors(struct check *c, struct error *err)
{
    if (generation_check(c->config, &c->privileges, err) < 0 ||
        logs_check(c->config, &c->privileges, err) < 0 || check_copy_dir(c->config, err) < 0 ||
        trial_crash_dir(c->config, &c->privileges, err) < 0 ||
        trial_app(c->config, &c->privileges, err) < 0)
        return -1;
    return check_sockets_and_files(c, err);
}

/* ---- warnings ---------------------------------------------------------------------------- */

static void survey(struct host_limits *s)
{
    struct rlimit limit;
    char text[24];

    *s = (struct host_limits){.open_files = RLIM_INFINITY};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        s->open_files = limit.rlim_max;
    (void)small_file_start("/proc/sys/net/core/somaxconn", text, sizeof(text)); /* failed: "" */
    text[strcspn(text, "\n")] = '\0';
    (void)parse_int(text, 1, INT32_MAX, &s->somaxconn); /* else it stays unknown */
    cgroup_read(&s->cgroup, "");
}

/* Whether a process reads the FIFO cannot be tested without opening it as a writer, and the reader
 * would see the end of file when this writer closes it. */
static void check_fifo(struct check *c, const char *key, const char *path)
{
    struct stat st;

    if (path && log_standard_fd(path, STDERR_FILENO) < 0 && stat(path, &st) == 0 &&
        S_ISFIFO(st.st_mode))
        advice_add(&c->warnings, c->config, key,
                   "%s is a FIFO: a start fails unless a process reads it by then", path);
}

/* A start opens no file through a symbolic link that is there now, but the workers' user can place
 * one at any later time, or remove the file. */
static void check_directory(struct check *c, const char *key, const char *path)
{
    bool is_file = path && log_standard_fd(path, STDERR_FILENO) < 0;
    char *dir = is_file ? safe_open_shared_dir(path, &c->privileges) : NULL;

    if (dir)
        advice_add(&c->warnings, c->config, key,
                   "%s: the user of the workers (%u) may write in %s: a worker that is taken over "
                   "can replace the file; name a directory that only the user of the master may "
                   "write in",
                   path, (unsigned)c->privileges.uid, dir);
    free(dir);
}

static void check_warnings(struct check *c)
{
    struct host_limits limits;
    struct error err;

    survey(&limits);
    environment_add_unknown(environ, &c->warnings);
    if (!c->holders.pidfile && !c->holders.control) /* else its server has them */
        strbuf_add(&c->warnings, c->in_use.data, c->in_use.len);
    check_fifo(c, "errorlog", c->config->errorlog);
    check_fifo(c, "accesslog", c->config->accesslog);
    check_directory(c, "errorlog", c->config->errorlog);
    check_directory(c, "accesslog", c->config->accesslog);
    check_directory(c, "pidfile", c->config->pidfile);
    check_directory(c, "control_socket", c->config->control_socket);
    advice_on_settings(c->config, &c->warnings);
    advice_on_host_limits(c->config, &limits, &c->warnings);
    if (trial_uploads(c->config, &c->privileges, &err) < 0)
        advice_add(&c->warnings, c->config, "tmp_upload_dir",
                   "%s: requests with long bodies will fail; name a directory that the workers "
                   "may write to",
                   err.text);
}

/* Calls write_line for each line, without its newline. */
static void for_each_line(struct strbuf *lines, void (*write_line)(void *to, const char *line),
                          void *to)
{
    char *rest = lines->data, *line;

    while (rest && (line = strsep(&rest, "\n")) && (rest || *line != '\0'))
        write_line(to, line);
}

static void print_warning(void *out, const char *line)
{
    (void)fprintf(out, "gcorn: warning: %s\n", line); /* stderr: no error to handle */
}

static void log_warning(void *nothing, const char *line)
{
    (void)nothing;
    log_warnx("%s", line);
}

int check_start(const struct config *config, FILE *out, struct error *err)
{
    struct check c = {.config = config};
    int result = check_errors(&c, err);

    if (result == 0) {
        check_warnings(&c);
        for_each_line(&c.warnings, print_warning, out);
    }
    privileges_release(&c.privileges);
    strbuf_release(&c.in_use);
    strbuf_release(&c.warnings);
    return result;
}

void check_log_warnings(const struct config *config)
{
    struct strbuf lines = {0};

    environment_add_unknown(environ, &lines);
    advice_on_daemon(config, &lines);
    for_each_line(&lines, log_warning, NULL);
    strbuf_release(&lines);
}
