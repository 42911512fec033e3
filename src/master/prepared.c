/* SPDX-License-Identifier: MIT
 *
 * See prepared.h. A packet is a kind and a value. The order of kinds is fixed: prepared_open reads
 * them as prepared_send_all has sent them.
 */
#include "master/prepared.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/util.h"
#include "master/generation.h"
#include "master/listeners.h"
#include "master/start.h"
#include "system/ipc/handover.h"
#include "system/ipc/packet.h"
#include "worker/call/app.h"

enum kind {
    KIND_TEXT = 1, /* of the settings file, a piece */
    KIND_SOURCES,
    KIND_USER,
    KIND_GROUPS,
    KIND_DIR,
    KIND_ERROR_LOG,
    KIND_ACCESS_LOG,
    KIND_SYSLOG,
    KIND_IMAGE,
    KIND_PART,
    KIND_SOCKET,
    KIND_CONTROL,
    KIND_END,
};

enum {
    ITEMS_MAX = 4096,
    GROUPS_MAX = 8000, /* PREPARED_TEXT_MAX bytes */
    /* for settings, names and lists: what prepared_open takes besides a multiple of the file */
    OPEN_MEMORY = 512 * 1024,
};

struct head {
    uint32_t kind;
    uint32_t fd_count;
};

/* A packet that was kept; its value follows. */
struct prepared_item {
    struct prepared_item *next;
    uint32_t kind;
    int fd; /* -1: none came */
    size_t len;
};

struct sources_item {
    bool is_there;
    int cores;
    char how_cores[sizeof(((struct sources *)0)->how_cores)];
};

struct user_item {
    uid_t uid;
    gid_t gid;
    bool is_chosen;
};

struct image_item {
    char build_id[sizeof(((struct image *)0)->build_id)];
    bool from_disk;
    char copies[IMAGE_NAME_SIZE]; /* "": the copies are in memory; else their directory */
};

struct part_item {
    char path[IMAGE_NAME_SIZE];
    char copy[IMAGE_NAME_SIZE]; /* "": in memory */
};

/* Sockets of the workers, then that of the admin process. */
struct socket_item {
    uint32_t is_admin;
    uint32_t shared; /* the number of one of `before`, from 1; 0: it is a new one */
    struct handover_socket described;
};

struct control_item {
    uint32_t control_is;
    struct handover_socket described;
};

/* ---- sending ----------------------------------------------------------------------------- */

static int send_item(int to, enum kind kind, const void *value, size_t len, int fd)
{
    char packet[PREPARED_PACKET_MAX];
    const struct head head = {.kind = (uint32_t)kind, .fd_count = fd >= 0};

    assert(len <= sizeof(packet) - sizeof(head));
    memcpy(packet, &head, sizeof(head));
    if (len > 0)
        memcpy(packet + sizeof(head), value, len);
    return packet_send(to, packet, sizeof(head) + len, &fd, fd >= 0);
}

static int send_sources(int to, const struct sources *from)
{
    struct sources_item item = {.is_there = from->file.is_there, .cores = from->cores};
    size_t done = 0;

    while (done < from->file.bytes.len) {
        size_t left = from->file.bytes.len - done;
        size_t len = left < PREPARED_TEXT_MAX ? left : PREPARED_TEXT_MAX;

        if (send_item(to, KIND_TEXT, from->file.bytes.data + done, len, -1) < 0)
            return -1;
        done += len;
    }
    memcpy(item.how_cores, from->how_cores, sizeof(item.how_cores));
    return send_item(to, KIND_SOURCES, &item, sizeof(item), -1);
}

static int send_user(int to, const struct privileges *p)
{
    const struct user_item item = {.uid = p->uid, .gid = p->gid, .is_chosen = p->is_chosen};

    if (p->group_count > GROUPS_MAX) {
        errno = E2BIG;
        return -1;
    }
    if (send_item(to, KIND_USER, &item, sizeof(item), -1) < 0)
        return -1;
    return send_item(to, KIND_GROUPS, p->groups, p->group_count * sizeof(*p->groups), -1);
}

