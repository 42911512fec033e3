/* SPDX-License-Identifier: MIT
 *
 * See arena.h. Blocks of 4 KiB in a list; a piece too large for one gets a block of its own. Under
 * AddressSanitizer the free part of a block is poisoned, so that use after reset and overruns are
 * found although nothing goes through malloc.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/poison.h"
#include "base/util.h"

#ifdef POISON_WORKS
enum { ARENA_GAP = 16 }; /* between two pieces, so that an overrun hits poison */
#else
enum { ARENA_GAP = 0 };
#endif

struct arena_block {
    struct arena_block *older;
    size_t size; /* of data */
    _Alignas(max_align_t) char data[];
};

enum { ARENA_BLOCK_SIZE = 4096 - sizeof(struct arena_block) };

static void block_free(struct arena_block *block)
{
    UNPOISON(block->data, block->size);
    free(block);
}

/* Adds a block with room for need bytes. Not inlined: it runs for few allocations, and would have
 * each of them save registers. */
static void __attribute__((noinline, cold)) block_push(struct arena *a, size_t need)
{
    size_t size = need > ARENA_BLOCK_SIZE ? need : ARENA_BLOCK_SIZE;

    if (a->is_fixed)
        abort();
    struct arena_block *block = xmalloc(sizeof(*block) + size);

    block->older = a->block;
    block->size = size;
    a->block = block;
    a->next = block->data;
    a->end = block->data + size;
    POISON(block->data, size);
}

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

void arena_init_fixed(struct arena *a, void *memory, size_t size)
{
    struct arena_block *block = memory;

    assert(size > sizeof(*block) && (uintptr_t)memory % _Alignof(max_align_t) == 0);
    block->older = NULL;
    block->size = size - sizeof(*block);
    *a = (struct arena){
        .block = block, .next = block->data, .end = block->data + block->size, .is_fixed = true};
}

void arena_release(struct arena *a)
{
    assert(!a->is_fixed);
    while (a->block) {
        struct arena_block *older = a->block->older;

        block_free(a->block);
        a->block = older;
    }
    arena_init(a);
}

void arena_reset(struct arena *a)
{
    assert(!a->is_fixed);
    if (!a->block)
        return;
    while (a->block->older) {
        struct arena_block *older = a->block->older;

        block_free(a->block);
        a->block = older;
    }
    if (a->block->size > ARENA_BLOCK_SIZE) {
        arena_release(a);
        return;
    }
    a->next = a->block->data;
    a->end = a->block->data + a->block->size;
    POISON(a->block->data, a->block->size);
}

void *arena_alloc(struct arena *a, size_t size)
{
    const size_t align = _Alignof(max_align_t);

    assert(size <= PTRDIFF_MAX);
    /* never 0, so that an arena without a block has no room */
    size_t need = (size / align + 1) * align + ARENA_GAP;
    if ((size_t)(a->end - a->next) < need)
        block_push(a, need);
    void *p = a->next;
    a->next += need;
    UNPOISON(p, size);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t len)
{
    char *copy = arena_alloc(a, len + 1);

    memcpy(copy, s, len);
    copy[len] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_vprintf(struct arena *a, const char *fmt, va_list ap)
{
    va_list again;

    va_copy(again, ap);
    int len = vsnprintf(NULL, 0, fmt, ap);
    assert(len >= 0);
    char *text = arena_alloc(a, (size_t)len + 1);
    (void)vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    return text;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    char *text = arena_vprintf(a, fmt, ap);
    va_end(ap);
    return text;
}
