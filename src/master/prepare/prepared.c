/* SPDX-License-Identifier: MIT
 *
 * See prepared.h: the packets of a record, as they are kept.
 */
#include "master/prepare/prepared.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "master/prepare/prepared_item.h"
#include "system/ipc/handover.h"
#include "system/ipc/packet.h"
#include "system/net/listener.h"

enum { ITEMS_MAX = 4096 };

void *prepared_value(struct prepared_item *item)
{
    return item + 1;
}

int prepared_take_fd(struct prepared_item *item)
{
    int fd = item->fd;

    item->fd = -1;
    return fd;
}

void prepared_end_text(char *text, size_t size)
{
    text[size - 1] = '\0';
}

void prepared_complete(struct handover_socket *described, struct prepared_item *item)
{
    described->fd = prepared_take_fd(item);
    prepared_end_text(described->text, sizeof(described->text));
    prepared_end_text(described->name, sizeof(described->name));
    prepared_end_text(described->path, sizeof(described->path));
}

int prepared_add(struct prepared *p, const void *data, struct packet *packet)
{
    struct prepared_item *item;
    struct prepared_head head;

    errno = packet->fds_lost ? EMFILE : EPROTO;
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
    memcpy(prepared_value(item), (const char *)data + sizeof(head), len);
    assert(!p->last == !p->first && (p->count == 0) == !p->first);
    if (p->last)
        p->last->next = item;
    else
        p->first = item;
    p->last = item;
    p->count++;
    return head.kind == PREPARED_END;
}

/* A socket that no generation has taken: its file goes, too. */
static void close_socket(struct prepared_item *item, struct handover_socket *described)
{
    struct listener l;
    struct error ignored;

    prepared_complete(described, item);
    if (handover_take_socket(described, &l, &ignored) == 0)
        listener_close(&l, true);
}

static void close_item(struct prepared_item *item)
{
    if (item->fd < 0)
        return;
    if (item->kind == PREPARED_SOCKET && item->len == sizeof(struct prepared_socket))
        close_socket(item, &((struct prepared_socket *)prepared_value(item))->described);
    else if (item->kind == PREPARED_CONTROL && item->len == sizeof(struct prepared_control_socket))
        close_socket(item, &((struct prepared_control_socket *)prepared_value(item))->described);
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
