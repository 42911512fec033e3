/* SPDX-License-Identifier: MIT
 *
 * See message_ring.h. Bytes are copied word by word, with release order by the writer and acquire
 * order by readers (as in system/ipc/shared.h): so the store of tail comes before the words that it
 * gives up, and the reader's second look at tail after the words that it has copied.
 */
#include "system/messages/message_ring.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"

enum {
    WORD = sizeof(uint64_t),
    HEAD_SIZE = 2 * WORD,
    TRIES = 16,           /* to catch up with a fast writer */
    LOST_MAX = INT32_MAX, /* more than that between two messages is damage */
};

typedef uint64_t __attribute__((may_alias)) word;

static word *word_at(const struct message_ring *ring, uint64_t at)
{
    return (word *)(void *)(ring->data + (at & (ring->size - 1)));
}

static uint64_t load_word(const struct message_ring *ring, uint64_t at)
{
    return __atomic_load_n(word_at(ring, at), __ATOMIC_ACQUIRE);
}

static void store_word(const struct message_ring *ring, uint64_t at, uint64_t value)
{
    __atomic_store_n(word_at(ring, at), value, __ATOMIC_RELEASE);
}

static uint64_t padded(uint64_t len)
{
    return (len + WORD - 1) / WORD * WORD;
}

static uint64_t size_of(size_t channel_len, uint64_t len)
{
    return HEAD_SIZE + padded(channel_len) + padded(len);
}

static uint64_t message_size(const struct ring_message *m)
{
    return size_of(m->channel_len, m->len);
}

/* ---- the writer -------------------------------------------------------------------------- */

static uint64_t first_word(const struct ring_item *item)
{
    return (uint64_t)item->hash << 40 | (uint64_t)item->channel_len << 32 | item->len;
}

static void read_first_word(uint64_t first, struct ring_message *m)
{
    m->len = (uint32_t)first;
    m->channel_len = (uint32_t)(first >> 32 & 0xff);
    m->hash = (uint32_t)(first >> 40);
}

/* A killed writer may have counted a message that it did not finish, hence one number less: to skip
 * one would tell readers of a loss. Whatever else it has left, the ring is empty rather than
 * wrong. */
void ring_writer_init(struct ring_writer *w, const struct message_ring *ring)
{
    uint64_t number = atomic_load(&ring->control->number);

    assert(ring->size >= RING_SIZE_MIN && (ring->size & (ring->size - 1)) == 0);
    w->ring = *ring;
    w->head = padded(atomic_load(&ring->control->head));
    w->tail = atomic_load(&ring->control->tail);
    w->number = number > 0 ? number - 1 : 0;
    if (w->head - w->tail > ring->size || w->tail % WORD != 0)
        w->tail = w->head;
    atomic_store(&ring->control->tail, w->tail);
    atomic_store(&ring->control->head, w->head);
}

/* Moves tail until there is room for size bytes. */
static void make_room(struct ring_writer *w, uint64_t size)
{
    uint64_t tail = w->tail;

    while (w->head + size - tail > w->ring.size) {
        struct ring_message oldest;

        read_first_word(load_word(&w->ring, tail), &oldest);
        tail += message_size(&oldest);
        if (tail - w->tail > w->head - w->tail)
            tail = w->head; /* another process has written into this ring */
    }
    if (tail == w->tail)
        return;
    w->tail = tail;
    atomic_store_explicit(&w->ring.control->tail, tail, memory_order_relaxed);
}

static void put(const struct message_ring *ring, uint64_t at, const char *bytes, size_t len)
{
    size_t i = 0;
    uint64_t value;

    for (; len - i >= WORD; i += WORD) {
        memcpy(&value, bytes + i, WORD);
        store_word(ring, at + i, value);
    }
    if (i == len)
        return;
    value = 0;
    memcpy(&value, bytes + i, len - i);
    store_word(ring, at + i, value);
}

int ring_write(struct ring_writer *w, const struct ring_item *item)
{
    const struct message_ring *ring = &w->ring;
    uint64_t size = size_of(item->channel_len, item->len), at = w->head;

    assert(item->channel_len >= 1 && item->channel_len <= MESSAGE_CHANNEL_MAX);
    if (item->len > UINT32_MAX || size > ring->size) {
        errno = EMSGSIZE;
        return -1;
    }
    make_room(w, size);
    store_word(ring, at, first_word(item));
    store_word(ring, at + WORD, w->number);
    put(ring, at + HEAD_SIZE, item->channel, item->channel_len);
    put(ring, at + HEAD_SIZE + padded(item->channel_len), item->data, item->len);
    w->head += size;
    atomic_store_explicit(&ring->control->number, ++w->number, memory_order_release);
    atomic_store(&ring->control->head, w->head);
    return 0;
}

