/* SPDX-License-Identifier: MIT
 *
 * prepared_item - the packets of a record (prepared.h), for the two that write and read them. A
 * packet is a head and a value. The order of kinds is fixed: sockets, the control socket, then the
 * rest.
 */
#ifndef GCORN_MASTER_PREPARE_PREPARED_ITEM_H
#define GCORN_MASTER_PREPARE_PREPARED_ITEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "master/generation/start.h"
#include "system/code/image.h"
#include "system/ipc/handover.h"

enum prepared_kind {
    PREPARED_TEXT = 1, /* of the settings file, a piece */
    PREPARED_SOURCES,
    PREPARED_USER,
    PREPARED_GROUPS,
    PREPARED_DIR,
    PREPARED_ERROR_LOG,
    PREPARED_ACCESS_LOG,
    PREPARED_SYSLOG,
    PREPARED_IMAGE,
    PREPARED_PART,
    PREPARED_SOCKET,
    PREPARED_CONTROL,
    PREPARED_END,
};

struct prepared_head {
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

struct prepared_sources {
    bool is_there;
    int cores;
    char how_cores[sizeof(((struct sources *)0)->how_cores)];
};

struct prepared_user {
    uid_t uid;
    gid_t gid;
    bool is_chosen;
};

struct prepared_image {
    char build_id[sizeof(((struct image *)0)->build_id)];
    bool from_disk;
    char copies[IMAGE_NAME_SIZE]; /* "": the copies are in memory; else their directory */
};

struct prepared_part {
    char path[IMAGE_NAME_SIZE];
    char copy[IMAGE_NAME_SIZE]; /* "": in memory */
};

/* Sockets of the workers, then that of the admin process. */
struct prepared_socket {
    uint32_t is_admin;
    uint32_t shared; /* the number of one of `before`, from 1; 0: it is a new one */
    struct handover_socket described;
};

struct prepared_control_socket {
    uint32_t control_is;
    struct handover_socket described;
};

/* The value, which follows the item. */
void *prepared_value(struct prepared_item *item);

/* The item's descriptor, which is the caller's from then on; -1: none came. */
int prepared_take_fd(struct prepared_item *item);

/* Makes sure that a text of a value ends in it. */
void prepared_end_text(char *text, size_t size);

/* Checks the texts of a socket's description, and gives it the descriptor of its item. */
void prepared_complete(struct handover_socket *described, struct prepared_item *item);

#endif
