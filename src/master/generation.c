/* SPDX-License-Identifier: MIT
 *
 * See generation.h.
 */
#include "master/generation.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/util.h"
#include "http/access_log.h"
#include "system/net/bind_address.h"
#include "system/ipc/handover.h"
#include "system/process/process.h"
#include "system/file/safe_open.h"
#include "system/file/writable.h"
#include "worker/call/app.h"

enum { ADMIN_BACKLOG = 128 };

/* ---- what settings open ------------------------------------------------------------------ */

/* Says in front of err where the setting stands. Returns -1. */
static int blame(const struct config *config, const char *key, struct error *err)
{
    const struct config_origin *origin = config_origin(config, config_find(key));

    return origin->source == SOURCE_DEFAULT ? -1 : error_prefix(err, "%s", origin->text);
}

/* Before anything else is tried: a mistyped address is an error of the settings. */
static int check_listeners(const struct config_list *texts, struct error *err)
{
    for (size_t i = 0; i < texts->count; i++) {
        if (listener_check(texts->items[i], err) < 0)
            return -1;
        for (size_t j = 0; j < i; j++) {
            if (listener_same_text(texts->items[i], texts->items[j]))
                return error_set(err, EXIT_USAGE, "bind: %s is given twice", texts->items[i]);
            if (bind_texts_overlap(texts->items[i], texts->items[j], texts->items, texts->count))
                return error_set(err, EXIT_USAGE, "bind: %s and %s overlap: leave one of them out",
                                 texts->items[j], texts->items[i]);
        }
    }
    return 0;
}

static int check_admin(const struct config *config, struct error *err)
{
    const char *text = config->admin_bind, *colon = strrchr(text, ':');

    if (listener_check(text, err) < 0)
        return error_prefix(err, "admin_bind");
    if (colon && strcmp(colon, ":0") == 0)
        return 0; /* the kernel gives another port to each who asks */
    for (size_t i = 0; i < config->bind.count; i++) {
        if (listener_same_text(text, config->bind.items[i]) ||
            bind_texts_overlap(text, config->bind.items[i], NULL, 0))
            return error_set(err, EXIT_USAGE, "admin_bind: the workers listen at %s",
                             config->bind.items[i]);
    }
    return 0;
}

/* The directory was entered as its name leads, through every link. A log or pid file named from
 * there is no safer than that: a worker that placed one of the links chose the directory. */
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
        return blame(config, files[i].key, err);
    }
    return 0;
}

int generation_check(const struct config *config, struct privileges *privileges, struct error *err)
{
    if (privileges_resolve(privileges, config->user, config->group, config->initgroups, err) < 0)
        return blame(config, strncmp(err->text, "group:", 6) == 0 ? "group" : "user", err);
    if (check_dir(config, privileges, err) < 0)
        return -1;
    if (check_listeners(&config->bind, err) < 0)
        return blame(config, "bind", err);
    if (config->admin_bind && check_admin(config, err) < 0)
        return blame(config, "admin_bind", err);
    if (config->ready_workers > config->workers) {
        (void)error_set(err, EXIT_USAGE, "ready_workers: %d are more than there are workers (%d)",
                        config->ready_workers, config->workers);
        return blame(config, "ready_workers", err);
    }
    struct accesslog *format = accesslog_new(config->access_log_format, err);
    if (!format)
        return blame(config, "access_log_format", err);
    accesslog_free(format); /* each worker makes its own; here it was only checked */
    if (!syslog_path(config->syslog_addr, err))
        return blame(config, "syslog_addr", err);
    return 0;
}

/* v6_only: as a [::] is to be that text names. */
static struct listener *find_listener(const struct generation *g, const char *text, bool v6_only)
{
    for (size_t i = 0; g && i < g->listener_count; i++) {
        struct listener *l = g->listeners[i];

        if (listener_same(l, text) && (!bind_is_any6(text) || l->v6_only == v6_only))
            return l;
    }
    return NULL;
}

static const struct listener *find_overlap(const struct generation *g, const char *text)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (listener_overlaps(g->listeners[i], text))
            return g->listeners[i];
    }
    return g->admin_listener && listener_overlaps(g->admin_listener, text) ? g->admin_listener
                                                                           : NULL;
}

/* An address is in use: by a listener of this server itself? Then err says by which, and errno is
 * none that goes away by itself. Those of an older generation stay until its last worker is gone.
 */
static void blame_own(const struct generation *g, const char *text, struct error *err)
{
    const struct generation *each = g;
    const struct listener *l;

    do {
        l = find_overlap(each, text);
    } while (!l && (each = each->next) != g);
    if (l)
        (void)error_set(err, EXIT_BIND, "cannot bind %s: this server itself listens at %s%s", text,
                        l->name, each == g ? "" : ", which a reload cannot change: restart it");
    errno = l ? EINVAL : EADDRINUSE;
}

static void listener_unref(struct listener *l, bool unlink_file)
{
    struct shared_listener *shared = (struct shared_listener *)l;

    if (--shared->refs > 0)
        return;
    listener_close(l, unlink_file);
    free(shared);
}

