/* SPDX-License-Identifier: MIT
 *
 * See generation.h.
 */
#include "master/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "http/accesslog.h"
#include "settings/config_cli.h"
#include "system/cores.h"
#include "worker/app.h"

extern char **environ;

/* ---- start -------------------------------------------------------------------------------------
 */

void start_init(struct start *s, int argc, char **argv)
{
    const char *pwd = getenv("PWD");
    struct stat named, here;
    bool is_here = pwd && pwd[0] == '/' && stat(pwd, &named) == 0 && stat(".", &here) == 0 &&
                   named.st_dev == here.st_dev && named.st_ino == here.st_ino;
    char *cwd = is_here ? NULL : getcwd(NULL, 0);

    s->argc = argc;
    s->argv = argv;
    s->dir = is_here ? xstrdup(pwd) : cwd ? cwd : xstrdup(".");
}

int start_load_config(const struct start *s, struct config *config, struct error *err)
{
    char how[160];

    if (chdir(s->dir) < 0)
        return error_set(err, EXIT_FAILED,
                         "cannot change back to the directory of the start, %s: %s", s->dir,
                         strerror(errno));
    if (config_load(config, s->argc, s->argv, environ, err) < 0)
        return -1;
    config_resolve_workers(config, cores_available(how, sizeof(how)), how);
    if (config->chdir && chdir(config->chdir) < 0) {
        (void)error_set(err, EXIT_USAGE, "chdir: cannot change to %s: %s", config->chdir,
                        strerror(errno));
        config_release(config);
        return -1;
    }
    return 0;
}

/* ---- what settings open ------------------------------------------------------------------------
 */

/* Before anything else is tried: a mistyped address is an error of the settings. */
static int check_listeners(const struct config_list *texts, struct error *err)
{
    for (size_t i = 0; i < texts->count; i++) {
        if (listener_check(texts->items[i], err) < 0)
            return -1;
    }
    return 0;
}

static int open_image(struct generation *g, struct error *err)
{
    char *path;

    if (app_parse(g->config.wsgi_app, &path, &g->symbol, err) < 0)
        return -1;
    int result = image_open(&g->image, path, err);
    free(path);
    return result;
}

static struct listener *find_listener(const struct generation *g, const char *text)
{
    for (size_t i = 0; g && i < g->listener_count; i++) {
        if (listener_same(g->listeners[i], text))
            return g->listeners[i];
    }
    return NULL;
}

bool generation_has_listener(const struct generation *g, const struct listener *l)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (g->listeners[i] == l)
            return true;
    }
    return false;
}

static void listener_unref(struct listener *l, bool unlink_file)
{
    struct shared_listener *shared = (struct shared_listener *)l;

    if (--shared->refs > 0)
        return;
    listener_close(l, unlink_file);
    free(shared);
}

static int open_listeners(struct generation *g, const struct generation *before, struct error *err)
{
    const struct config_list *texts = &g->config.bind;

    g->listeners = xcalloc(texts->count, sizeof(struct listener *));
    for (size_t i = 0; i < texts->count; i++) {
        struct listener *l = find_listener(before, texts->items[i]);

        if (find_listener(g, texts->items[i]))
            return error_set(err, EXIT_USAGE, "bind: %s is given twice", texts->items[i]);
        if (!l) {
            struct shared_listener *shared = xcalloc(1, sizeof(*shared));

            l = &shared->listener;
            if (listener_open(l, texts->items[i], g->config.backlog, err) < 0) {
                free(shared);
                return -1;
            }
        }
        ((struct shared_listener *)l)->refs++;
        g->listeners[g->listener_count++] = l;
    }
    return 0;
}

static int open_log(const char *setting, const char *path, int std_fd, int *fd, struct error *err)
{
    *fd = log_file_open(path, std_fd);
    if (*fd < 0)
        return error_set(err, EXIT_FAILED, "%s: cannot open %s: %s", setting, path,
                         strerror(errno));
    return 0;
}

static int open_logs(struct generation *g, struct error *err)
{
    struct accesslog *format = accesslog_new(g->config.access_log_format, err);

    if (!format)
        return -1;
    accesslog_free(format); /* each worker makes its own; here it was only checked */
    if (open_log("errorlog", g->config.errorlog, STDERR_FILENO, &g->error_fd, err) < 0)
        return -1;
    if (!g->config.accesslog)
        return 0;
    return open_log("accesslog", g->config.accesslog, STDOUT_FILENO, &g->access_fd, err);
}

struct generation *generation_new(unsigned id, struct config *config,
                                  const struct generation *before, struct error *err)
{
    struct generation *g = xcalloc(1, sizeof(*g));
    const struct config *cfg = &g->config;

    g->id = id;
    g->refs = 1;
    g->config = *config;
    g->error_fd = STDERR_FILENO;
    g->access_fd = -1;
    (void)umask((mode_t)cfg->umask);
    if (privileges_resolve(&g->privileges, cfg->user, cfg->group, cfg->initgroups, err) < 0 ||
        check_listeners(&cfg->bind, err) < 0 || open_logs(g, err) < 0 || open_image(g, err) < 0 ||
        open_listeners(g, before, err) < 0) {
        generation_unref(g, true);
        return NULL;
    }
    return g;
}

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

static void close_log(int *fd)
{
    if (*fd > STDERR_FILENO)
        fd_close(fd);
}

void generation_unref(struct generation *g, bool unlink_files)
{
    if (!g || --g->refs > 0)
        return;
    for (size_t i = 0; i < g->listener_count; i++)
        listener_unref(g->listeners[i], unlink_files);
    free(g->listeners);
    if (log_fd() == g->error_fd)
        log_set_fd(STDERR_FILENO);
    close_log(&g->error_fd);
    close_log(&g->access_fd);
    image_close(&g->image);
    privileges_release(&g->privileges);
    config_release(&g->config);
    free(g);
}

static int reopen_log(const char *path, int fd, struct error *err)
{
    if (fd <= STDERR_FILENO)
        return 0;
    int opened = log_file_open(path, -1);
    int result = opened < 0 ? -1 : dup3(opened, fd, O_CLOEXEC);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "cannot reopen %s: %s", path, strerror(errno));
    fd_close(&opened);
    return result < 0 ? -1 : 0;
}

int generation_reopen_logs(struct generation *g, struct error *err)
{
    int error_result = reopen_log(g->config.errorlog, g->error_fd, err);
    int access_result = reopen_log(g->config.accesslog, g->access_fd, err);

    return error_result < 0 || access_result < 0 ? -1 : 0;
}
