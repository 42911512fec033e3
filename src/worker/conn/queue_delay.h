/* SPDX-License-Identifier: MIT
 *
 * arrival - when a client's bytes had come, and whether it is too late to run what they ask for.
 */
#ifndef GCORN_WORKER_CONN_QUEUE_DELAY_H
#define GCORN_WORKER_CONN_QUEUE_DELAY_H

#include <stdint.h>

struct conn;

/* When the bytes had come that are being read; to be asked once for each read. */
uint64_t arrival_ns(struct conn *c);

/* The status with which its request, having waited so long, is refused instead of being run; 0: it
 * is run. Any thread. */
int arrival_too_late(const struct conn *c, uint64_t queued_ms);

#endif
