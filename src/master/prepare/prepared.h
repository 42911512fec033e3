/* SPDX-License-Identifier: MIT
 *
 * prepared - what the process that prepares a reload (prepare.h) hands to the master: a record of
 * many packets, one for each thing that is open, with its descriptor.
 *
 *   child    prepared_send_all (prepared_send.h)
 *   master   prepared_add of each packet, and after the last one prepared_open (prepared_open.h)
 *
 * The settings come as the bytes of their file, so the master makes the same settings of them by the
 * same code; only what a disk or a name server had to be asked for is in the record.
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
    CONTROL_IS_NEW,         /* what was opened */
    CONTROL_OF_PREDECESSOR, /* the one that the master has from its predecessor */
};

struct prepared_item;

struct prepared {
    struct prepared_item *first, *last;
    size_t count;
};

/* What else than a generation is prepared. */
struct prepared_rest {
    enum prepared_control control_is;
    struct listener control; /* CONTROL_IS_NEW */
};

/* Master: keeps a packet with its descriptors. 1: it was the last one. 0: more follow. -1 with
 * errno: ENOMEM, or EPROTO for what is no part of a record. */
int prepared_add(struct prepared *p, const void *data, struct packet *packet);

/* Closes what is left; the file of a unix socket that was made goes with it. Harmless on a zeroed
 * one. */
void prepared_release(struct prepared *p);

#endif
