/* SPDX-License-Identifier: MIT
 *
 * See prepared_open.h. The master trusts the process that sent the record, which runs the master's
 * code, but checks every kind, size and number: a mistake then fails only the reload.
 */
#include "master/prepare/prepared_open.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/strbuf.h"
#include "base/util.h"
#include "master/generation/generation.h"
#include "master/generation/listeners.h"
#include "master/prepare/prepared.h"
#include "master/prepare/prepared_item.h"
#include "master/generation/start.h"
#include "system/ipc/handover.h"
#include "worker/call/app.h"

/* For settings, names and lists: what prepared_open takes besides a multiple of the file. */
enum { OPEN_MEMORY = 512 * 1024 };

/* The position in a record. */
struct reader {
    struct prepared_item *at;
    bool is_bad;
};

/* Takes the next item if it has this kind and a value of this size; its descriptor stays in it.
 * NULL: it is another one. */
static struct prepared_item *next_if(struct reader *r, enum prepared_kind kind)
{
    struct prepared_item *item = r->at;

    if (!item || item->kind != (uint32_t)kind)
        return NULL;
    r->at = item->next;
    return item;
}

/* The next item, which must be of this kind and size. NULL: the record is bad. */
static struct prepared_item *next(struct reader *r, enum prepared_kind kind, size_t size)
{
    struct prepared_item *item = r->is_bad ? NULL : next_if(r, kind);

    if (item && item->len == size)
        return item;
    r->is_bad = true;
    return NULL;
}

static char *path_or_null(char *path, size_t size)
{
    prepared_end_text(path, size);
    return path[0] != '\0' ? xstrdup(path) : NULL;
}

static void read_sources(struct reader *r, struct sources *from)
{
    struct prepared_item *item;

    while (!r->is_bad && (item = next_if(r, PREPARED_TEXT)))
        strbuf_add(&from->file.bytes, prepared_value(item), item->len);
    item = next(r, PREPARED_SOURCES, sizeof(struct prepared_sources));
    if (!item)
        return;
    struct prepared_sources *value = prepared_value(item);
    from->file.is_read = true;
    from->file.is_there = value->is_there;
    from->cores = value->cores;
    prepared_end_text(value->how_cores, sizeof(value->how_cores));
    memcpy(from->how_cores, value->how_cores, sizeof(from->how_cores));
}

static void read_user(struct reader *r, struct privileges *p)
{
    struct prepared_item *item = next(r, PREPARED_USER, sizeof(struct prepared_user));

    if (!item)
        return;
    const struct prepared_user *value = prepared_value(item);
    p->uid = value->uid;
    p->gid = value->gid;
    p->is_chosen = value->is_chosen;
    item = next_if(r, PREPARED_GROUPS);
    if (!item || item->len % sizeof(*p->groups) != 0) {
        r->is_bad = true;
        return;
    }
    p->group_count = item->len / sizeof(*p->groups);
    p->groups = p->group_count > 0 ? xmalloc(item->len) : NULL;
    if (p->groups)
        memcpy(p->groups, prepared_value(item), item->len);
}

static void read_logs(struct reader *r, struct generation *g)
{
    struct prepared_item *dir = next(r, PREPARED_DIR, 0);
    struct prepared_item *error = next(r, PREPARED_ERROR_LOG, 0);
    struct prepared_item *access = next(r, PREPARED_ACCESS_LOG, 0);
    struct prepared_item *syslog = next(r, PREPARED_SYSLOG, sizeof(g->syslog));

    if (!syslog || dir->fd < 0 || error->fd < 0) {
        r->is_bad = true;
        return;
    }
    g->dir_fd = prepared_take_fd(dir);
    g->error_fd = prepared_take_fd(error);
    g->access_fd = prepared_take_fd(access);
    memcpy(&g->syslog, prepared_value(syslog), sizeof(g->syslog));
    g->syslog.fd = prepared_take_fd(syslog);
}

static void read_part(struct image *image, struct prepared_item *item)
{
    struct prepared_part *value = prepared_value(item);
    struct image_part *part = &image->parts[image->count++];

    part->path = path_or_null(value->path, sizeof(value->path));
    part->copy = path_or_null(value->copy, sizeof(value->copy));
    part->fd = prepared_take_fd(item);
}

static void read_image(struct reader *r, struct image *image)
{
    struct prepared_item *item = next(r, PREPARED_IMAGE, sizeof(struct prepared_image));

    if (!item)
        return;
    struct prepared_image *value = prepared_value(item);
    prepared_end_text(value->build_id, sizeof(value->build_id));
    memcpy(image->build_id, value->build_id, sizeof(image->build_id));
    image->from_disk = value->from_disk;
    image->copies = (struct copies){.path = path_or_null(value->copies, sizeof(value->copies)),
                                    .fd = prepared_take_fd(item),
                                    .maker = getpid()}; /* this process removes them */
    while ((item = next_if(r, PREPARED_PART))) {
        struct prepared_part *part = prepared_value(item);

        if (item->len != sizeof(*part) || item->fd < 0 || image->count == IMAGE_PARTS_MAX ||
            part->path[0] == '\0')
            break;
        read_part(image, item);
    }
    r->is_bad = r->is_bad || item || image->count == 0;
}

