/* SPDX-License-Identifier: MIT
 *
 * See listeners.h.
 */
#include "master/generation/listeners.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "master/generation/generation.h"
#include "master/generation/open_aside.h"
#include "system/ipc/handover.h"
#include "system/net/bind_address.h"
#include "system/net/listener.h"

enum { ADMIN_BACKLOG = 128 };

/* Checked before anything is opened: a mistyped address is an error of the settings. */
static int check_workers(const struct config_list *texts, struct error *err)
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
        return 0; /* the kernel chooses a different port for each bind */
    for (size_t i = 0; i < config->bind.count; i++) {
        if (listener_same_text(text, config->bind.items[i]) ||
            bind_texts_overlap(text, config->bind.items[i], NULL, 0))
            return error_set(err, EXIT_USAGE, "admin_bind: the workers listen at %s",
                             config->bind.items[i]);
    }
    return 0;
}

int listeners_check(const struct config *config, struct error *err)
{
    if (check_workers(&config->bind, err) < 0)
        return generation_blame(config, "bind", err);
    if (config->admin_bind && check_admin(config, err) < 0)
        return generation_blame(config, "admin_bind", err);
    return 0;
}

/* v6_only: as a [::] is to be that text names. */
static struct listener *find_listener(const struct generation *g, const char *text, bool v6_only)
{
    for (size_t i = 0; g && i < g->listener_count; i++) {
        struct listener *l = g->listeners[i];

        assert(l);
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

/* An address is in use. If it is in use by a listener of this server, err names that, and errno is
 * set to an error that is not retried. Listeners of an older generation stay until its last worker
 * has ended. */
static void blame_own(const struct generation *g, const char *text, struct error *err)
{
    const struct generation *each;
    const struct listener *l = NULL;

    for_each_generation (each, g) {
        l = find_overlap(each, text);
        if (l)
            break;
    }
    if (l)
        (void)error_set(err, EXIT_BIND, "cannot bind %s: this server itself listens at %s%s", text,
                        l->name, each == g ? "" : ", which a reload cannot change: restart it");
    errno = l ? EINVAL : EADDRINUSE;
}

/* A socket that was passed to gcorn, and that only a failed reload has asked for, stays open: the next
 * reload may ask for it again. */
static void give_back(struct listener *l)
{
    struct shared_listener *shared = (struct shared_listener *)l;

    if (!shared->is_borrowed)
        return;
    (void)fd_set_cloexec(l->fd, false); /* cannot fail: it is open */
    l->fd = -1;
    shared->is_borrowed = false;
}

static void listener_unref(struct listener *l, bool unlink_file)
{
    struct shared_listener *shared = (struct shared_listener *)l;

    assert(shared->refs > 0);
    if (--shared->refs > 0)
        return;
    give_back(l);
    listener_close(l, unlink_file);
    free(shared);
}

struct listener *listeners_ref(struct listener *l)
{
    struct shared_listener *shared = (struct shared_listener *)l;

    assert(shared->refs > 0);
    shared->refs++;
    return l;
}

/* How the sockets of one generation are opened. */
struct opening {
    const struct generation *before; /* their owner so far; NULL: none */
    const struct open_wait *wait;    /* NULL: host names are resolved here */
};

static int open_at(struct listener *l, const char *text, int backlog,
                   const struct listener_options *options, const struct open_wait *wait,
                   struct error *err)
{
    return wait && open_aside_resolves(text) ? open_aside(l, text, backlog, options, wait, err)
                                             : listener_open_for(l, text, backlog, options, err);
}

/* Opens a new socket, whose file belongs to the workers' user, as in gunicorn; NULL with err. The
 * caller has a reference. */
static struct listener *open_one(const struct generation *g, const char *text, int backlog,
                                 bool v6_only, const struct open_wait *wait, struct error *err)
{
    const struct listener_options options = {.uid = g->privileges.uid,
                                             .gid = g->privileges.gid,
                                             .v6_only = v6_only,
                                             .notice = g->notice};
    struct shared_listener *shared = xcalloc(1, sizeof(*shared));

    shared->refs = 1;
    if (open_at(&shared->listener, text, backlog, &options, wait, err) == 0) {
        shared->is_borrowed = shared->listener.inherited;
        return &shared->listener;
    }
    if (errno == EADDRINUSE)
        blame_own(g, text, err);
    int saved_errno = errno;
    free(shared);
    errno = saved_errno;
    return NULL;
}

struct listener *listeners_open_one(const struct generation *g, const char *text, struct error *err)
{
    return open_one(g, text, g->config.backlog, false, NULL, err);
}

struct listener *listeners_adopt_one(struct handover_socket *s, struct error *err)
{
    struct shared_listener *shared = xcalloc(1, sizeof(*shared));

    shared->refs = 1;
    if (handover_take_socket(s, &shared->listener, err) == 0)
        return &shared->listener;
    free(shared);
    return NULL;
}

static int open_for_workers(struct generation *g, const struct opening *how, struct error *err)
{
    const struct config_list *texts = &g->config.bind;

    g->listeners = xcalloc(texts->count, sizeof(struct listener *));
    for (size_t i = 0; i < texts->count; i++) {
        const char *text = texts->items[i];
        bool v6_only = bind_is_v6_only(text, texts->items, texts->count);
        struct listener *same = find_listener(how->before, text, v6_only);

        if (same && listeners_contain(g, same)) { /* a start could not bind it twice */
            (void)error_set(err, EXIT_USAGE, "bind: %s is given twice", text);
            return generation_blame(&g->config, "bind", err);
        }
        struct listener *l = same ? listeners_ref(same)
                                  : open_one(g, text, g->config.backlog, v6_only, how->wait, err);

        if (!l)
            return -1;
        g->listeners[g->listener_count++] = l;
    }
    return 0;
}

/* The admin process never shares a socket with workers: during a reload either could get a
 * connection for the other. */
static int open_for_admin(struct generation *g, const struct opening *how, struct error *err)
{
    const char *text = g->config.admin_bind;
    struct listener *l = how->before ? how->before->admin_listener : NULL;

    if (!text)
        return 0;
    g->admin_listener = l && listener_same(l, text)
                            ? listeners_ref(l)
                            : open_one(g, text, ADMIN_BACKLOG, false, how->wait, err);
    return g->admin_listener ? 0 : error_prefix(err, "admin_bind");
}

void listeners_close(struct generation *g, bool unlink_files)
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

int listeners_open(struct generation *g, const struct generation *before,
                   const struct open_wait *wait, struct error *err)
{
    const struct opening how = {.before = before, .wait = wait};

    if (open_for_workers(g, &how, err) == 0 && open_for_admin(g, &how, err) == 0)
        return 0;
    int saved_errno = errno;
    listeners_close(g, true);
    errno = saved_errno;
    return -1;
}

int listeners_inherit(struct generation *g, struct handover *from, struct error *err)
{
    g->listeners = xcalloc(from->socket_count + 1, sizeof(struct listener *));
    for (size_t i = 0; i < from->socket_count; i++) {
        struct handover_socket *s = &from->sockets[i];
        bool is_admin = s->use == HANDOVER_ADMIN;

        if (s->use == HANDOVER_CONTROL || (is_admin && g->admin_listener))
            continue;
        struct listener *l = listeners_adopt_one(s, err);
        if (!l)
            return -1;
        l->lent = true;
        if (is_admin)
            g->admin_listener = l;
        else
            g->listeners[g->listener_count++] = l;
    }
    return 0;
}

void listeners_keep(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        ((struct shared_listener *)g->listeners[i])->is_borrowed = false;
    if (g->admin_listener)
        ((struct shared_listener *)g->admin_listener)->is_borrowed = false;
}

void listeners_give_back(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        give_back(g->listeners[i]);
    if (g->admin_listener)
        give_back(g->admin_listener);
}

void listeners_lend(struct generation *any, bool lent)
{
    struct generation *g;

    for_each_generation (g, any) {
        for (size_t i = 0; i < g->listener_count; i++)
            g->listeners[i]->lent = lent;
        if (g->admin_listener)
            g->admin_listener->lent = lent;
    }
}

static bool is_one_of(const struct listener *l, struct listener *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == l)
            return true;
    }
    return false;
}

bool listeners_contain(const struct generation *g, const struct listener *l)
{
    return is_one_of(l, g->listeners, g->listener_count);
}

void listeners_apply_backlog(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (!g->listeners[i]->inherited) /* else its owner set the backlog */
            (void)listen(g->listeners[i]->fd, g->config.backlog); /* on failure unchanged */
    }
}

bool listeners_have_clients(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        struct pollfd queue = {.fd = g->listeners[i]->fd, .events = POLLIN};

        if (queue.fd >= 0 && poll(&queue, 1, 0) > 0)
            return true;
    }
    return false;
}

void listeners_stop(struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        listener_stop(g->listeners[i]);
}

void listeners_log(const struct generation *g)
{
    for (size_t i = 0; i < g->listener_count; i++)
        log_info("Listening at: %s (%d)", g->listeners[i]->name, (int)getpid());
    if (g->admin_listener)
        log_info("Admin process at: %s", g->admin_listener->name);
}
