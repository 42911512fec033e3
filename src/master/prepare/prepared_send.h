/* SPDX-License-Identifier: MIT
 *
 * prepared_send - what the process that prepares a reload sends (prepared.h).
 */
#ifndef GCORN_MASTER_PREPARE_PREPARED_SEND_H
#define GCORN_MASTER_PREPARE_PREPARED_SEND_H

struct generation;
struct prepared_rest;
struct sources;

/* Sends it all; `before` is the generation whose sockets g may share. 0, or -1 with errno.
 * Blocks while the master does not read. */
int prepared_send_all(int fd, const struct sources *from, const struct generation *g,
                      const struct generation *before, const struct prepared_rest *rest);

#endif