static int send_logs(int to, const struct generation *g)
{
    if (send_item(to, KIND_DIR, NULL, 0, g->dir_fd) < 0 ||
        send_item(to, KIND_ERROR_LOG, NULL, 0, g->error_fd) < 0 ||
        send_item(to, KIND_ACCESS_LOG, NULL, 0, g->access_fd) < 0)
        return -1;
    return send_item(to, KIND_SYSLOG, &g->syslog, sizeof(g->syslog), g->syslog.fd);
}

static int put_path(char *field, size_t size, const char *path)
{
    size_t len = path ? strlen(path) : 0;

    if (len >= size) {
        errno = ENAMETOOLONG;
        return -1;
    }
    if (path)
        memcpy(field, path, len);
    return 0;
}

static int send_part(int to, const struct image_part *part)
{
    struct part_item item = {.path = ""};

    if (put_path(item.path, sizeof(item.path), part->path) < 0 ||
        put_path(item.copy, sizeof(item.copy), part->copy) < 0)
        return -1;
    return send_item(to, KIND_PART, &item, sizeof(item), part->fd);
}

static int send_image(int to, const struct image *image)
{
    struct image_item item = {.from_disk = image->from_disk};

    memcpy(item.build_id, image->build_id, sizeof(item.build_id));
    if (put_path(item.copies, sizeof(item.copies), image->copies.path) < 0 ||
        send_item(to, KIND_IMAGE, &item, sizeof(item), image->copies.path ? image->copies.fd : -1) <
            0)
        return -1;
    for (size_t i = 0; i < image->count; i++) {
        if (send_part(to, &image->parts[i]) < 0)
            return -1;
    }
    return 0;
}

/* 0, or -1 with errno; to be freed by handover_drop in either case. */
static int describe(struct handover *h, const struct listener *l)
{
    handover_init(h);
    return handover_add_socket(h, l, HANDOVER_WORKERS);
}

static uint32_t number_of(const struct listener *l, const struct generation *before)
{
    for (size_t i = 0; i < before->listener_count; i++) {
        if (before->listeners[i] == l)
            return (uint32_t)i + 1;
    }
    return l == before->admin_listener ? (uint32_t)before->listener_count + 1 : 0;
}

static int send_socket(int to, const struct listener *l, bool is_admin,
                       const struct generation *before)
{
    struct socket_item item = {.is_admin = is_admin, .shared = number_of(l, before)};
    struct handover h;

    int result = item.shared ? 0 : describe(&h, l);
    if (!item.shared && result == 0)
        item.described = h.sockets[0];
    if (!item.shared)
        handover_drop(&h);
    if (result < 0)
        return -1;
    /* a socket that came with the program is the master's already */
    return send_item(to, KIND_SOCKET, &item, sizeof(item),
                     item.shared || l->inherited ? -1 : l->fd);
}

static int send_sockets(int to, const struct generation *g, const struct generation *before)
{
    for (size_t i = 0; i < g->listener_count; i++) {
        if (send_socket(to, g->listeners[i], false, before) < 0)
            return -1;
    }
    return g->admin_listener ? send_socket(to, g->admin_listener, true, before) : 0;
}

static int send_control(int to, const struct prepared_rest *rest)
{
    struct control_item item = {.control_is = (uint32_t)rest->control_is};
    bool is_new = rest->control_is == CONTROL_IS_NEW;
    struct handover h;

    int result = is_new ? describe(&h, &rest->control) : 0;
    if (is_new && result == 0)
        item.described = h.sockets[0];
    if (is_new)
        handover_drop(&h);
    if (result < 0)
        return -1;
    return send_item(to, KIND_CONTROL, &item, sizeof(item), is_new ? rest->control.fd : -1);
}

int prepared_send_all(int fd, const struct sources *from, const struct generation *g,
                      const struct generation *before, const struct prepared_rest *rest)
{
    /* first what has made a file: from here on the master can remove it */
    if (send_sockets(fd, g, before) < 0 || send_control(fd, rest) < 0 ||
        send_sources(fd, from) < 0 || send_user(fd, &g->privileges) < 0 || send_logs(fd, g) < 0 ||
        send_image(fd, &g->image) < 0)
        return -1;
    return send_item(fd, KIND_END, NULL, 0, -1);
}