/* A new socket; NULL with err. The caller has a reference. */
static struct listener *new_one(struct prepared_item *item, const struct generation *g,
                                struct error *err)
{
    struct prepared_socket *value = prepared_value(item);

    prepared_complete(&value->described, item);
    return value->described.inherited ? listeners_open_one(g, value->described.text, err)
                                      : listeners_adopt_one(&value->described, err);
}

static struct listener *shared_one(const struct generation *before, uint32_t number)
{
    return number <= before->listener_count       ? before->listeners[number - 1]
           : number == before->listener_count + 1 ? before->admin_listener
                                                  : NULL;
}

static int read_socket(struct prepared_item *item, struct generation *g,
                       const struct generation *before, struct error *err)
{
    struct prepared_socket *value = prepared_value(item);
    struct listener *l;

    l = value->shared ? shared_one(before, value->shared) : new_one(item, g, err);
    if (!l)
        return -1;
    if (value->shared)
        listeners_ref(l);
    if (value->is_admin)
        g->admin_listener = l;
    else
        g->listeners[g->listener_count++] = l;
    return 0;
}

static int read_sockets(struct reader *r, struct generation *g, const struct generation *before,
                        struct error *err)
{
    struct prepared_item *item;

    g->listeners = xcalloc(g->config.bind.count, sizeof(struct listener *));
    while ((item = next_if(r, PREPARED_SOCKET))) {
        const struct prepared_socket *value = prepared_value(item);
        bool has_room =
            item->len == sizeof(*value) &&
            (value->is_admin ? !g->admin_listener : g->listener_count < g->config.bind.count);

        if (!has_room)
            break;
        if (read_socket(item, g, before, err) < 0)
            return -1;
    }
    r->is_bad = r->is_bad || item || g->listener_count != g->config.bind.count;
    return 0;
}

static int read_control(struct reader *r, struct prepared_rest *rest, struct error *err)
{
    struct prepared_item *item = next(r, PREPARED_CONTROL, sizeof(struct prepared_control_socket));

    if (!item)
        return 0;
    struct prepared_control_socket *value = prepared_value(item);
    rest->control_is = (enum prepared_control)value->control_is;
    if (rest->control_is != CONTROL_IS_NEW)
        return 0;
    prepared_complete(&value->described, item);
    return handover_take_socket(&value->described, &rest->control, err);
}

/* True: there is enough memory to open this record. An allocation that failed later would end the
 * master. */
static bool has_memory(const struct prepared *p)
{
    size_t size = OPEN_MEMORY;

    for (const struct prepared_item *item = p->first; item; item = item->next)
        size += item->kind == PREPARED_TEXT ? 16 * item->len : item->len;
    void *probe = malloc(size);
    free(probe);
    return probe != NULL;
}

static int name_symbol(struct generation *g, struct error *err)
{
    char *path;

    if (app_parse(g->config.wsgi_app, &path, &g->symbol, err) < 0)
        return -1;
    free(path);
    return 0;
}

static struct generation *open_all(struct reader *r, const struct start *start, unsigned id,
                                   struct generation *before, struct prepared_rest *rest,
                                   struct error *err)
{
    struct reader sockets = *r; /* they come first, and are made by the settings */
    struct sources from = {0};
    struct config config;

    while (next_if(r, PREPARED_SOCKET))
        continue;
    if (read_control(r, rest, err) < 0)
        return NULL;
    read_sources(r, &from);
    (void)error_set(err, EXIT_FAILED, "the record of what was prepared is malformed");
    int loaded = r->is_bad ? -1 : start_load_again(start, &from, &config, err);
    sources_release(&from);
    if (loaded < 0)
        return NULL;
    struct generation *g = generation_make(id, &config, before);
    read_user(r, &g->privileges);
    read_logs(r, g);
    read_image(r, &g->image);
    (void)next(r, PREPARED_END, 0);
    if (!r->is_bad && name_symbol(g, err) == 0 && read_sockets(&sockets, g, before, err) == 0 &&
        !sockets.is_bad)
        return g;
    generation_unref(g, true);
    return NULL;
}

struct generation *prepared_open(struct prepared *p, const struct start *start, unsigned id,
                                 struct generation *before, struct prepared_rest *rest,
                                 struct error *err)
{
    struct reader r = {.at = p->first};

    *rest = (struct prepared_rest){.control.fd = -1};
    if (!has_memory(p)) {
        (void)error_set(err, EXIT_FAILED, "out of memory");
        return NULL;
    }
    struct generation *g = open_all(&r, start, id, before, rest, err);
    if (!g)
        listener_close(&rest->control, true);
    return g;
}
