/* SPDX-License-Identifier: MIT
 *
 * last - the socket of a client in a worker that crashes. Every function is async-signal-safe, takes
 * no lock and does not block. Plain wires alone: what another kind would have to do first (seal the
 * bytes) is not safe there, so it is closed without an answer.
 */
#ifndef GCORN_WORKER_WIRE_LAST_H
#define GCORN_WORKER_WIRE_LAST_H

#include "worker/wire/wire.h"

/* As wire_read and wire_send_pieces; -1 with EPIPE where the wire is not plain. */
ssize_t wire_last_read(struct wire *wire, char *bytes, size_t size);
ssize_t wire_last_send(struct wire *wire, const struct iovec *iov, int count);

/* As wire_shutdown; -1 with EPIPE where the wire is not plain. */
int wire_last_shutdown(struct wire *wire);

/* Closes the socket; resets: by a reset, as wire_reset does. The descriptor's mark (base/owned.h)
 * stays. */
void wire_last_close(struct wire *wire, bool resets);

#endif