/* ---- receiving --------------------------------------------------------------------------- */

static void *value_of(struct prepared_item *item)
{
    return item + 1;
}

int prepared_add(struct prepared *p, const void *data, struct packet *packet)
{
    struct prepared_item *item;
    struct head head;

    errno = EPROTO;
    if (packet->is_cut || packet->fds_lost || packet->len < sizeof(head) || p->count == ITEMS_MAX)
        return -1;
    memcpy(&head, data, sizeof(head));
    if (packet->fd_count != head.fd_count || head.fd_count > 1)
        return -1;
    size_t len = packet->len - sizeof(head);
    item = malloc(sizeof(*item) + len); /* not xmalloc: without memory only the reload fails */
    if (!item)
        return -1;
    *item = (struct prepared_item){
        .kind = head.kind, .fd = head.fd_count > 0 ? packet->fds[0] : -1, .len = len};
    packet->fd_count = 0;
    memcpy(value_of(item), (const char *)data + sizeof(head), len);
    if (p->last)
        p->last->next = item;
    else
        p->first = item;
    p->last = item;
    p->count++;
    return head.kind == KIND_END;
}

/* ---- opening ----------------------------------------------------------------------------- */

/* What is read of a record. */
struct reader {
    struct prepared_item *at;
    bool is_bad;
};

/* Is the next item of this kind? Then it is read: its value, of this size, and its descriptor, which
 * stays in the item. NULL: it is not. */
static struct prepared_item *next_if(struct reader *r, enum kind kind)
{
    struct prepared_item *item = r->at;

    if (!item || item->kind != (uint32_t)kind)
        return NULL;
    r->at = item->next;
    return item;
}

/* The next item, which must be of this kind and size. NULL: the record is bad. */
static struct prepared_item *next(struct reader *r, enum kind kind, size_t size)
{
    struct prepared_item *item = r->is_bad ? NULL : next_if(r, kind);

    if (item && item->len == size)
        return item;
    r->is_bad = true;
    return NULL;
}

static int take_fd(struct prepared_item *item)
{
    int fd = item->fd;

    item->fd = -1;
    return fd;
}

static void end_text(char *text, size_t size)
{
    text[size - 1] = '\0';
}

static char *path_or_null(char *path, size_t size)
{
    end_text(path, size);
    return path[0] != '\0' ? xstrdup(path) : NULL;
}

static void read_sources(struct reader *r, struct sources *from)
{
    struct prepared_item *item;

    while (!r->is_bad && (item = next_if(r, KIND_TEXT)))
        strbuf_add(&from->file.bytes, value_of(item), item->len);
    item = next(r, KIND_SOURCES, sizeof(struct sources_item));
    if (!item)
        return;
    struct sources_item *value = value_of(item);
    from->file.is_read = true;
    from->file.is_there = value->is_there;
    from->cores = value->cores;
    end_text(value->how_cores, sizeof(value->how_cores));
    memcpy(from->how_cores, value->how_cores, sizeof(from->how_cores));
}

static void read_user(struct reader *r, struct privileges *p)
{
    struct prepared_item *item = next(r, KIND_USER, sizeof(struct user_item));

    if (!item)
        return;
    const struct user_item *value = value_of(item);
    p->uid = value->uid;
    p->gid = value->gid;
    p->is_chosen = value->is_chosen;
    item = next_if(r, KIND_GROUPS);
    if (!item || item->len % sizeof(*p->groups) != 0) {
        r->is_bad = true;
        return;
    }
    p->group_count = item->len / sizeof(*p->groups);
    p->groups = p->group_count > 0 ? xmalloc(item->len) : NULL;
    if (p->groups)
        memcpy(p->groups, value_of(item), item->len);
}

static void read_logs(struct reader *r, struct generation *g)
{
    struct prepared_item *dir = next(r, KIND_DIR, 0);
    struct prepared_item *error = next(r, KIND_ERROR_LOG, 0);
    struct prepared_item *access = next(r, KIND_ACCESS_LOG, 0);
    struct prepared_item *syslog = next(r, KIND_SYSLOG, sizeof(g->syslog));

    if (!syslog || dir->fd < 0 || error->fd < 0) {
        r->is_bad = true;
        return;
    }
    g->dir_fd = take_fd(dir);
    g->error_fd = take_fd(error);
    g->access_fd = take_fd(access);
    memcpy(&g->syslog, value_of(syslog), sizeof(g->syslog));
    g->syslog.fd = take_fd(syslog);
}

