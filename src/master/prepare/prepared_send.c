/* SPDX-License-Identifier: MIT
 *
 * See prepared_send.h.
 */
#include "master/prepare/prepared_send.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "master/generation/generation.h"
#include "master/prepare/prepared.h"
#include "master/prepare/prepared_item.h"
#include "master/generation/start.h"
#include "system/ipc/handover.h"
#include "system/ipc/packet.h"

enum { GROUPS_MAX = 8000 }; /* PREPARED_TEXT_MAX bytes */

static int send_item(int to, enum prepared_kind kind, const void *value, size_t len, int fd)
{
    char packet[PREPARED_PACKET_MAX];
    const struct prepared_head head = {.kind = (uint32_t)kind, .fd_count = fd >= 0};

    assert(len <= sizeof(packet) - sizeof(head));
    memcpy(packet, &head, sizeof(head));
    if (len > 0)
        memcpy(packet + sizeof(head), value, len);
    return packet_send(to, packet, sizeof(head) + len, &fd, fd >= 0);
}

static int send_sources(int to, const struct sources *from)
{
    struct prepared_sources item = {.is_there = from->file.is_there, .cores = from->cores};
    size_t done = 0;

    while (done < from->file.bytes.len) {
        size_t left = from->file.bytes.len - done;
        size_t len = left < PREPARED_TEXT_MAX ? left : PREPARED_TEXT_MAX;

        if (send_item(to, PREPARED_TEXT, from->file.bytes.data + done, len, -1) < 0)
            return -1;
        done += len;
    }
    memcpy(item.how_cores, from->how_cores, sizeof(item.how_cores));
    return send_item(to, PREPARED_SOURCES, &item, sizeof(item), -1);
}

static int send_user(int to, const struct privileges *p)
{
    const struct prepared_user item = {.uid = p->uid, .gid = p->gid, .is_chosen = p->is_chosen};

    if (p->group_count > GROUPS_MAX) {
        errno = E2BIG;
        return -1;
    }
    if (send_item(to, PREPARED_USER, &item, sizeof(item), -1) < 0)
        return -1;
    return send_item(to, PREPARED_GROUPS, p->groups, p->group_count * sizeof(*p->groups), -1);
}

static int send_logs(int to, const struct generation *g)
{
    if (send_item(to, PREPARED_DIR, NULL, 0, g->dir_fd) < 0 ||
        send_item(to, PREPARED_ERROR_LOG, NULL, 0, g->error_fd) < 0 ||
        send_item(to, PREPARED_ACCESS_LOG, NULL, 0, g->access_fd) < 0)
        return -1;
    return send_item(to, PREPARED_SYSLOG, &g->syslog, sizeof(g->syslog), g->syslog.fd);
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
    struct prepared_part item = {.path = ""};

    if (put_path(item.path, sizeof(item.path), part->path) < 0 ||
        put_path(item.copy, sizeof(item.copy), part->copy) < 0)
        return -1;
    return send_item(to, PREPARED_PART, &item, sizeof(item), part->fd);
}

static int send_image(int to, const struct image *image)
{
    struct prepared_image item = {.from_disk = image->from_disk};

    memcpy(item.build_id, image->build_id, sizeof(item.build_id));
    if (put_path(item.copies, sizeof(item.copies), image->copies.path) < 0 ||
        send_item(to, PREPARED_IMAGE, &item, sizeof(item),
                  image->copies.path ? image->copies.fd : -1) < 0)
        return -1;
    for (size_t i = 0; i < image->count; i++) {
        if (send_part(to, &image->parts[i]) < 0)
            return -1;
    }
    return 0;
}

/* Returns 0, or -1 with errno; the caller frees it by handover_drop in either case. */
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
    struct prepared_socket item = {.is_admin = is_admin, .shared = number_of(l, before)};
    struct handover h;

    int result = item.shared ? 0 : describe(&h, l);
    if (!item.shared && result == 0)
        item.described = h.sockets[0];
    if (!item.shared)
        handover_drop(&h);
    if (result < 0)
        return -1;
    /* a socket that came with the program is the master's already */
    return send_item(to, PREPARED_SOCKET, &item, sizeof(item),
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
    struct prepared_control_socket item = {.control_is = (uint32_t)rest->control_is};
    bool is_new = rest->control_is == CONTROL_IS_NEW;
    struct handover h;

    int result = is_new ? describe(&h, &rest->control) : 0;
    if (is_new && result == 0)
        item.described = h.sockets[0];
    if (is_new)
        handover_drop(&h);
    if (result < 0)
        return -1;
    return send_item(to, PREPARED_CONTROL, &item, sizeof(item), is_new ? rest->control.fd : -1);
}

int prepared_send_all(int fd, const struct sources *from, const struct generation *g,
                      const struct generation *before, const struct prepared_rest *rest)
{
    /* first what has made a file: from here on the master can remove it */
    if (send_sockets(fd, g, before) < 0 || send_control(fd, rest) < 0 ||
        send_sources(fd, from) < 0 || send_user(fd, &g->privileges) < 0 || send_logs(fd, g) < 0 ||
        send_image(fd, &g->image) < 0)
        return -1;
    return send_item(fd, PREPARED_END, NULL, 0, -1);
}