/* ---- a reader ---------------------------------------------------------------------------- */

/* number is loaded after head, so it is never too low: a new reader does not take for lost what it
 * has not waited for. */
void ring_reader_init(struct ring_reader *reader, const struct message_ring *ring)
{
    reader->at = atomic_load(&ring->control->head);
    reader->number = atomic_load(&ring->control->number);
}

/* Has the writer given up what is at the reader's position? To be asked after the copy. */
static bool is_overtaken(const struct ring_reader *reader, const struct message_ring *ring)
{
    uint64_t tail = atomic_load_explicit(&ring->control->tail, memory_order_acquire);

    return tail - reader->at - 1 < UINT64_MAX / 2; /* tail > at, although both may wrap */
}

/* The heads of a message, or its channel: false when no writer writes that. */
static bool read_head(const struct message_ring *ring, uint64_t at, struct ring_message *m)
{
    read_first_word(load_word(ring, at), m);
    m->number = load_word(ring, at + WORD);
    return m->channel_len >= 1 && m->channel_len <= MESSAGE_CHANNEL_MAX &&
           message_size(m) <= ring->size;
}

static void get(const struct message_ring *ring, uint64_t at, char *bytes, size_t len)
{
    size_t i = 0;
    uint64_t value;

    for (; len - i >= WORD; i += WORD) {
        value = load_word(ring, at + i);
        memcpy(bytes + i, &value, WORD);
    }
    if (i == len)
        return;
    value = load_word(ring, at + i);
    memcpy(bytes + i, &value, len - i);
}

/* Goes from the tail to the first message of the newer half of the ring, or to the newest one if
 * that is longer. False: overtaken again, or the ring is damaged. */
static bool skip_older_half(struct ring_reader *reader, const struct message_ring *ring,
                            uint64_t head)
{
    struct ring_message m;

    reader->at = atomic_load_explicit(&ring->control->tail, memory_order_acquire);
    if (reader->at % WORD != 0 || head - reader->at > ring->size)
        return false;
    while (head - reader->at > ring->size / 2) {
        if (!read_head(ring, reader->at, &m) || message_size(&m) > head - reader->at ||
            is_overtaken(reader, ring))
            return false;
        if (message_size(&m) == head - reader->at)
            break;
        reader->at += message_size(&m);
    }
    return true;
}

/* The messages that are lost show in the number of the next one. */
static void catch_up(struct ring_reader *reader, const struct message_ring *ring)
{
    for (int i = 0; i < TRIES; i++) {
        if (skip_older_half(reader, ring, atomic_load(&ring->control->head)))
            return;
    }
    reader->at = atomic_load(&ring->control->head);
}

static enum ring_next skip_damage(struct ring_reader *reader, uint64_t head)
{
    reader->at = head;
    return RING_DAMAGED;
}

/* The message at the reader's position is whole; are there some missing before it? Its writer may
 * be another one, that does not know of the last number. */
static enum ring_next count_lost(struct ring_reader *reader, const struct ring_message *m,
                                 uint64_t *lost)
{
    uint64_t missing = m->number - reader->number;

    reader->number = m->number;
    if (missing == 0 || missing > LOST_MAX)
        return RING_MESSAGE;
    *lost = missing;
    return RING_LOST;
}

enum ring_next ring_next(struct ring_reader *reader, const struct message_ring *ring,
                         struct ring_message *m, uint64_t *lost)
{
    for (int i = 0; i < TRIES; i++) {
        uint64_t head = atomic_load(&ring->control->head), there = head - reader->at;

        if (there == 0)
            return RING_EMPTY;
        if (head % WORD != 0 || reader->at % WORD != 0 || there > UINT64_MAX / 2)
            return skip_damage(reader, head);
        bool is_good =
            there <= ring->size && read_head(ring, reader->at, m) && message_size(m) <= there;
        if (is_good)
            get(ring, reader->at + HEAD_SIZE, m->channel, m->channel_len);
        if (is_overtaken(reader, ring)) {
            catch_up(reader, ring);
            continue;
        }
        if (!is_good)
            return skip_damage(reader, head);
        m->channel[m->channel_len] = '\0';
        return count_lost(reader, m, lost);
    }
    return RING_EMPTY; /* the writer is too fast now; the next pass tries again */
}

bool ring_read(const struct ring_reader *reader, const struct message_ring *ring,
               const struct ring_message *m, void *data)
{
    get(ring, reader->at + HEAD_SIZE + padded(m->channel_len), data, m->len);
    return !is_overtaken(reader, ring);
}

void ring_pass(struct ring_reader *reader, const struct ring_message *m)
{
    reader->at += message_size(m);
    reader->number = m->number + 1;
}