/* The one that is open already (NULL: none), or a new one, whose file is the workers' user's, as in
 * gunicorn; NULL with err. The caller has a reference. */
static struct listener *share_listener(const struct generation *g, struct listener *l,
                                       const char *text, int backlog, bool v6_only,
                                       struct error *err)
{
    const struct listener_options options = {
        .uid = g->privileges.uid, .gid = g->privileges.gid, .v6_only = v6_only};

    if (!l) {
        struct shared_listener *shared = xcalloc(1, sizeof(*shared));

        l = &shared->listener;
        if (listener_open_for(l, text, backlog, &options, err) < 0) {
            if (errno == EADDRINUSE)
                blame_own(g, text, err);
            int saved_errno = errno;

            free(shared);
            errno = saved_errno;
            return NULL;
        }
    }
    ((struct shared_listener *)l)->refs++;
    return l;
}

static int open_listeners(struct generation *g, const struct generation *before, struct error *err)
{
    const struct config_list *texts = &g->config.bind;

    g->listeners = xcalloc(texts->count, sizeof(struct listener *));
    for (size_t i = 0; i < texts->count; i++) {
        const char *text = texts->items[i];
        bool v6_only = bind_is_v6_only(text, texts->items, texts->count);
        struct listener *same = find_listener(before, text, v6_only);

        if (same && generation_has_listener(g, same)) { /* a start could not bind it twice */
            (void)error_set(err, EXIT_USAGE, "bind: %s is given twice", text);
            return blame(&g->config, "bind", err);
        }
        struct listener *l = share_listener(g, same, text, g->config.backlog, v6_only, err);

        if (!l)
            return -1;
        g->listeners[g->listener_count++] = l;
    }
    return 0;
}

/* Never a socket that workers have, nor they one of the admin process: while a reload is under way
 * the one would answer for the other. */
static int open_admin_listener(struct generation *g, const struct generation *before,
                               struct error *err)
{
    const char *text = g->config.admin_bind;
    struct listener *l = before ? before->admin_listener : NULL;

    if (!text)
        return 0;
    g->admin_listener =
        share_listener(g, l && listener_same(l, text) ? l : NULL, text, ADMIN_BACKLOG, false, err);
    return g->admin_listener ? 0 : error_prefix(err, "admin_bind");
}

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

int generation_check_logs(const struct config *config, const struct privileges *workers,
                          struct error *err)
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

/* A daemon that is not there is no error: it may start later, or again. */
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

static int open_logs(struct generation *g, struct error *err)
{
    if (open_log(g, "errorlog", g->config.errorlog, STDERR_FILENO, &g->error_fd, err) < 0)
        return -1;
    if (g->config.accesslog &&
        open_log(g, "accesslog", g->config.accesslog, STDOUT_FILENO, &g->access_fd, err) < 0)
        return -1;
    return g->config.syslog ? open_syslog(g, err) : 0;
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
    g->next = before ? before->next : g;
    g->prev = before ? before : g;
    g->next->prev = g->prev->next = g;
}

/* With nothing open. Takes config. */
static struct generation *make_generation(unsigned id, struct config *config,
                                          struct generation *before)
{
    struct generation *g = xcalloc(1, sizeof(*g));

    g->id = id;
    g->refs = 1;
    join_ring(g, before);
    g->config = *config;
    g->dir_fd = -1;
    g->error_fd = g->access_fd = -1;
    g->syslog.fd = -1;
    (void)umask((mode_t)g->config.umask);
    return g;
}

struct generation *generation_new(unsigned id, struct config *config, struct generation *before,
                                  struct error *err)
{
    struct generation *g = make_generation(id, config, before);

    if (generation_check(&g->config, &g->privileges, err) < 0 || open_dir(g, err) < 0 ||
        open_logs(g, err) < 0 ||
        app_open(g->config.wsgi_app, &g->image, &g->symbol, g->config.app_copy_dir, g->id, err) <
            0) {
        generation_unref(g, true);
        return NULL;
    }
    return g;
}

static void close_listeners(struct generation *g, bool unlink_files)
{
    for (size_t i = 0; i < g->listener_count; i++)
        listener_unref(g->listeners[i], unlink_files);
    if (g->admin_listener)
        listener_unref(g->admin_listener, unlink_files);
    free(g->listeners);
    g->listeners = NULL;
    g->listener_count = 0;
    g->admin_listener = NULL;
}

int generation_listen(struct generation *g, const struct generation *before, struct error *err)
{
    if (open_listeners(g, before, err) == 0 && open_admin_listener(g, before, err) == 0)
        return 0;
    int saved_errno = errno;
    close_listeners(g, true);
    errno = saved_errno;
    return -1;
}

