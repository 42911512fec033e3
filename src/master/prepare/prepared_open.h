/* SPDX-License-Identifier: MIT
 *
 * prepared_open - the generation that the master makes of a record (prepared.h).
 */
#ifndef GCORN_MASTER_PREPARE_PREPARED_OPEN_H
#define GCORN_MASTER_PREPARE_PREPARED_OPEN_H

struct error;
struct generation;
struct prepared;
struct prepared_rest;
struct start;

/* Makes the generation of a whole record: its descriptors are taken out of it. Blocks
 * nowhere. NULL with err. `before` as in prepared_send.h. */
struct generation *prepared_open(struct prepared *p, const struct start *start, unsigned id,
                                 struct generation *before, struct prepared_rest *rest,
                                 struct error *err);

#endif
