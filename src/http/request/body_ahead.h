/* SPDX-License-Identifier: MIT
 *
 * body_ahead - a body that the application reads while it comes (gcorn_stream_body): of such a body
 * the server keeps what is decoded and not read yet, in one buffer of fixed size, and nothing else.
 *
 * The feeder adds and the application reads, never both at once.
 */
#ifndef GCORN_HTTP_REQUEST_BODY_AHEAD_H
#define GCORN_HTTP_REQUEST_BODY_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { BODY_AHEAD_MAX = 64 * 1024 };

struct body_ahead {
    char *data; /* BODY_AHEAD_MAX bytes; NULL before the first one comes */
    size_t at;  /* the first byte that is not read */
    size_t end;
    uint64_t came;   /* bytes in all */
    bool is_awaited; /* a read has found nothing */
    bool is_lost;    /* the connection is: nothing more will come */
};

static inline size_t body_ahead_len(const struct body_ahead *b)
{
    return b->end - b->at;
}

/* How many bytes may be added. */
static inline size_t body_ahead_room(const struct body_ahead *b)
{
    return BODY_AHEAD_MAX - body_ahead_len(b);
}

/* Appends a copy of at most body_ahead_room bytes. */
void body_ahead_add(struct body_ahead *b, const char *data, size_t len);

/* Takes up to size bytes; returns how many, 0 when it is empty. */
size_t body_ahead_read(struct body_ahead *b, void *buf, size_t size);

/* Frees the buffer. */
void body_ahead_release(struct body_ahead *b);

#endif