static int inherit_listeners(struct generation *g, struct handover *from, struct error *err)
{
    g->listeners = xcalloc(from->socket_count + 1, sizeof(struct listener *));
    for (size_t i = 0; i < from->socket_count; i++) {
        struct handover_socket *s = &from->sockets[i];
        bool is_admin = s->use == HANDOVER_ADMIN;

        if (s->use == HANDOVER_CONTROL || (is_admin && g->admin_listener))
            continue;
        struct shared_listener *shared = xcalloc(1, sizeof(*shared));
        if (handover_take_socket(s, &shared->listener, err) < 0) {
            free(shared);
            return -1;
        }
        shared->refs = 1;
        shared->listener.lent = true;
        if (is_admin)
            g->admin_listener = &shared->listener;
        else
            g->listeners[g->listener_count++] = &shared->listener;
    }
    return 0;
}

struct generation *generation_inherit(unsigned id, struct config *config, struct handover *from,
                                      struct error *err)
{
    struct generation *g = make_generation(id, config, NULL);

    if (generation_check(&g->config, &g->privileges, err) < 0 || open_dir(g, err) < 0 ||
        open_logs(g, err) < 0 || inherit_listeners(g, from, err) < 0) {
        generation_unref(g, false);
        return NULL;
    }
    return g;
}

void generation_lend_listeners(struct generation *any, bool lent)
{
    struct generation *g = any;

    do {
        for (size_t i = 0; i < g->listener_count; i++)
            g->listeners[i]->lent = lent;
        if (g->admin_listener)
            g->admin_listener->lent = lent;
        g = g->next;
    } while (g != any);
}

struct generation *generation_ref(struct generation *g)
{
    g->refs++;
    return g;
}

void generation_use_log(struct generation *g)
{
    log_set_fd(g->error_fd);
    log_set_level((enum log_level)g->config.loglevel);
    log_set_format((enum log_format)g->config.error_log_format);
    log_set_syslog(g->syslog.fd >= 0 ? &g->syslog : NULL);
}

void generation_tend_log(struct generation *g)
{
    syslog_tend(&g->syslog);
}

/* What it is about to close. */
static void log_leave(const struct generation *g)
{
    if (log_fd() == g->error_fd)
        log_set_fd(STDERR_FILENO);
    if (log_syslog() == &g->syslog)
        log_set_syslog(NULL);
}

void generation_unref(struct generation *g, bool unlink_files)
{
    if (!g || --g->refs > 0)
        return;
    close_listeners(g, unlink_files);
    log_leave(g);
    fd_close(&g->error_fd);
    fd_close(&g->access_fd);
    syslog_close(&g->syslog);
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

void generation_forget(struct generation *g)
{
    fd_close(&g->error_fd);
    fd_close(&g->access_fd);
    syslog_close(&g->syslog);
    fd_close(&g->dir_fd);
    image_close(&g->image);
}

void generation_forget_access_log(struct generation *g)
{
    fd_close(&g->access_fd);
}

static bool is_one_of(const struct listener *l, struct listener *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == l)
            return true;
    }
    return false;
}

void generation_forget_listeners(struct generation *g, struct listener *const *served,
                                 size_t served_count)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (!is_one_of(g->listeners[i], served, served_count))
            fd_close(&g->listeners[i]->fd);
    }
    if (g->admin_listener && !is_one_of(g->admin_listener, served, served_count))
        fd_close(&g->admin_listener->fd);
}

bool generation_has_listener(const struct generation *g, const struct listener *l)
{
    return is_one_of(l, g->listeners, g->listener_count);
}

void generation_apply_backlog(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (!g->listeners[i]->inherited)                          /* whose owner chose */
            (void)listen(g->listeners[i]->fd, g->config.backlog); /* failed: it is as it was */
    }
}

bool generation_has_clients(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        struct pollfd queue = {.fd = g->listeners[i]->fd, .events = POLLIN};

        if (queue.fd >= 0 && poll(&queue, 1, 0) > 0)
            return true;
    }
    return false;
}

void generation_stop_listening(struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        listener_stop(g->listeners[i]);
}

int generation_log_to_send(const char *path, int fd)
{
    return path && log_standard_fd(path, STDERR_FILENO) < 0 ? fd : -1;
}

static int reopen_log(const struct generation *g, const char *path, int fd, struct error *err)
{
    if (generation_log_to_send(path, fd) < 0)
        return 0;
    int opened = open_log_file(path, &g->privileges);
    int result = opened < 0 ? -1 : dup3(opened, fd, O_CLOEXEC);
    if (result < 0)
        (void)error_set(err, EXIT_FAILED, "cannot reopen %s: %s", path, safe_open_reason(errno));
    fd_close(&opened);
    return result < 0 ? -1 : 0;
}

int generation_reopen_logs(struct generation *g, struct error *err)
{
    if (generation_enter(g) < 0)
        return error_set(err, EXIT_FAILED, "cannot change to the directory of generation %u: %s",
                         g->id, strerror(errno));
    int error_result = reopen_log(g, g->config.errorlog, g->error_fd, err);
    int access_result = reopen_log(g, g->config.accesslog, g->access_fd, err);

    return error_result < 0 || access_result < 0 ? -1 : 0;
}
