/* SPDX-License-Identifier: MIT
 *
 * See buffer_pool.h. The lock is that of owned.h, which forks take: a child never finds the list
 * half changed.
 */
#include "base/buffer_pool.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/owned.h"
#include "base/poison.h"
#include "base/util.h"

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t whole_pages(size_t size)
{
    size_t page = page_size();

    return size < page ? page : (size + page - 1) / page * page;
}

/* One page more than is counted: a NUL follows the last byte. */
static size_t map_len(size_t mapped)
{
    return mapped + page_size();
}

/* ---- the list ---------------------------------------------------------------------------- */

static void unlink_buffer(struct buffer_pool *p, struct buffer *b)
{
    *(b->previous ? &b->previous->next : &p->first) = b->next;
    *(b->next ? &b->next->previous : &p->last) = b->previous;
}

static void link_first(struct buffer_pool *p, struct buffer *b)
{
    b->previous = NULL;
    b->next = p->first;
    *(p->first ? &p->first->previous : &p->last) = b;
    p->first = b;
}

static void link_last(struct buffer_pool *p, struct buffer *b)
{
    b->next = NULL;
    b->previous = p->last;
    *(p->last ? &p->last->next : &p->first) = b;
    p->last = b;
}

static void set_free(struct buffer_pool *p, struct buffer *b, bool is_free)
{
    unlink_buffer(p, b);
    b->is_free = is_free;
    if (is_free) {
        link_first(p, b);
        POISON(b->data, b->mapped);
    } else {
        link_last(p, b);
        UNPOISON(b->data, b->mapped);
    }
}

/* The free buffer that was given back first; NULL: none is free. */
static struct buffer *oldest_free(const struct buffer_pool *p)
{
    struct buffer *b = p->first && p->first->is_free ? p->first : NULL;

    while (b && b->next && b->next->is_free)
        b = b->next;
    return b;
}

/* ---- mappings ---------------------------------------------------------------------------- */

/* Two neighbours must not become one huge page, of which a short body would take 2 MiB. */
static struct buffer *map_buffer(struct buffer_pool *p, size_t mapped)
{
    char *data =
        mmap(NULL, map_len(mapped), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (data == MAP_FAILED)
        return NULL;
    (void)madvise(data, map_len(mapped), MADV_NOHUGEPAGE); /* EINVAL: the kernel has none */
    struct buffer *b = xcalloc(1, sizeof(*b));
    b->data = data;
    b->mapped = mapped;
    p->mapped += mapped;
    link_last(p, b);
    return b;
}

static void unmap_buffer(struct buffer_pool *p, struct buffer *b)
{
    assert(b->is_free && p->mapped >= b->mapped);
    unlink_buffer(p, b);
    UNPOISON(b->data, b->mapped);
    (void)munmap(b->data, map_len(b->mapped)); /* cannot fail: it is a whole mapping */
    p->mapped -= b->mapped;
    free(b);
}

static int remap(struct buffer_pool *p, struct buffer *b, size_t mapped)
{
    char *data = mremap(b->data, map_len(b->mapped), map_len(mapped), MREMAP_MAYMOVE);

    if (data == MAP_FAILED)
        return -1;
    p->mapped = p->mapped - b->mapped + mapped;
    b->data = data;
    b->mapped = mapped;
    return 0;
}

/* Unmaps what a buffer in use has beyond its size. Its owner, which may be another thread and does not
 * hold the lock, sees no change. */
static void cut_tail(struct buffer_pool *p, struct buffer *b)
{
    size_t needed = whole_pages(b->size);

    if (needed >= b->mapped || munmap(b->data + map_len(needed), b->mapped - needed) < 0)
        return; /* ENOMEM: a mapping more than the kernel allows would come of it */
    p->mapped -= b->mapped - needed;
    b->mapped = needed;
}

/* Makes room for `more` bytes under the budget. */
static int make_room(struct buffer_pool *p, size_t more)
{
    struct buffer *b;

    while (p->mapped + more > p->max && (b = oldest_free(p)))
        unmap_buffer(p, b);
    for (b = p->last; b && !b->is_free && p->mapped + more > p->max; b = b->previous)
        cut_tail(p, b);
    if (p->mapped + more <= p->max)
        return 0;
    errno = ENOBUFS;
    return -1;
}

/* ---- for owners -------------------------------------------------------------------------- */

void buffer_pool_init(struct buffer_pool *p, size_t max)
{
    *p = (struct buffer_pool){.max = max};
}

void buffer_pool_release(struct buffer_pool *p)
{
    struct buffer *b;

    while ((b = oldest_free(p)))
        unmap_buffer(p, b);
    assert(!p->first && p->mapped == 0);
}

static int resize(struct buffer_pool *p, struct buffer *b, size_t size)
{
    size_t needed = whole_pages(size), before = b->size;

    b->was_used = true;
    b->size = size; /* at once: make_room cuts the others alone */
    if (needed <= b->mapped || (make_room(p, needed - b->mapped) == 0 && remap(p, b, needed) == 0))
        return 0;
    b->size = before;
    return -1;
}

static struct buffer *take_free(struct buffer_pool *p, size_t size)
{
    struct buffer *b = p->first;

    set_free(p, b, false);
    b->size = 0;
    if (resize(p, b, size) == 0)
        return b;
    set_free(p, b, true);
    return NULL;
}

static struct buffer *take_new(struct buffer_pool *p, size_t size)
{
    struct buffer *b;

    if (make_room(p, whole_pages(size)) < 0 || !(b = map_buffer(p, whole_pages(size))))
        return NULL;
    b->size = size;
    b->was_used = true;
    return b;
}

struct buffer *buffer_take(struct buffer_pool *p, size_t size)
{
    if (size > p->max) {
        errno = ENOBUFS;
        return NULL;
    }
    owned_lock();
    struct buffer *b = p->first && p->first->is_free ? take_free(p, size) : take_new(p, size);
    owned_unlock();
    return b;
}

void buffer_give(struct buffer_pool *p, struct buffer *b)
{
    owned_lock();
    assert(!b->is_free);
    b->was_used = true;
    set_free(p, b, true);
    owned_unlock();
}

int buffer_resize(struct buffer_pool *p, struct buffer *b, size_t size)
{
    if (size > p->max) {
        errno = ENOBUFS;
        return -1;
    }
    owned_lock();
    int result = resize(p, b, size);
    owned_unlock();
    return result;
}

void buffer_pool_trim(struct buffer_pool *p)
{
    owned_lock();
    for (struct buffer *b = p->first, *next; b; b = next) {
        next = b->next;
        if (b->was_used)
            b->was_used = false;
        else if (b->is_free)
            unmap_buffer(p, b);
        else
            cut_tail(p, b);
    }
    owned_unlock();
}
