/* SPDX-License-Identifier: MIT
 *
 * prepared - what the process that prepares a reload (prepare.h) hands to the master: a record of
 * many packets, one for each thing that is open, with its descriptor.
 *
 *   child    prepared_send_all
 *   master   prepared_add of each packet, and after the last one prepared_open
 *
 * The settings come as the bytes of their file, so the master makes the same settings of them by the
 * same code; only what a disk or a name server had to be asked for is in the record.
 */
#ifndef GCORN_MASTER_PREPARED_H
#define GCORN_MASTER_PREPARED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "system/net/listener.h"

struct error;
struct generation;
struct packet;
struct sources;
struct start;

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

/* Child: sends it all; `before` is the generation whose sockets g may share. 0, or -1 with errno.
 * Blocks while the master does not read. */
int prepared_send_all(int fd, const struct sources *from, const struct generation *g,
                      const struct generation *before, const struct prepared_rest *rest);

/* Master: keeps a packet with its descriptors. 1: it was the last one. 0: more follow. -1 with
 * errno: ENOMEM, or EPROTO for what is no part of a record. */
int prepared_add(struct prepared *p, const void *data, struct packet *packet);

/* Master: makes the generation of a whole record: its descriptors are taken out of it. Blocks
 * nowhere. NULL with err. `before` as for the child. */
struct generation *prepared_open(struct prepared *p, const struct start *start, unsigned id,
                                 struct generation *before, struct prepared_rest *rest,
                                 struct error *err);

/* Closes what is left; the file of a unix socket that was made goes with it. Harmless on a zeroed
 * one. */
void prepared_release(struct prepared *p);

#endif