static void read_part(struct image *image, struct prepared_item *item)
{
    struct part_item *value = value_of(item);
    struct image_part *part = &image->parts[image->count++];

    part->path = path_or_null(value->path, sizeof(value->path));
    part->copy = path_or_null(value->copy, sizeof(value->copy));
    part->fd = take_fd(item);
}

static void read_image(struct reader *r, struct image *image)
{
    struct prepared_item *item = next(r, KIND_IMAGE, sizeof(struct image_item));

    if (!item)
        return;
    struct image_item *value = value_of(item);
    end_text(value->build_id, sizeof(value->build_id));
    memcpy(image->build_id, value->build_id, sizeof(image->build_id));
    image->from_disk = value->from_disk;
    image->copies = (struct copies){.path = path_or_null(value->copies, sizeof(value->copies)),
                                    .fd = take_fd(item),
                                    .maker = getpid()}; /* who removes them */
    while ((item = next_if(r, KIND_PART))) {
        struct part_item *part = value_of(item);

        if (item->len != sizeof(*part) || item->fd < 0 || image->count == IMAGE_PARTS_MAX ||
            part->path[0] == '\0')
            break;
        read_part(image, item);
    }
    r->is_bad = r->is_bad || item || image->count == 0;
}

/* Takes the descriptor of the item. */
static void complete(struct handover_socket *described, struct prepared_item *item)
{
    described->fd = take_fd(item);
    end_text(described->text, sizeof(described->text));
    end_text(described->name, sizeof(described->name));
    end_text(described->path, sizeof(described->path));
}

/* A new socket; NULL with err. The caller has a reference. */
static struct listener *new_one(struct prepared_item *item, const struct generation *g,
                                struct error *err)
{
    struct socket_item *value = value_of(item);

    complete(&value->described, item);
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
    struct socket_item *value = value_of(item);
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
    while ((item = next_if(r, KIND_SOCKET))) {
        const struct socket_item *value = value_of(item);
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
    struct prepared_item *item = next(r, KIND_CONTROL, sizeof(struct control_item));

    if (!item)
        return 0;
    struct control_item *value = value_of(item);
    rest->control_is = (enum prepared_control)value->control_is;
    if (rest->control_is != CONTROL_IS_NEW)
        return 0;
    complete(&value->described, item);
    return handover_take_socket(&value->described, &rest->control, err);
}

/* Is there the memory that it takes to open this record? An allocation that failed on the way would
 * end the master. */
static bool has_memory(const struct prepared *p)
{
    size_t size = OPEN_MEMORY;

    for (const struct prepared_item *item = p->first; item; item = item->next)
        size += item->kind == KIND_TEXT ? 16 * item->len : item->len;
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

    while (next_if(r, KIND_SOCKET))
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
    (void)next(r, KIND_END, 0);
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

/* ---- the end ----------------------------------------------------------------------------- */

/* A socket that no generation has taken: its file goes, too. */
static void close_socket(struct prepared_item *item, struct handover_socket *described)
{
    struct listener l;
    struct error ignored;

    complete(described, item);
    if (handover_take_socket(described, &l, &ignored) == 0)
        listener_close(&l, true);
}

static void close_item(struct prepared_item *item)
{
    if (item->fd < 0)
        return;
    if (item->kind == KIND_SOCKET && item->len == sizeof(struct socket_item))
        close_socket(item, &((struct socket_item *)value_of(item))->described);
    else if (item->kind == KIND_CONTROL && item->len == sizeof(struct control_item))
        close_socket(item, &((struct control_item *)value_of(item))->described);
    fd_close(&item->fd);
}

void prepared_release(struct prepared *p)
{
    struct prepared_item *next_one;

    for (struct prepared_item *item = p->first; item; item = next_one) {
        next_one = item->next;
        close_item(item);
        free(item);
    }
    *p = (struct prepared){0};
}
