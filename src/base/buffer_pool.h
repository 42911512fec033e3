/* SPDX-License-Identifier: MIT
 *
 * buffer_pool - memory for bodies that is used again: buffers of a process, all of them together
 * within a budget. To get fresh pages from the kernel costs several times as much as to copy a body,
 * so a buffer that is given back keeps its pages for the next body; buffer_pool_trim returns what
 * was not used for some seconds.
 *
 * The budget bounds the memory that the pool has, not only what is in use: where it is reached, first
 * free buffers are unmapped, the one that was free longest first, then the pages that the others
 * have beyond what was asked for. Each buffer is a mapping of its own, whose pages take memory only
 * once they are written to.
 *
 * Any thread may call these functions, but a buffer belongs to one caller at a time. None blocks.
 * A process that was forked has copies of all buffers.
 */
#ifndef GCORN_BASE_BUFFER_POOL_H
#define GCORN_BASE_BUFFER_POOL_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data;
    size_t size;   /* what the owner may write; one more byte, for a NUL, is not counted */
    size_t mapped; /* what the mapping holds of that: whole pages */
    struct buffer *previous, *next;
    bool is_free;
    bool was_used; /* since the last trim but one */
};

struct buffer_pool {
    size_t max;           /* bytes that all buffers may have together; 0: no buffers */
    size_t mapped;        /* that they have: the sum of theirs */
    struct buffer *first; /* the free ones, the one that was given back last first; */
    struct buffer *last;  /* then those in use */
};

/* Allocates nothing. */
void buffer_pool_init(struct buffer_pool *p, size_t max);

/* Unmaps all. Every buffer has been given back. */
void buffer_pool_release(struct buffer_pool *p);

/* A buffer of that many bytes, whose content is undefined, to be given back with buffer_give. NULL
 * with errno: ENOBUFS, the budget is used up, or ENOMEM. */
struct buffer *buffer_take(struct buffer_pool *p, size_t size);
void buffer_give(struct buffer_pool *p, struct buffer *b);

/* Changes its size and keeps its bytes, as far as they fit, which may move. To make it smaller never
 * fails, and moves nothing. Returns 0, or -1 with errno as buffer_take does: it is unchanged. */
int buffer_resize(struct buffer_pool *p, struct buffer *b, size_t size);

static inline bool buffer_pool_is_idle(const struct buffer_pool *p)
{
    return !p->last || p->last->is_free;
}

/* Called once a second: returns to the system what has not been used since the last call but one. */
void buffer_pool_trim(struct buffer_pool *p);

#endif
