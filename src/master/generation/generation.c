/* SPDX-License-Identifier: MIT
 *
 * See generation.h.
 */
#include "master/generation/generation.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "http/access_log.h"
#include "master/generation/listeners.h"
#include "master/generation/logs.h"
#include "settings/setting.h"
#include "system/file/safe_open.h"
#include "worker/call/app.h"

int generation_blame(const struct config *config, const char *key, struct error *err)
{
    const struct config_origin *origin = config_origin(config, setting_find(key));

    return origin->source == SOURCE_DEFAULT ? -1 : error_prefix(err, "%s", origin->text);
}

/* The directory was entered by its name, through every symbolic link. If a worker could have placed
 * one of these links, it could have chosen the directory of a log or pid file with a relative
 * name. */
static int check_dir(const struct config *config, const struct privileges *workers,
                     struct error *err)
{
    const struct {
        const char *key, *path;
    } files[] = {{"errorlog", config->errorlog},
                 {"accesslog", config->accesslog},
                 {"pidfile", config->pidfile}};

    int fd = safe_open(config->dir, O_PATH | O_DIRECTORY, 0, workers);
    if (fd >= 0 || errno != ELOOP) {
        fd_close(&fd);
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const char *path = files[i].path;

        if (!path || path[0] == '/' || log_standard_fd(path, STDERR_FILENO) >= 0)
            continue;
        (void)error_set(err, EXIT_FAILED,
                        "%s: cannot open %s in %s: the user of the workers could have placed a "
                        "symbolic link that leads to that directory; name the file from /",
                        files[i].key, path, config->dir);
        return generation_blame(config, files[i].key, err);
    }
    return 0;
}

int generation_check(const struct config *config, struct privileges *privileges, struct error *err)
{
    if (privileges_resolve(privileges, config->user, config->group, config->initgroups, err) < 0)
        return generation_blame(config, strncmp(err->text, "group:", 6) == 0 ? "group" : "user",
                                err);
    if (check_dir(config, privileges, err) < 0)
        return -1;
    if (listeners_check(config, err) < 0)
        return -1;
    if (config->ready_workers > config->workers) {
        (void)error_set(err, EXIT_USAGE, "ready_workers: %d are more than there are workers (%d)",
                        config->ready_workers, config->workers);
        return generation_blame(config, "ready_workers", err);
    }
    struct access_log *format = access_log_new(config->access_log_format, err);
    if (!format)
        return generation_blame(config, "access_log_format", err);
    access_log_free(format); /* each worker makes its own; here it was only checked */
    if (!syslog_path(config->syslog_addr, err))
        return generation_blame(config, "syslog_addr", err);
    return 0;
}

static int open_dir(struct generation *g, struct error *err)
{
    g->dir_fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return g->dir_fd < 0 ? error_set(err, EXIT_FAILED, "cannot open the working directory: %s",
                                     strerror(errno))
                         : 0;
}

static void join_ring(struct generation *g, struct generation *before)
{
    assert(!before || before->next->prev == before);
    g->next = before ? before->next : g;
    g->prev = before ? before : g;
    g->next->prev = g->prev->next = g;
}

struct generation *generation_make(unsigned id, struct config *config, struct generation *before)
{
    struct generation *g = xcalloc(1, sizeof(*g));

    assert(!before || id > before->id);

    g->id = id;
    g->refs = 1;
    join_ring(g, before);
    g->config = *config;
    g->dir_fd = -1;
    g->error_fd = g->access_fd = -1;
    g->syslog.fd = -1;
    return g;
}

int generation_open(struct generation *g, pid_t server, struct error *err)
{
    const struct copies_home home = {
        .dir = g->config.app_copy_dir, .owner = server, .generation = g->id};

    (void)umask((mode_t)g->config.umask);
    if (generation_check(&g->config, &g->privileges, err) < 0 || open_dir(g, err) < 0 ||
        logs_open(g, err) < 0)
        return -1;
    return app_open(g->config.wsgi_app, &g->image, &g->symbol, home.dir ? &home : NULL, err);
}

struct generation *generation_new(unsigned id, struct config *config, struct generation *before,
                                  struct error *err)
{
    struct generation *g = generation_make(id, config, before);

    if (generation_open(g, getpid(), err) == 0)
        return g;
    generation_unref(g, true);
    return NULL;
}

struct generation *generation_inherit(unsigned id, struct config *config, struct handover *from,
                                      struct error *err)
{
    struct generation *g = generation_make(id, config, NULL);

    (void)umask((mode_t)g->config.umask);
    if (generation_check(&g->config, &g->privileges, err) < 0 || open_dir(g, err) < 0 ||
        logs_open(g, err) < 0 || listeners_inherit(g, from, err) < 0) {
        generation_unref(g, false);
        return NULL;
    }
    return g;
}

struct generation *generation_ref(struct generation *g)
{
    assert(g->refs > 0);
    g->refs++;
    return g;
}

void generation_unref(struct generation *g, bool unlink_files)
{
    if (!g)
        return;
    assert(g->refs > 0);
    if (--g->refs > 0)
        return;
    assert(g->next->prev == g && g->prev->next == g);
    listeners_close(g, unlink_files);
    logs_close(g);
    fd_close(&g->dir_fd);
    image_close(&g->image);
    privileges_release(&g->privileges);
    config_release(&g->config);
    g->next->prev = g->prev;
    g->prev->next = g->next;
    free(g);
}

int generation_enter(const struct generation *g)
{
    (void)umask((mode_t)g->config.umask);
    return fchdir(g->dir_fd);
}
