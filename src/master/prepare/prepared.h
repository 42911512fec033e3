/* SPDX-License-Identifier: MIT
 *
 * prepared - what the process that prepares a reload (prepare.h) hands to the master: a record of
 * many packets, one for each thing that is open, with its descriptor.
 *
 *   child    prepared_send_all (prepared_send.h)
 *   master   prepared_add of each packet, and after the last one prepared_open (prepared_open.h)
 *
 * The record has the bytes of the settings file, which the master loads by the same code, and only
 * those results that need a disk or a name server.
 */
#ifndef GCORN_MASTER_PREPARE_PREPARED_H
#define GCORN_MASTER_PREPARE_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system/net/listener.h"

struct packet;

enum {
    PREPARED_TEXT_MAX = 32 * 1024,               /* bytes of the settings file in one packet */
    PREPARED_PACKET_MAX = PREPARED_TEXT_MAX + 8, /* the longest packet */
};

/* The control socket after the reload. */
enum prepared_control {
    CONTROL_STAYS,
    CONTROL_ENDS,           /* the settings name none, or one that cannot be opened */
    CONTROL_IS_NEW,         /* the socket that was opened */
    CONTROL_OF_PREDECESSOR, /* the one that the master has from its predecessor */
};

struct prepared_item;

struct prepared {
    struct prepared_item *first, *last;
    size_t count;
};

/* The prepared part that does not belong to the generation. */
struct prepared_rest {
    enum prepared_control control_is;
    struct listener control; /* CONTROL_IS_NEW */
};

/* Master: keeps a packet with its descriptors. 1: it was the last one. 0: more follow. -1 with
 * errno: ENOMEM; EMFILE: the master has no room for its descriptor; or EPROTO: the packet does not
 * belong to a record. */
int prepared_add(struct prepared *p, const void *data, struct packet *packet);

/* Closes the descriptors that were not taken, and removes the files of unix sockets that were made.
 * May be called on a zeroed record. */
void prepared_release(struct prepared *p);

#endif
