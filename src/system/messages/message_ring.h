/* SPDX-License-Identifier: MIT
 *
 * messages/ is how the workers of a server reach each other: rings for messages, and memory that
 * they share by a name.
 *
 * message_ring - a ring of messages in shared memory, with one writer and any number of readers,
 * each in a process of its own. The writer never waits: when the ring is full it overwrites the
 * oldest messages. A reader has a position of its own, so readers need no room in the ring.
 *
 *   control   head    the end of the newest whole message; stored last
 *             tail    the oldest message that is whole; moved before its bytes are overwritten
 *             number  of the next message
 *   data      the messages; position p is at p modulo size, and a message may wrap
 *
 *   message   length, channel's length, its hash (8 bytes), number (8), channel, data; channel and
 *             data are padded to 8 bytes each
 *
 * A reader copies first and then looks at tail: what has not been overwritten by then was whole. A
 * writer that is killed in the middle has not stored head, so its message does not exist. What
 * stands in the ring is untrusted: a reader checks each length, and a writer trusts its own memory.
 */
#ifndef GCORN_SYSTEM_MESSAGES_MESSAGE_RING_H
#define GCORN_SYSTEM_MESSAGES_MESSAGE_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MESSAGE_CHANNEL_MAX = 64, /* bytes */
    RING_SIZE_MIN = 4096,
};

/* In shared memory, zeroed at first. */
struct ring_control {
    _Atomic uint64_t head, tail, number;
};

/* Where a ring is mapped; size is a power of two, at least RING_SIZE_MIN. */
struct message_ring {
    struct ring_control *control;
    char *data;
    size_t size;
};

/* ---- the writer -------------------------------------------------------------------------- */

struct ring_writer {
    struct message_ring ring;
    uint64_t head, tail, number;
};

/* A message to write; all borrowed. */
struct ring_item {
    const char *channel;
    size_t channel_len; /* 1 to MESSAGE_CHANNEL_MAX */
    uint32_t hash;      /* of the channel, 24 bits, by which readers look for subscriptions */
    const void *data;
    size_t len;
};

/* Goes on where the writer before it has stopped or died. */
void ring_writer_init(struct ring_writer *w, const struct message_ring *ring);

/* Appends a message. Never blocks. Returns 0, or -1 with EMSGSIZE: it is longer than the ring. One
 * thread at a time. */
int ring_write(struct ring_writer *w, const struct ring_item *item);

/* ---- a reader ---------------------------------------------------------------------------- */

struct ring_reader {
    uint64_t at;
    uint64_t number; /* of the message that is expected there */
};

struct ring_message {
    uint64_t number;
    uint32_t len;         /* of its data */
    uint32_t hash;        /* what its writer says: only a hint */
    uint32_t channel_len; /* 1 to MESSAGE_CHANNEL_MAX */
    char channel[MESSAGE_CHANNEL_MAX + 1];
};

enum ring_next {
    RING_EMPTY,
    RING_MESSAGE,
    RING_LOST,    /* *lost messages were overwritten before they were read */
    RING_DAMAGED, /* no writer writes this: skipped to the head */
};

/* The reader's position from now on: the head, so nothing that is there now is read. */
void ring_reader_init(struct ring_reader *reader, const struct message_ring *ring);

/* Is there anything to read? */
static inline bool ring_has_news(const struct ring_reader *reader, const struct message_ring *ring)
{
    return atomic_load(&ring->control->head) != reader->at;
}

/* Looks at the next message and stores its head in *m. A reader that was overtaken goes on in the
 * newer half of the ring, so that it is not overtaken again at once. */
enum ring_next ring_next(struct ring_reader *reader, const struct message_ring *ring,
                         struct ring_message *m, uint64_t *lost);

/* After RING_MESSAGE: copies its m->len bytes of data. False: they were overwritten meanwhile, and
 * ring_next will count them as lost. */
bool ring_read(const struct ring_reader *reader, const struct message_ring *ring,
               const struct ring_message *m, void *data);

/* After RING_MESSAGE: goes on to the next one, whether this one was read or not. */
void ring_pass(struct ring_reader *reader, const struct ring_message *m);

#endif
