/* SPDX-License-Identifier: MIT
 *
 * queue_delay - when a client's bytes had come.
 */
#ifndef GCORN_WORKER_LOOP_QUEUE_DELAY_H
#define GCORN_WORKER_LOOP_QUEUE_DELAY_H

#include <stdint.h>

struct stream;

enum {
    QUEUE_LONG_NS = 10000000
}; /* beyond this, the loop's estimate is only a lower bound: ask the kernel */

/* When the bytes had come that are being read; to be asked once for each read. */
uint64_t queue_delay_arrived_ns(struct stream *s);

#endif
